"""The calls that send, and the wrong answers that they may give."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from sandbox.calls import LONGEST_PHONE, Call, Handler, connected
from sandbox.express import DroppedConnection
from sandbox.messages import Content, SendRefused, kind_of_mimetype, parse_data_uri
from sandbox.outbound_messages import send_message

# Measured: the one Portuguese text among the sending errors of 2.10.4.
SEND_ERROR = {"status": "Error", "message": "Erro ao enviar a mensagem.", "error": {"level": "error"}}
REACT_ERROR = {"status": "error", "message": "Error on send reaction to message"}
NO_FILE = {"message": "Sending the file is mandatory"}

ContentReader = Callable[[dict[str, Any]], Content]


def read_text(body: dict[str, Any]) -> Content:
    """`send-message`: also without a text, which is sent as a message of none."""
    text = body.get("message")
    return Content("chat", body=text if isinstance(text, str) else None)


def read_file(body: dict[str, Any]) -> Content:
    """`send-image` and `send-file-base64`. Raises SendRefused without a file."""
    mimetype, encoded = parse_data_uri(str(body.get("base64") or ""))
    caption = body.get("message") or body.get("caption")
    caption = None if caption is None else str(caption)
    filename = str(body.get("filename") or "file")
    return Content(kind_of_mimetype(mimetype), "", caption, filename, mimetype=mimetype, base64=encoded)


def read_voice(body: dict[str, Any]) -> Content:
    """`send-voice-base64`. Raises SendRefused without a file."""
    mimetype, encoded = parse_data_uri(str(body.get("base64Ptt") or ""))
    return Content("ptt", "", "", mimetype=mimetype, base64=encoded)


def read_location(body: dict[str, Any]) -> Content:
    """`send-location`. Raises ValueError for coordinates that are not numbers."""
    lines = [str(body[key]) for key in ("title", "address") if body.get(key)]
    return Content("location", more={"lat": float(body["lat"]), "lng": float(body["lng"]), "loc": "\n".join(lines)})


def read_sticker(body: dict[str, Any]) -> Content:
    """`send-sticker`: `path` may be a `data:` URI, of a picture only. Raises SendRefused for anything else."""
    mimetype, encoded = parse_data_uri(str(body.get("path") or ""))
    if not mimetype.startswith("image/"):
        raise SendRefused("invalid_image")
    return Content("sticker", mimetype="image/webp", base64=encoded)


def read_moving_sticker(body: dict[str, Any]) -> Content:
    """`send-sticker-gif`, read from the server's source, not measured: as `send-sticker`, and all its pictures go."""
    return replace(read_sticker(body), more={"isAnimated": True})


def read_card(body: dict[str, Any]) -> Content:
    """`contact-vcard`. Raises ValueError without somebody."""
    (contact,) = body["contactsId"]
    digits = str(contact).removesuffix("@c.us")
    name = str(body.get("name") or digits)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
    lines += [f"TEL;type=CELL;waid={digits}:+{digits}", "END:VCARD"]
    return Content("vcard", body="\n".join(lines), more={"vcardFormattedName": name})


def send_handler(read: ContentReader, file_key: str | None = None, *, whole: bool = True) -> Handler:
    """The handler of one kind of send: 201 with the messages, also with none of them when there was no phone. What is
    not a text (`whole` is False) is answered with each one's id and ack only.
    """

    async def handler(call: Call) -> Response:
        if file_key and not call.body.get(file_key):
            return call.refused or call.reply(401, NO_FILE)
        try:
            messages = await _send_to_all(call, read, call.contacts)
        except (ValueError, KeyError, TypeError):
            return call.refused or call.reply(500, SEND_ERROR)
        except SendRefused as refused:
            return call.refused or call.reply(500, {**SEND_ERROR, "error": {"code": refused.code, "level": "error"}})
        rows = messages if whole else [{"ack": message["ack"], "id": message["id"]} for message in messages]
        return _faulty_answer(call) or call.reply(201, {"status": "success", "response": rows, "mapper": "return"})

    return handler


async def send_card(call: Call) -> Response:
    """`contact-vcard`: 200 with the last message's outline. To a `@lid` as short as a phone it goes to that phone."""
    contacts = tuple(_card_address(contact) for contact in call.contacts)
    try:
        messages = await _send_to_all(call, read_card, contacts)
    except (ValueError, KeyError, TypeError):
        return call.refused or call.reply(500, SEND_ERROR)
    except SendRefused as refused:
        return call.refused or call.reply(500, {**SEND_ERROR, "error": {"code": refused.code, "level": "error"}})
    if not messages:
        return _faulty_answer(call) or call.reply(200, {"status": "success"})
    outline = {key: messages[-1][key] for key in ("id", "ack", "from", "to")}
    outline |= {"latestEditMsgKey": None, "sendMsgResult": {}}
    return _faulty_answer(call) or call.reply(200, {"status": "success", "response": outline})


