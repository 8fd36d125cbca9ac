"""What is made of an uploaded file: once, however often the page runs, with words while it takes its time."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from services.errors import InvalidInput
from services.messaging import attachments
from services.messaging.content import Kind
from ui.kit.i18n import _

T = TypeVar("T")


def make_once(name: str, which: object, words: str, make: Callable[[], T]) -> T:
    """What `make` made of the file `which`; `name` is where this tab remembers it.

    Raises: what `make` raises; an InvalidInput is remembered too, because a conversion that fails takes its time.
    """
    before = st.session_state.get(name)
    if before is None or before[0] != which:
        with st.spinner(words, show_time=True):
            before = (which, _outcome_of(make))
        st.session_state[name] = before
    outcome: T | InvalidInput = before[1]
    if isinstance(outcome, InvalidInput):
        raise outcome.with_traceback(None)  # whose frames hold the file
    return outcome


def _outcome_of(make: Callable[[], T]) -> T | InvalidInput:
    try:
        return make()
    except InvalidInput as error:
        return error.with_traceback(None)


def waiting_words(kind: Kind, content: bytes) -> str:
    """What is told while a file is made ready to be sent as `kind`."""
    if attachments.is_converted(kind, content):
        return _("Convertendo o arquivo para o WhatsApp… Um vídeo pode levar até dois minutos.")
    return _("Conferindo o arquivo…")
