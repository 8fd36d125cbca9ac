"""How an error looks to a person: one sentence and the next step, never a traceback."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import streamlit as st
import structlog
from streamlit.delta_generator import DeltaGenerator

from services import log
from services.errors import DatabaseUnavailable, ServiceError
from ui.text import _

logger = structlog.get_logger(__name__)

Seen = TypeVar("Seen")

# What the last press came to, and for how long it is told again where a page redraws itself.
KEPT = "error_of_last_press"
KEPT_SECONDS = 30.0
# Whether the page's run has not come yet to what redraws itself: what is told until then stays by itself.
STAYS = "errors_stay"
# How long a page waits for a database that is away, and how often it asks meanwhile.
PATIENCE_SECONDS = 30.0
ASK_SECONDS = 1.0
# Where a page says meanwhile that it waits; the theme knows it by this beginning of its key.
AWAY = "database_away"
# When a page began anew because the database was away, and how often it does so within how long; then a failure is told
# instead: what always takes too long to answer would else begin for ever.
BEGUN_ANEW = "page_begun_anew"
ANEW_TIMES = 3
ANEW_SECONDS = 120.0


@dataclass(frozen=True)
class _Told:
    """What a person is told of an error; `code` finds it in the log where the failure is ours."""

    at: float
    sentence: str
    code: str | None


def show(error: ServiceError) -> None:
    """Draw `error` where the script stands."""
    _draw(_told(error))


@contextmanager
def shown(*, kept: bool = True) -> Iterator[None]:
    """Show and log a ServiceError of the block instead of letting it end the run. Also a decorator.

    `kept` is False below what redraws itself: there it stays by itself, as it does above.
    Without a database the run does end there: whatever comes next could only say the same once more.
    """
    try:
        yield
    except ServiceError as error:
        report(error)
        told = _told(error)
        _draw(told)
        if isinstance(error, DatabaseUnavailable):
            st.stop()
        if st.session_state.get(STAYS):
            st.session_state.pop(KEPT, None)
        elif kept:
            st.session_state[KEPT] = told


def page_begins() -> None:
    """For the entry script: what is told from here on stands on the page itself.

    A change may be told of together with a press, in one run: what redraws itself would tell a second time what the
    press came to.
    """
    st.session_state[STAYS] = True


def again(*, redrawn: bool) -> None:
    """For what redraws itself: what the last press came to is drawn again with it, and forgotten at the next press.

    Without this the first change anywhere would take the sentence away before it is read.
    """
    st.session_state[STAYS] = False
    told: _Told | None = st.session_state.get(KEPT)
    if told is None:
        return
    if redrawn and time.monotonic() - told.at < KEPT_SECONDS:
        _draw(told)
    else:
        del st.session_state[KEPT]


def patiently(read: Callable[[], Seen], notice: DeltaGenerator | None = None) -> Seen:
    """What `read` finds, also where the database is away for a moment: it is waited for, for PATIENCE_SECONDS.

    Until a run ends the screen keeps what the one before has drawn, with all that was typed; a click that fell into the
    outage is done after it. For the start of a run, where nothing has been done yet. `notice` is where it is said;
    without it a place is made, and what comes after it moves.
    """
    deadline, told = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            found = read()
        except DatabaseUnavailable as error:
            notice = notice or st.empty()
            if not told:
                told = True
                report(error)
                # Streamlit takes each key once a run, and a run may wait more than once.
                with notice.container(key=f"{AWAY}_{uuid4().hex}"):
                    show(error)
            if time.monotonic() >= deadline:
                notice.empty()
                show(error)
                st.stop()
            time.sleep(ASK_SECONDS)
        else:
            if notice is not None:
                notice.empty()
            return found


@contextmanager
def stopping() -> Iterator[None]:
    """As `shown`, for what the rest of the page cannot do without: the run ends there.

    Where the database has gone away meanwhile the whole page runs anew, whose start waits for it (see `patiently`): one
    that is cut off would take away what is being typed below.
    """
    try:
        yield
    except ServiceError as error:
        report(error)
        if isinstance(error, DatabaseUnavailable):
            _begin_anew()
        show(error)
        st.stop()


def report(error: ServiceError) -> None:
    """Log `error` without showing it: as a failure of ours from 500 on, else as something that people do."""
    level = logger.error if error.http_status >= 500 else logger.info
    level("service_error", code=error.code, detail=error.detail)


def on_script_error(error: Exception) -> bool:
    """For `st.App`: what nobody foresaw is shown as the plain sentence. True: nothing else is shown.

    Streamlit has logged it by then, through our processors as long as `logger.enableRich` is off.
    """
    show(error if isinstance(error, ServiceError) else ServiceError())
    return True


def _begin_anew() -> None:
    now = time.monotonic()
    lately = [moment for moment in st.session_state.get(BEGUN_ANEW, ()) if now - moment < ANEW_SECONDS]
    if len(lately) < ANEW_TIMES:
        st.session_state[BEGUN_ANEW] = [*lately, now]
        st.rerun()


def _told(error: ServiceError) -> _Told:
    code = (log.request_id() or "")[:8] if error.http_status >= 500 else None
    return _Told(time.monotonic(), f"**{_(error.message)}** {_(error.hint)}".format(**error.params), code)


def _draw(told: _Told) -> None:
    if told.code is None:
        st.warning(told.sentence, icon=":material/info:")
        return
    st.error(told.sentence, icon=":material/error:")
    if told.code:
        st.caption(_("Código para o suporte: {code}").format(code=told.code))
