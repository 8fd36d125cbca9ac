"""Texts for people: `_` looks a Portuguese source text up in the catalogue of the browser's language.

`locales/<language>/LC_MESSAGES/console.mo` adds a language; what it lacks, and every language without a catalogue,
shows the Portuguese source.
"""

import functools
import gettext
from pathlib import Path

import streamlit as st

LOCALES = Path(__file__).parents[1] / "locales"
DOMAIN = "console"
SOURCE_LANGUAGE = "pt"


def _(source: str) -> str:
    """`source` in the language of the person at the screen."""
    if not source:
        return ""  # gettext keeps its own header under the empty text
    return catalogue(_language()).gettext(source)


def catalogue(language: str) -> gettext.NullTranslations:
    """The catalogue of `language` (as `en` or `pt-BR`), or one that gives each source back."""
    wanted = language.replace("-", "_")
    return _load(wanted if wanted.replace("_", "").isalnum() else SOURCE_LANGUAGE)


@functools.lru_cache(maxsize=32)
def _load(language: str) -> gettext.NullTranslations:
    if language.partition("_")[0] == SOURCE_LANGUAGE:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, LOCALES, [language], fallback=True)


def _language() -> str:
    found = st.context.locale
    return found if isinstance(found, str) and found else SOURCE_LANGUAGE  # without a browser (AppTest) it is no text
