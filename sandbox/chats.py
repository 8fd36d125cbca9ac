"""Messages: going out, coming in, and their acks."""

import asyncio
import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.pairing import removed_on_phone
from sandbox.state import Session, World, phone_of
from sandbox.webhooks import emit, post_raw

ACK_SENT = 1


@dataclass(frozen=True)
class Content:
    """What a message carries. `base64` has no `data:` prefix; `place` is lat, lng, title and address."""

    type: str = "chat"
    body: str = ""
    caption: str | None = None
    filename: str | None = None
    mimetype: str | None = None
    base64: str = ""
    place: Mapping[str, Any] | None = None
    quoted: str | None = None


def _message(content: Content, chat: str, from_me: bool, me: str) -> dict[str, Any]:
    unique = "3EB0" + secrets.token_hex(9).upper()
    message: dict[str, Any] = {
        "id": f"true_{chat}_{unique}_out" if from_me else f"false_{chat}_{unique}",
        "viewed": False,
        "body": content.body,
        "type": content.type,
        "t": int(time.time()),
        "from": me if from_me else chat,
        "to": chat if from_me else me,
        "self": "out" if from_me else "in",
        "ack": 0 if from_me else ACK_SENT,
        "isNewMsg": True,
        "star": False,
        "chatId": chat,
        "fromMe": from_me,
        "isGroupMsg": chat.endswith("@g.us"),
        "isMedia": content.mimetype is not None,
    }
    if content.mimetype:
        message |= {"mimetype": content.mimetype, "caption": content.caption or "", "filename": content.filename or ""}
    if content.quoted:
        message["quotedStanzaID"] = content.quoted.split("_")[2] if content.quoted.count("_") > 1 else content.quoted
    return message | dict(content.place or {})


async def send(world: World, session: Session, to: str, content: Content) -> dict[str, Any]:
    """Try to send; answers the message as the server would. `World.sendings` says what became of it.

    In a zombie it hangs, and leaves when WhatsApp is in reach again, unless its browser has ended before.
    """
    message = _message(content, to, from_me=True, me=session.address)
    outcome = _outcome(world, session, to)
    world.record(session, message, outcome)
    if outcome == "zombie":
        world.spawn(_leave_later(world, session, to, content, message))
        return message
    if outcome not in ("nobody", "no_such_number", "failed"):
        session.remember(to, message)
        if content.base64 and content.mimetype:
            session.keep_media(str(message["id"]), content.base64, content.mimetype)
    if outcome == "sent":
        await _start_acks(world, session, message)
        _count_for_ban(world, session)
    return message


async def _leave_later(world: World, session: Session, to: str, content: Content, message: dict[str, Any]) -> None:
    if await world.revived(session):
        world.record(session, message, "sent")
        session.remember(to, message)
        if content.base64 and content.mimetype:
            session.keep_media(str(message["id"]), content.base64, content.mimetype)
        await _start_acks(world, session, message)


def _outcome(world: World, session: Session, to: str) -> str:
    if to.endswith("@lid") and to.split("@")[0] not in world.phone_of_lid:
        return "nobody"
    if to.endswith("@c.us") and world.whatsapp_address(session, to) is None:
        return "no_such_number"
    for fault in ("error_but_delivered", "send_timeout"):
        if (world.faults.options(fault, session.name) or {}).get("delivered") is False:
            return "failed"
    if world.faults.options("secrets_in_error", session.name) is not None:
        return "failed"
    if world.dead(session):
        return "zombie"
    return "never_sent" if world.faults.strike("accepted_but_never_sent", session.name) is not None else "sent"


def _count_for_ban(world: World, session: Session) -> None:
    ban = world.faults.options("banned", session.name)
    if ban is None:
        return
    now = time.monotonic()
    session.recent_sends.append(now)
    while session.recent_sends[0] < now - world.config.seconds(float(ban["window"])):
        session.recent_sends.popleft()
    if len(session.recent_sends) > int(ban["limit"]):
        removed_on_phone(world, session)


async def _start_acks(world: World, session: Session, message: dict[str, Any]) -> None:
    first = ACK_SENT
    if world.faults.strike("ack_before_reply", session.name) is not None:
        delivery = acknowledge(world, session, message, first)
        if delivery is not None:
            await delivery
        first += 1
    world.spawn(_acks(world, session, message, first))


async def _acks(world: World, session: Session, message: dict[str, Any], first: int) -> None:
    for ack, delay in enumerate(world.config.ack_delays, start=ACK_SENT):
        if ack >= first:
            await world.sleep(delay)
            acknowledge(world, session, message, ack)


def acknowledge(world: World, session: Session, message: dict[str, Any], ack: int) -> "asyncio.Task[None] | None":
    """Move a message's ack and post `onack`. Answers the delivery's task, or None when nothing is posted."""
    message["ack"] = max(int(message["ack"]), ack)
    return emit(world, session, "onack", ack_event(world, session, message, ack))


