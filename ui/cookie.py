"""The sign-in cookie: asked for by a page's script, set HttpOnly by a route of ours that verifies everything itself.

Streamlit cannot set a cookie from a script, and its own checks of origin and XSRF do not cover routes that an app adds.
The page only holds a ticket of one minute; the route trades it for the cookie.
"""

import json
import time
from dataclasses import dataclass

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from services import identity, settings
from services.db.actor import Actor
from services.errors import ServiceError
from services.identity import SignIn, TokenKind

COOKIE_NAME = "plushify_sign_in"
PATH = "/auth/cookie"
MAX_TICKET_BYTES = 2048
_WISH = "cookie_wish"


# --- the route ----------------------------------------------------------------------------------------------------


def routes() -> list[BaseRoute]:
    """The routes of this room, for the app."""
    return [Route(PATH, _cookie, methods=["POST", "DELETE"])]


def same_origin(connection: HTTPConnection) -> bool:
    """True if a page of ours sent this request or opened this WebSocket. Without proof either way: False.

    `Sec-Fetch-Site` is set by the browser itself and no page can forge it; browsers that lack it send `Origin`.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = connection.headers.get("origin", "")
    host = connection.headers.get("host", "")
    return bool(host) and origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def actor_of(connection: HTTPConnection) -> Actor | None:
    """Who sent this request, by its cookie, as the database knows them now. Asks the database: call it in a thread."""
    token = connection.cookies.get(COOKIE_NAME)
    return identity.verify_token(token) if token else None


async def _cookie(request: Request) -> Response:
    if not same_origin(request):
        return PlainTextResponse("cross-origin", 403)
    if request.method == "DELETE":
        response = Response(status_code=204)
        response.delete_cookie(COOKIE_NAME, path="/", secure=_secure(request), httponly=True, samesite="lax")
        return response
    return await _set(request)


async def _set(request: Request) -> Response:
    ticket = await _small_body(request)
    if ticket is None:
        return PlainTextResponse("too large", 413)
    try:
        token = await run_in_threadpool(identity.redeem_ticket, ticket)
    except ServiceError as error:
        return PlainTextResponse(error.code, error.http_status)
    if token is None:
        return PlainTextResponse("no such sign-in", 403)
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE_NAME,
        token,
        max_age=identity.TOKEN_SECONDS,
        path="/",
        secure=_secure(request),
        httponly=True,
        samesite="lax",
    )
    return response


async def _small_body(request: Request) -> str | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_TICKET_BYTES:
            return None
    return body.decode("ascii", errors="replace")


def _secure(request: Request) -> bool:
    return settings.get().cookie_secure or request.url.scheme == "https"


# --- the page's side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wish:
    script: str
    forget_at: float


def wish_for(sign_in: SignIn) -> None:
    """Have the browser fetch the cookie of `sign_in` with the next run."""
    ticket = json.dumps(identity.token_of(sign_in, TokenKind.TICKET))
    _wish(f"{{method: 'POST', body: {ticket}}}")


def wish_away() -> None:
    """Have the browser drop its cookie with the next run."""
    _wish("{method: 'DELETE'}")


def _wish(request: str) -> None:
    # One after the other: a sign-in must not be overtaken by the sign-out before it.
    script = (
        "<script>window.plushifyCookie = (window.plushifyCookie ?? Promise.resolve()).then("
        f"() => fetch('{PATH}', {{...{request}, keepalive: true, credentials: 'same-origin'}}).catch(() => null))"
        "</script>"
    )
    st.session_state[_WISH] = _Wish(script, time.time() + identity.TICKET_SECONDS)


def carry_out() -> None:
    """Draw what turns a wish into a request. On each run, at the same place: a run that another one overtakes may never
    reach the browser, so the wish stands for as long as its ticket does."""
    place = st.container(key="cookie", height="content")
    wish = st.session_state.get(_WISH)
    if isinstance(wish, _Wish):
        if time.time() < wish.forget_at:
            place.html(wish.script, unsafe_allow_javascript=True)
        else:
            del st.session_state[_WISH]


def from_browser() -> SignIn | None:
    """The sign-in in the cookie with which this tab connected."""
    token = st.context.cookies.get(COOKIE_NAME)
    return identity.read_token(token) if token else None
