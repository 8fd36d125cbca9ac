"""The sign-in cookie: a page's script asks for it, and our own route verifies everything and sets it HttpOnly.

Streamlit cannot set a cookie from a script, and its own checks of origin and XSRF do not cover routes that an app adds.
The page only has a ticket that is valid for one minute. The route exchanges it for the cookie.
"""

import json
import time
from dataclasses import dataclass

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from services import settings
from services.accounts import cookie_tokens
from services.accounts.cookie_tokens import TokenKind
from services.accounts.sign_in import SIGN_IN_SECONDS, SignIn
from services.db.actor import Actor
from services.errors import ServiceError

COOKIE_NAME = "plushify_sign_in"
PATH = "/auth/cookie"
MAX_TICKET_BYTES = 2048
_REQUEST_KEY = "cookie_wish"


# --- the route ----------------------------------------------------------------------------------------------------


def routes() -> list[BaseRoute]:
    """The routes of this room, for the app."""
    return [Route(PATH, _serve_cookie, methods=["POST", "DELETE"])]


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
    return cookie_tokens.verify_token(token) if token else None


async def _serve_cookie(request: Request) -> Response:
    if not same_origin(request):
        return PlainTextResponse("cross-origin", 403)
    if request.method == "DELETE":
        response = Response(status_code=204)
        response.delete_cookie(COOKIE_NAME, path="/", secure=_is_https(request), httponly=True, samesite="lax")
        return response
    return await _set_cookie(request)


async def _set_cookie(request: Request) -> Response:
    ticket = await _read_small_body(request)
    if ticket is None:
        return PlainTextResponse("too large", 413)
    try:
        token = await run_in_threadpool(cookie_tokens.redeem_ticket, ticket)
    except ServiceError as error:
        return PlainTextResponse(error.code, error.http_status)
    if token is None:
        return PlainTextResponse("no such sign-in", 403)
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE_NAME,
        token,
        max_age=SIGN_IN_SECONDS,
        path="/",
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )
    return response


async def _read_small_body(request: Request) -> str | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_TICKET_BYTES:
            return None
    return body.decode("ascii", errors="replace")


def _is_https(request: Request) -> bool:
    return settings.get().auth.cookie_secure or request.url.scheme == "https"


# --- the page's side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CookieRequest:
    script: str
    forget_at: float


def request_cookie(sign_in: SignIn) -> None:
    """Have the browser fetch the cookie of `sign_in` with the next run."""
    ticket = json.dumps(cookie_tokens.encode_token(sign_in, TokenKind.TICKET))
    _store_request(f"{{method: 'POST', body: {ticket}}}")


def request_removal() -> None:
    """Have the browser drop its cookie with the next run."""
    _store_request("{method: 'DELETE'}")


def _store_request(request: str) -> None:
    # One after the other: a sign-in must not be overtaken by the sign-out before it.
    script = (
        "<script>window.plushifyCookie = (window.plushifyCookie ?? Promise.resolve()).then("
        f"() => fetch('{PATH}', {{...{request}, keepalive: true, credentials: 'same-origin'}}).catch(() => null))"
        "</script>"
    )
    st.session_state[_REQUEST_KEY] = _CookieRequest(script, time.time() + cookie_tokens.TICKET_SECONDS)


def draw_request() -> None:
    """Draw what turns a wish into a request. On each run, at the same place: a run that another one overtakes may never
    reach the browser, so the wish stands for as long as its ticket does."""
    place = st.container(key="cookie", height="content")
    wish = st.session_state.get(_REQUEST_KEY)
    if isinstance(wish, _CookieRequest):
        if time.time() < wish.forget_at:
            place.html(wish.script, unsafe_allow_javascript=True)
        else:
            del st.session_state[_REQUEST_KEY]


def read_sign_in() -> SignIn | None:
    """The sign-in in the cookie with which this tab connected."""
    token = st.context.cookies.get(COOKIE_NAME)
    return cookie_tokens.decode_token(token) if token else None
