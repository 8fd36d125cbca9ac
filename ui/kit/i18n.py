"""Texts for people: `_` looks a Portuguese source text up in the catalogue of the browser's language.

`locales/<language>/LC_MESSAGES/console.po` adds a language (`make messages` keeps it in step with the code; nothing is
compiled beforehand). What it lacks, and every language without a catalogue, shows the Portuguese source. Dates and
numbers follow the language of the texts, so that a page is all in one.
"""

import functools
import gettext
import io
import re
from pathlib import Path

import streamlit as st
from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

LOCALES = Path(__file__).parents[2] / "locales"
DOMAIN = "console"
SOURCE_LANGUAGE = "pt"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:$<>])")


def _(source: str) -> str:
    """`source` in the language of the person at the screen."""
    if not source:
        return ""  # gettext keeps its own header under the empty text
    return catalogue(_language()).gettext(source)


def literal(text: str) -> str:
    """`text` as it is, where Markdown would be read: people write asterisks and brackets too."""
    return _MARKDOWN.sub(r"\\\1", text)


def catalogue(language: str) -> gettext.NullTranslations:
    """The catalogue of `language` (as `en` or `pt-BR`), or one that gives each source back."""
    wanted = language.replace("-", "_")
    return _load(wanted if wanted.replace("_", "").isalnum() else SOURCE_LANGUAGE)


def locale() -> Locale:
    """Whose dates and numbers the person at the screen reads: those of the language that `_` answers in."""
    return _locale(_language())


def number(value: float, decimals: int = 0) -> str:
    """`value` as the person at the screen writes it, with at most so many decimals: `1.234,5`, `1,234.5`."""
    return format_decimal(round(value, decimals), locale=locale())


@functools.lru_cache(maxsize=32)
def _locale(language: str) -> Locale:
    wanted = language.replace("-", "_")
    known = wanted.partition("_")[0] == SOURCE_LANGUAGE or _file(wanted) is not None
    return (Locale.parse(wanted) if known and Locale.negotiate([wanted], [wanted]) else None) or Locale("pt", "BR")


@functools.lru_cache(maxsize=32)
def _load(language: str) -> gettext.NullTranslations:
    file = None if language.partition("_")[0] == SOURCE_LANGUAGE else _file(language)
    if file is None:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with file.open("rb") as read:
        write_mo(compiled, read_po(read))  # leaves out what is marked as not sure
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _file(language: str) -> Path | None:
    """The catalogue of `language` (as `en_GB`), or of its main form (`en`)."""
    candidates = (LOCALES / name / "LC_MESSAGES" / f"{DOMAIN}.po" for name in (language, language.partition("_")[0]))
    return next((path for path in candidates if path.exists()), None)


def _language() -> str:
    found = st.context.locale
    return found if isinstance(found, str) and found else SOURCE_LANGUAGE  # without a browser (AppTest) it is no text
