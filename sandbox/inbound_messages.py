"""Messages that a contact sends to a session, and the `onmessage` webhook."""

import time
from collections.abc import Mapping
from typing import Any

from sandbox import models
from sandbox.messages import Content, file_message, is_filed_under_lid, kind_of_mimetype, new_message
from sandbox.state import Session, World, phone_of
from sandbox.webhooks import emit

# What somebody without a name calls themselves: their phone would tell who a `@lid` is.
UNKNOWN_NAME = "Cliente"


def receive_message(world: World, session: Session, sender: Mapping[str, Any]) -> dict[str, Any]:
    """A contact writes to the session. `sender` is the control route's body: phone, name, text, type, media, group.

    A dead session gets no webhook, but the phone has the message: reading the chat back finds it. One of WhatsApp's own
    notices is only found there.
    """
    phone = phone_of(str(sender["phone"]))
    author = _author_address(world, session, phone)
    chat = str(sender.get("group") or author)
    content = _read_content(world, session, sender)
    name = str(sender.get("name") or (UNKNOWN_NAME if author.endswith("@lid") else phone))
    message = new_message(session, content, chat, from_me=False, author=author)
    message |= {"id": str(sender.get("id") or _message_id(world, session, chat, message))}
    when = int(sender.get("t") or message["t"])
    message |= {"t": when, "timestamp": when, "notifyName": name}
    known = world.phone_of_lid.get(author.split("@")[0]) if author.endswith("@lid") else None
    message |= {"sender": models.contact(author, name, known)}
    if chat != author:
        message["author"] = author
    if content.base64 and content.mimetype:
        session.keep_media(str(message["id"]), content.base64, content.mimetype)
    file_message(world, session, message)
    if message["isNotification"]:
        return message
    session.unread[chat] = session.unread.get(chat, 0) + 1
    if called := name if chat == author else sender.get("group_name"):
        session.names[chat] = str(called)
    posted = message if not content.base64 else {**message, "body": content.base64}
    _post_message(world, session, posted)
    return message


def _post_message(world: World, session: Session, message: dict[str, Any]) -> None:
    ciphertext = world.faults.strike("ciphertext_first", session.name)
    if ciphertext is None:
        emit(world, session, "onmessage", message)
        return
    unreadable = {key: value for key, value in message.items() if key not in ("mimetype", "caption", "filename")}
    unreadable |= {"type": "ciphertext", "body": "", "content": "", "subtype": "fanout", "mediaData": {}}
    emit(world, session, "onmessage", unreadable)
    world.spawn(_post_later(world, session, message, float(ciphertext["delay"])))


async def _post_later(world: World, session: Session, message: dict[str, Any], delay: float) -> None:
    await world.sleep(delay)
    emit(world, session, "onmessage", message)


def edit_message(world: World, session: Session, message_id: str, text: str, *, post: bool) -> dict[str, Any] | None:
    """A message is changed by whom it is from: nothing is posted of it, only the message tells when it is read back, or
    when it is posted again. None where there is no such message."""
    message = session.messages.get(message_id)
    if message is not None:
        message |= {"body": text, "content": text, "latestEditSenderTimestampMs": int(time.time() * 1000)}
        if post:
            emit(world, session, "onmessage", dict(message))
    return message


def _author_address(world: World, session: Session, phone: str) -> str:
    if world.faults.strike("lid_without_phone", session.name) is not None:
        return world.secret_lid_of(phone) + "@lid"
    if world.faults.strike("lid_instead_of_phone", session.name) is not None or is_filed_under_lid(world, session):
        return world.lid_of(phone) + "@lid"
    return world.whatsapp_address(session, f"{phone}@c.us") or f"{phone}@c.us"


def _read_content(world: World, session: Session, sender: Mapping[str, Any]) -> Content:
    huge = world.faults.strike("huge_media", session.name)
    if huge is not None:
        size = int(float(huge["megabytes"]) * 1024 * 1024)
        return Content(
            "image", caption=str(sender.get("text") or "") or None, mimetype="image/jpeg", base64="A" * (size // 4 * 4)
        )
    file = str(sender.get("base64") or "")
    text = str(sender.get("text", ""))
    kind = str(sender.get("type") or "chat")
    if not file:
        more = {key: sender[key] for key in ("lat", "lng", "loc", "subtype") if key in sender}
        return Content(kind, body=text, more=more or None)
    prefix, _, encoded = file.rpartition(",")
    mimetype = str(sender.get("mimetype") or prefix.removeprefix("data:").split(";")[0] or "application/octet-stream")
    return Content(
        kind if kind != "chat" else kind_of_mimetype(mimetype),
        caption=str(sender.get("caption") or text) or None,
        filename=str(sender["filename"]) if sender.get("filename") else None,
        mimetype=mimetype,
        base64=encoded,
    )


def _message_id(world: World, session: Session, chat: str, message: Mapping[str, Any]) -> str:
    said = [old for old in session.chats.get(chat, []) if not old["isNotification"]]
    earlier = [str(old["id"]) for old in said if not old["fromMe"]]
    if earlier and world.faults.strike("reused_message_id", session.name) is not None:
        return earlier[-1]
    return str(message["id"])