def ack_event(world: World, session: Session, message: Mapping[str, Any], ack: int) -> dict[str, Any]:
    """The payload of `onack`: the id comes as an object with `_serialized`."""
    chat = str(message["to"])
    lid = world.faults.options("lid_instead_of_phone", session.name)
    if lid is not None and lid["acks"] and chat.endswith("@c.us"):
        chat = world.lid_of(phone_of(chat)) + "@lid"
    return {
        "id": ack_id(str(message["id"]).replace(str(message["to"]), chat)),
        "body": message["body"] if not message.get("mimetype") else "",
        "type": message["type"],
        "t": message["t"],
        "from": message["from"],
        "to": chat,
        "self": "out",
        "ack": ack,
    }


def ack_id(serialized: str) -> dict[str, Any]:
    """`true_<chat>_<unique>_out` as the object that acks carry."""
    from_me, chat, unique, *rest = [*serialized.split("_"), "", ""]
    return {
        "fromMe": from_me == "true",
        "remote": chat,
        "id": unique,
        "self": rest[0],
        "_serialized": serialized,
    }


async def push_ack(world: World, session: Session, message_id: str, ack: int) -> int:
    """Post an ack of any value for any id, past every fault. Answers the receiver's status code."""
    known = session.messages.get(message_id)
    if known is not None:
        known["ack"] = max(int(known["ack"]), ack)
    data = ack_event(world, session, known, ack) if known else {"id": ack_id(message_id), "ack": ack}
    return await post_raw(world, session, {"event": "onack", "session": session.name, **data})


def receive(world: World, session: Session, sender: Mapping[str, Any]) -> dict[str, Any]:
    """A contact writes to the session. `sender` is the control route's body: phone, name, text, type, media, group.

    A dead session gets no webhook, but the phone has the message: reading the chat back finds it.
    """
    phone = phone_of(str(sender["phone"]))
    author = _author(world, session, phone)
    chat = str(sender.get("group") or author)
    content = _inbound_content(world, session, sender)
    name = str(sender.get("name") or phone)
    message = _message(content, chat, from_me=False, me=session.address)
    message |= {"id": str(sender.get("id") or _inbound_id(world, session, chat, message))}
    message |= {"t": int(sender.get("t") or message["t"]), "notifyName": name, "isGroupMsg": chat.endswith("@g.us")}
    message |= {
        "sender": {"id": author, "name": name, "pushname": name, "shortName": name.split(" ")[0], "isMe": False}
    }
    if chat != author:
        message["author"] = author
    _file(session, chat, str(sender.get("group_name") or chat) if chat != author else name, message, content)
    emit(world, session, "onmessage", message if not content.base64 else {**message, "body": content.base64})
    return message


def _author(world: World, session: Session, phone: str) -> str:
    if world.faults.strike("lid_instead_of_phone", session.name) is not None:
        return world.lid_of(phone) + "@lid"
    return world.whatsapp_address(session, f"{phone}@c.us") or f"{phone}@c.us"


def _inbound_content(world: World, session: Session, sender: Mapping[str, Any]) -> Content:
    huge = world.faults.strike("huge_media", session.name)
    if huge is not None:
        size = int(float(huge["megabytes"]) * 1024 * 1024)
        return Content(
            "image", caption=str(sender.get("text", "")), mimetype="image/jpeg", base64="A" * (size // 4 * 4)
        )
    file = str(sender.get("base64") or "")
    text = str(sender.get("text", ""))
    kind = str(sender.get("type") or "chat")
    if not file:
        place = {key: sender[key] for key in ("lat", "lng", "loc") if key in sender}
        return Content(kind, body=text, place=place or None)
    prefix, _, encoded = file.rpartition(",")
    mimetype = str(sender.get("mimetype") or prefix.removeprefix("data:").split(";")[0] or "application/octet-stream")
    return Content(
        kind if kind != "chat" else kind_of(mimetype),
        caption=str(sender.get("caption") or text),
        filename=str(sender.get("filename") or ""),
        mimetype=mimetype,
        base64=encoded,
    )


def kind_of(mimetype: str) -> str:
    """The message type under which WhatsApp files a MIME type."""
    family = mimetype.split("/")[0]
    return family if family in ("image", "video", "audio") else "document"


def _inbound_id(world: World, session: Session, chat: str, message: Mapping[str, Any]) -> str:
    earlier = [str(old["id"]) for old in session.chats.get(chat, []) if not old["fromMe"]]
    if earlier and world.faults.strike("reused_message_id", session.name) is not None:
        return earlier[-1]
    return str(message["id"])


def _file(session: Session, chat: str, name: str, message: dict[str, Any], content: Content) -> None:
    session.remember(chat, message)
    session.unread[chat] = session.unread.get(chat, 0) + 1
    session.names[chat] = name
    if content.base64 and content.mimetype:
        session.keep_media(str(message["id"]), content.base64, content.mimetype)


def data_uri(text: str) -> tuple[str, str]:
    """(`MIME type`, base64) of a `data:` URI. Raises ValueError when it is not base64."""
    prefix, _, encoded = text.rpartition(",")
    base64.b64decode(encoded, validate=True)
    return prefix.removeprefix("data:").split(";")[0] or "application/octet-stream", encoded
