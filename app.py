"""The console as an ASGI app. Run it with `streamlit run app.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from services import log
from ui import cookie, errors, headers, live

log.configure("console")


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    log.configure("console")  # again: uvicorn has given its loggers handlers of their own by now
    async with live.listening():
        yield


app = st.App(
    "ui/main.py",
    routes=[
        *cookie.routes(),
        *live.routes(),
    ],
    middleware=[Middleware(headers.SecurityHeaders)],
    lifespan=lifespan,
    on_script_error=errors.on_script_error,
)
