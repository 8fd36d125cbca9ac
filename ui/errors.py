"""How an error looks to a person: one sentence and the next step, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
import structlog

from services import log
from services.errors import ServiceError
from ui.text import _

logger = structlog.get_logger(__name__)


def show(error: ServiceError) -> None:
    """Draw `error` where the script stands."""
    sentence = f"**{_(error.message)}** {_(error.hint)}".format(**error.params)
    if error.http_status >= 500:
        st.error(sentence, icon=":material/error:")
        if found := log.request_id():
            st.caption(_("Código para o suporte: {code}").format(code=found[:8]))
    else:
        st.warning(sentence, icon=":material/info:")


@contextmanager
def shown() -> Iterator[None]:
    """Show and log a ServiceError of the block instead of letting it end the run. Also a decorator."""
    try:
        yield
    except ServiceError as error:
        report(error)
        show(error)


@contextmanager
def stopping() -> Iterator[None]:
    """As `shown`, for what the rest of the page cannot do without: the run ends there."""
    try:
        yield
    except ServiceError as error:
        report(error)
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