def _card_address(contact: str) -> str:
    user, _, server = contact.partition("@")
    return f"{user}@c.us" if server == "lid" and len(user) <= LONGEST_PHONE else contact


async def _send_to_all(call: Call, read: ContentReader, contacts: tuple[str, ...]) -> list[dict[str, Any]]:
    content = read(call.body)
    quoted = call.body.get("messageId") or call.body.get("quotedMessageId")
    content = replace(content, quoted=str(quoted)) if quoted else content
    return [await send_message(call.world, call.session, contact, content) for contact in contacts]


async def send_seen(call: Call) -> Response:
    """Marks chats as read on the phone, and `world.seen` tells which."""
    for contact in call.contacts:
        call.session.unread.pop(contact, None)
        call.world.seen.append((call.session.name, contact))
    return call.refused or call.reply(200, {"status": "success", "response": {"message": "Chat marked as seen"}})


async def react(call: Call) -> Response:
    """`react-message` 200 with a fixed text, 500 for a message that is not there."""
    message = call.session.messages.get(str(call.body.get("msgId")))
    emoji = call.body.get("reaction")
    if message is None or not isinstance(emoji, str | bool):
        return call.reply(500, {**REACT_ERROR, "error": {"code": "msg_not_found", "level": "error"}})
    if call.world.dead(call.session):
        return DroppedConnection(hang=call.world.config.seconds(call.world.config.hang))
    message.setdefault("reactions", {})["me"] = emoji or ""
    message["hasReaction"] = bool(emoji)
    return call.reply(200, {"status": "success", "response": {"message": "Reaction sended"}})


def _faulty_answer(call: Call) -> Response | None:
    """What is answered in place of a success: by a fault, or for a number that is not on WhatsApp. A zombie hangs."""
    faults, name = call.world.faults, call.session.name
    if call.contacts and call.world.dead(call.session):
        return DroppedConnection(hang=call.world.config.seconds(call.world.config.hang))
    if faults.strike("send_timeout", name) is not None:
        return DroppedConnection(hang=call.world.config.seconds(call.world.config.hang))
    if call.refused is not None:
        return call.refused
    if faults.strike("error_but_delivered", name) is not None:
        return call.reply(500, SEND_ERROR)
    if faults.strike("secrets_in_error", name) is not None:
        return call.reply(500, {**SEND_ERROR, "error": _leaking_error(call)})
    return None


def _leaking_error(call: Call) -> dict[str, Any]:
    """An axios error as such servers print it, with the token and the webhook's password in it."""
    headers = {"Authorization": call.request.headers.get("authorization", "")}
    return {"name": "AxiosError", "config": {"url": call.session.config.get("webhook"), "headers": headers}}


ROUTES = [
    Route("/api/{session}/send-message", connected(send_handler(read_text)), methods=["POST"]),
    Route("/api/{session}/send-reply", connected(send_handler(read_text)), methods=["POST"]),
    Route("/api/{session}/send-image", connected(send_handler(read_file, whole=False)), methods=["POST"]),
    Route("/api/{session}/send-file", connected(send_handler(read_file, whole=False)), methods=["POST"]),
    Route("/api/{session}/send-file-base64", connected(send_handler(read_file, whole=False)), methods=["POST"]),
    Route("/api/{session}/send-voice-base64", connected(send_handler(read_voice, whole=False)), methods=["POST"]),
    Route("/api/{session}/send-sticker", connected(send_handler(read_sticker, "path", whole=False)), methods=["POST"]),
    Route(
        "/api/{session}/send-sticker-gif",
        connected(send_handler(read_moving_sticker, "path", whole=False)),
        methods=["POST"],
    ),
    Route("/api/{session}/send-location", connected(send_handler(read_location, whole=False)), methods=["POST"]),
    Route("/api/{session}/contact-vcard", connected(send_card), methods=["POST"]),
    Route("/api/{session}/react-message", connected(react), methods=["POST"]),
    # Read from the server's source, not measured: what it answers.
    Route("/api/{session}/send-seen", connected(send_seen), methods=["POST"]),
]
