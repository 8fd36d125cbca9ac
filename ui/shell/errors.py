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
from ui.kit.i18n import _

logger = structlog.get_logger(__name__)

Value = TypeVar("Value")

# What the last press came to, and for how long it is told again where a page redraws itself.
LAST_ERROR = "error_of_last_press"
LAST_ERROR_SECONDS = 30.0
# Whether the page's run has not come yet to what redraws itself: what is told until then stays by itself.
ERRORS_STAY = "errors_stay"
# How long a page waits for a database that is away, and how often it asks meanwhile.
DATABASE_WAIT_SECONDS = 30.0
RETRY_SECONDS = 1.0
# Where a page says meanwhile that it waits; the theme knows it by this beginning of its key.
DATABASE_AWAY = "database_away"
# When a page began anew because the database was away, and how often it does so within how long; then a failure is told
# instead: what always takes too long to answer would else begin for ever.
PAGE_RERUNS = "page_begun_anew"
MAX_PAGE_RERUNS = 3
PAGE_RERUNS_SECONDS = 120.0


@dataclass(frozen=True)
class _ErrorNotice:
    """What a person is told of an error; `code` finds it in the log where the failure is ours."""

    at: float
    sentence: str
    code: str | None


def show(error: ServiceError) -> None:
    """Draw `error` where the script stands."""
    _draw_notice(_notice_of(error))


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
        told = _notice_of(error)
        _draw_notice(told)
        if isinstance(error, DatabaseUnavailable):
            st.stop()
        if st.session_state.get(ERRORS_STAY):
            st.session_state.pop(LAST_ERROR, None)
        elif kept:
            st.session_state[LAST_ERROR] = told


def begin_page() -> None:
    """For the entry script: what is told from here on stands on the page itself.

    A change may be told of together with a press, in one run: what redraws itself would tell a second time what the
    press came to.
    """
    st.session_state[ERRORS_STAY] = True


def show_last(*, redrawn: bool) -> None:
    """For what redraws itself: what the last press came to is drawn again with it, and forgotten at the next press.

    Without this the first change anywhere would take the sentence away before it is read.
    """
    st.session_state[ERRORS_STAY] = False
    told: _ErrorNotice | None = st.session_state.get(LAST_ERROR)
    if told is None:
        return
    if redrawn and time.monotonic() - told.at < LAST_ERROR_SECONDS:
        _draw_notice(told)
    else:
        del st.session_state[LAST_ERROR]


def wait_for_database(read: Callable[[], Value], notice: DeltaGenerator | None = None) -> Value:
    """What `read` finds, also where the database is away for a moment: it is waited for, for PATIENCE_SECONDS.

    Until a run ends the screen keeps what the one before has drawn, with all that was typed; a click that fell into the
    outage is done after it. For the start of a run, where nothing has been done yet. `notice` is where it is said;
    without it a place is made, and what comes after it moves.
    """
    deadline, told = time.monotonic() + DATABASE_WAIT_SECONDS, False
    while True:
        try:
            found = read()
        except DatabaseUnavailable as error:
            notice = notice or st.empty()
            if not told:
                told = True
                report(error)
                # Streamlit takes each key once a run, and a run may wait more than once.
                with notice.container(key=f"{DATABASE_AWAY}_{uuid4().hex}"):
                    show(error)
            if time.monotonic() >= deadline:
                notice.empty()
                show(error)
                st.stop()
            time.sleep(RETRY_SECONDS)
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
            _rerun_page()
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


def _rerun_page() -> None:
    now = time.monotonic()
    lately = [moment for moment in st.session_state.get(PAGE_RERUNS, ()) if now - moment < PAGE_RERUNS_SECONDS]
    if len(lately) < MAX_PAGE_RERUNS:
        st.session_state[PAGE_RERUNS] = [*lately, now]
        st.rerun()


def _notice_of(error: ServiceError) -> _ErrorNotice:
    code = (log.get_request_id() or "")[:8] if error.http_status >= 500 else None
    return _ErrorNotice(time.monotonic(), f"**{_(error.message)}** {_(error.hint)}".format(**error.params), code)


def _draw_notice(told: _ErrorNotice) -> None:
    if told.code is None:
        st.warning(told.sentence, icon=":material/info:")
        return
    st.error(told.sentence, icon=":material/error:")
    if told.code:
        st.caption(_("Código para o suporte: {code}").format(code=told.code))
