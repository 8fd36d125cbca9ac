"""The console as an ASGI app. Run it with `streamlit run app.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from services import log
from services.db.actor import ANONYMOUS
from services.operations import metrics
from ui.components import media
from ui.shell import cookie, errors, headers, live

log.configure("console")


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    log.configure("console")  # again: uvicorn has given its loggers handlers of their own by now
    async with live.listening():
        with metrics.saving_counters("console", ANONYMOUS):
            yield


app = st.App(
    "ui/main.py",
    routes=[
        *cookie.routes(),
        *media.routes(),
        *live.routes(),
    ],
    middleware=[Middleware(headers.ClientAddress), Middleware(headers.SecurityHeaders)],
    lifespan=lifespan,
    on_script_error=errors.on_script_error,
)
