"""The calls that send, and the ways in which they lie."""

from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from sandbox.calls import Call, Handler, connected
from sandbox.chats import Content, data_uri, kind_of, send
from sandbox.express import Dropped

# Measured: the one Portuguese text among the sending errors of 2.10.4.
SEND_ERROR = {"status": "Error", "message": "Erro ao enviar a mensagem.", "error": {}}
NO_FILE = {"message": "Sending the file is mandatory"}

Reader = Callable[[dict[str, Any]], Content]


def text_of(body: dict[str, Any]) -> Content:
    """`send-message`. Raises ValueError without a text."""
    if not isinstance(body.get("message"), str):
        raise ValueError("message")
    return Content("chat", body=body["message"])


def file_of(body: dict[str, Any]) -> Content:
    """`send-image` and `send-file-base64`. Raises ValueError for a file that is not base64."""
    mimetype, encoded = data_uri(str(body["base64"]))
    caption = body.get("message") or body.get("caption") or ""
    return Content(
        kind_of(mimetype), "", str(caption), str(body.get("filename") or "file"), mimetype=mimetype, base64=encoded
    )


def voice_of(body: dict[str, Any]) -> Content:
    """`send-voice-base64`. Raises ValueError without base64."""
    mimetype, encoded = data_uri(str(body["base64Ptt"]))
    return Content("ptt", "", "", "Voice Audio", mimetype=mimetype, base64=encoded)


def place_of(body: dict[str, Any]) -> Content:
    """`send-location`. Raises ValueError for coordinates that are not numbers."""
    lines = [str(body[key]) for key in ("title", "address") if body.get(key)]
    return Content("location", place={"lat": float(body["lat"]), "lng": float(body["lng"]), "loc": "\n".join(lines)})


def sending(read: Reader, file_key: str | None = None) -> Handler:
    """The handler of one kind of send: 201 with the messages, also with none of them when there was no phone."""

    async def handler(call: Call) -> Response:
        if file_key == "base64" and not call.body.get("base64"):
            return call.refused or call.reply(401, NO_FILE)
        try:
            content = read(call.body)
        except (ValueError, KeyError, TypeError):
            return call.refused or call.reply(500, SEND_ERROR)
        messages = [await send(call.world, call.session, contact, content) for contact in call.contacts]
        return _answer(call, messages)

    return handler


def _answer(call: Call, messages: list[dict[str, Any]]) -> Response:
    faults, name = call.world.faults, call.session.name
    if faults.strike("send_timeout", name) is not None:
        return Dropped(hang=call.world.config.seconds(call.world.config.hang))
    if call.refused is not None:
        return call.refused
    if faults.strike("error_but_delivered", name) is not None:
        return call.reply(500, SEND_ERROR)
    if faults.strike("secrets_in_error", name) is not None:
        return call.reply(500, {**SEND_ERROR, "error": _leak(call)})
    # Never the message itself: its ack moves on while this answer is still being written.
    return call.reply(201, {"status": "success", "response": [{**message} for message in messages], "mapper": "return"})


def _leak(call: Call) -> dict[str, Any]:
    """An axios error as such servers print it, with the token and the webhook's password in it."""
    headers = {"Authorization": call.request.headers.get("authorization", "")}
    return {"name": "AxiosError", "config": {"url": call.session.config.get("webhook"), "headers": headers}}


ROUTES = [
    Route("/api/{session}/send-message", connected(sending(text_of)), methods=["POST"]),
    Route("/api/{session}/send-image", connected(sending(file_of, "base64")), methods=["POST"]),
    Route("/api/{session}/send-file", connected(sending(file_of, "base64")), methods=["POST"]),
    Route("/api/{session}/send-file-base64", connected(sending(file_of, "base64")), methods=["POST"]),
    Route("/api/{session}/send-voice-base64", connected(sending(voice_of)), methods=["POST"]),
    Route("/api/{session}/send-location", connected(sending(place_of)), methods=["POST"]),
]
