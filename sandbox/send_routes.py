"""The calls that send, and the ways in which they lie."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from sandbox.calls import Call, Handler, connected
from sandbox.chats import Content, data_uri, kind_of, send
from sandbox.express import Dropped

# Measured: the one Portuguese text among the sending errors of 2.10.4.
SEND_ERROR = {"status": "Error", "message": "Erro ao enviar a mensagem.", "error": {}}
REACT_ERROR = {"status": "error", "message": "Error on send reaction to message", "error": {}}
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


def sticker_of(body: dict[str, Any]) -> Content:
    """`send-sticker`: `path` may be a `data:` URI, of a picture only. Raises ValueError for anything else."""
    mimetype, encoded = data_uri(str(body["path"]))
    if not mimetype.startswith("image/"):
        raise ValueError("path")
    return Content("sticker", mimetype="image/webp", base64=encoded)


def card_of(body: dict[str, Any]) -> Content:
    """`contact-vcard`. Raises ValueError without somebody."""
    (contact,) = body["contactsId"]
    digits = str(contact).removesuffix("@c.us")
    name = str(body.get("name") or digits)
    lines = ("BEGIN:VCARD", "VERSION:3.0", f"FN:{name}", f"TEL;type=CELL;waid={digits}:+{digits}", "END:VCARD")
    return Content("vcard", body="\n".join(lines))


def sending(read: Reader, file_key: str | None = None, *, alone: bool = False) -> Handler:
    """The handler of one kind of send: 201 with the messages, also with none of them when there was no phone; `alone`
    is for the route that answers 200 with the last of them.
    """

    async def handler(call: Call) -> Response:
        if file_key and not call.body.get(file_key):
            return call.refused or call.reply(401, NO_FILE)
        try:
            content = read(call.body)
        except (ValueError, KeyError, TypeError):
            return call.refused or call.reply(500, SEND_ERROR)
        quoted = call.body.get("messageId") or call.body.get("quotedMessageId")
        content = replace(content, quoted=str(quoted)) if quoted else content
        hangs = bool(call.contacts) and call.world.dead(call.session)
        messages = [await send(call.world, call.session, contact, content) for contact in call.contacts]
        if hangs:
            return Dropped(hang=call.world.config.seconds(call.world.config.hang))
        return _answer(call, messages, alone)

    return handler


async def react(call: Call) -> Response:
    """`react-message` as the server's source has it: 200 with a fixed text, 500 for a message that is not there."""
    message = call.session.messages.get(str(call.body.get("msgId")))
    emoji = call.body.get("reaction")
    if message is None or not isinstance(emoji, str | bool):
        return call.reply(500, REACT_ERROR)
    if call.world.dead(call.session):
        return Dropped(hang=call.world.config.seconds(call.world.config.hang))
    message.setdefault("reactions", {})["me"] = emoji or ""
    return call.reply(200, {"status": "success", "response": {"message": "Reaction sended"}})


def _answer(call: Call, messages: list[dict[str, Any]], alone: bool) -> Response:
    faults, name = call.world.faults, call.session.name
    if faults.strike("send_timeout", name) is not None:
        return Dropped(hang=call.world.config.seconds(call.world.config.hang))
    if call.refused is not None:
        return call.refused
    if faults.strike("error_but_delivered", name) is not None:
        return call.reply(500, SEND_ERROR)
    if faults.strike("secrets_in_error", name) is not None:
        return call.reply(500, {**SEND_ERROR, "error": _leak(call)})
    if alone:
        return call.reply(200, {"status": "success", "response": {**messages[-1]} if messages else None})
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
    Route("/api/{session}/react-message", connected(react), methods=["POST"]),
    Route("/api/{session}/send-location", connected(sending(place_of)), methods=["POST"]),
    # Read from the server's source, not measured: these three, and that a file or a voice note quotes.
    Route("/api/{session}/send-reply", connected(sending(text_of)), methods=["POST"]),
    Route("/api/{session}/send-sticker", connected(sending(sticker_of, "path")), methods=["POST"]),
    Route("/api/{session}/contact-vcard", connected(sending(card_of, alone=True)), methods=["POST"]),
]
