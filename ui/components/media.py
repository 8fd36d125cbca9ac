"""Files of messages on the screen. Our own route serves each file to whoever the database lets read its row.

Streamlit's own media addresses ask for no sign-in. These ask for the sign-in cookie on every request.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit
from uuid import UUID

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from services.db.actor import Actor
from services.errors import ServiceError
from services.platform import media_store
from ui.kit.i18n import literal
from ui.shell import cookie

PATH = "/files"
# What a browser shows by itself without running anything in it; all else is only for saving.
INLINE_TYPES = re.compile(
    r"(image/(png|jpeg|webp|gif)|audio/(ogg|mpeg|mp4|aac|wav|webm|amr)|video/(mp4|webm|3gpp))(;.*)?"
)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
PICTURE_WIDTH = 320
STICKER_WIDTH = 140


def routes() -> list[BaseRoute]:
    """The routes of this room, for the app."""
    return [Route(PATH + "/{owner:uuid}/{sha256}", _serve_file, methods=["GET"])]


def file_url(owner: UUID, sha256: bytes, filename: str | None = None) -> str:
    """Where the browser of the person at the screen finds a file."""
    name = f"?name={quote(filename)}" if filename else ""
    path = f"{PATH}/{owner}/{sha256.hex()}{name}"
    url = st.context.url
    if not isinstance(url, str):
        return path  # without a browser (AppTest)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{path}"


def show_file(owner: UUID, kind: str, sha256: bytes, mimetype: str | None, filename: str | None) -> None:
    """A message's file as what it is: a picture, something to play, or something to save."""
    shown = INLINE_TYPES.fullmatch(mimetype or "") is not None
    url = file_url(owner, sha256, filename)
    if shown and kind in ("image", "sticker"):
        st.image(url, width=STICKER_WIDTH if kind == "sticker" else PICTURE_WIDTH)
    elif shown and kind in ("audio", "ptt"):
        st.audio(url, format=(mimetype or "").partition(";")[0])
    elif shown and kind in ("video", "ptv"):
        st.video(url, format=(mimetype or "").partition(";")[0], width=PICTURE_WIDTH)
    else:
        st.link_button(literal(filename or kind), url, icon=":material/download:")


async def _serve_file(request: Request) -> Response:
    if not cookie.same_origin(request) and request.headers.get("sec-fetch-site") != "none":
        return PlainTextResponse("cross-origin", 403)
    return await run_in_threadpool(_file_response, request)


def _file_response(request: Request) -> Response:
    try:
        actor = cookie.actor_of(request)
        if actor is None:
            return PlainTextResponse("signed out", 401)
        found, content = _read_file(actor, request.path_params["owner"], request.path_params["sha256"])
    except ServiceError as error:
        return PlainTextResponse(error.code, error.http_status)
    shown = INLINE_TYPES.fullmatch(found.mimetype) is not None
    headers = {
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Accept-Ranges": "bytes",
        "Content-Disposition": _disposition(request.query_params.get("name"), attached=not shown),
    }
    mimetype = found.mimetype if shown else "application/octet-stream"
    return _content_response(request, content, mimetype, headers)


def _read_file(actor: Actor, owner: UUID, sha256: str) -> tuple[media_store.Media, bytes]:
    digest = bytes.fromhex(sha256) if re.fullmatch(r"[0-9a-f]{64}", sha256) else b""
    return media_store.get(actor, digest, owner), media_store.read(actor, digest, owner)


def _disposition(name: str | None, *, attached: bool) -> str:
    kind = "attachment" if attached else "inline"
    return f"{kind}; filename*=UTF-8''{quote(name, safe='')}" if name else kind


def _content_response(request: Request, content: bytes, mimetype: str, headers: Mapping[str, str]) -> Response:
    """All of it, or the part that a player asks for to jump there."""
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None:
        return Response(content, 200, dict(headers), mimetype)
    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    if first > last:
        return Response(b"", 416, {**headers, "Content-Range": f"bytes */{len(content)}"}, mimetype)
    part = {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
    return Response(content[first : last + 1], 206, part, mimetype)
