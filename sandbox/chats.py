"""Messages: going out, coming in, and their acks."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import models
from sandbox.pairing import removed_on_phone
from sandbox.state import Session, World, phone_of
from sandbox.webhooks import emit, post_raw

ACK_SENT = 1
# What somebody without a name calls themselves: their phone would tell who a `@lid` is.
STRANGER = "Cliente"
# The receiver is given this long to take ack 1 before the send is answered: as long as WhatsApp's own way back.
ACK_AHEAD_SECONDS = 0.5
LATER_ACK_OF_PLACES = ("location", "vcard")


@dataclass(frozen=True)
class Content:
    """What a message carries. `base64` has no `data:` prefix; `more` are the keys of its kind: a place, a card's name.

    A `body` of None is a text message without text, which the server sends all the same.
    """

    type: str = "chat"
    body: str | None = ""
    caption: str | None = None
    filename: str | None = None
    mimetype: str | None = None
    base64: str = ""
    more: Mapping[str, Any] | None = None
    quoted: str | None = None


class SendRefused(Exception):
    """WhatsApp Web's library refuses before anything leaves: the `code` in the 500's `error`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _message(session: Session, content: Content, chat: str, from_me: bool, author: str | None = None) -> dict[str, Any]:
    made = models.message(
        unique=models.new_unique(),
        chat=chat,
        me=session.address,
        from_me=from_me,
        type=content.type,
        t=int(time.time()),
        author=author,
    )
    return _filled(session, made, content)


def _filled(session: Session, message: dict[str, Any], content: Content) -> dict[str, Any]:
    """The message with its content. The file itself stays in the session's media: `shown` puts it in its place."""
    message |= {"body": content.body, "content": content.body}
    if content.body is None:
        del message["body"], message["content"]
    if content.mimetype:
        message |= models.file_keys(
            str(message["id"]), content.type, content.mimetype, content.base64, int(message["t"])
        )
        optional = {"caption": content.caption, "filename": content.filename}
        message |= {key: value for key, value in optional.items() if value is not None}
        preview = models.PREVIEW if content.type in models.PREVIEWED and not message["fromMe"] else ""
        message |= {"body": preview, "content": preview}
        if content.type == "image" and not message["fromMe"]:
            message |= {"width": 640, "height": 480}
    if content.quoted:
        message |= _quoting(session, content.quoted)
    return message | dict(content.more or {})


def _quoting(session: Session, quoted_id: str) -> dict[str, Any]:
    """Raises SendRefused for a message that the session does not have."""
    quoted = session.messages.get(quoted_id)
    if quoted is None:
        raise SendRefused("quoted_msg_not_found")
    author = quoted.get("author") or quoted["from"]
    return {
        "quotedMsg": {"type": quoted["type"], "body": quoted.get("body", "")},
        "quotedStanzaID": models.stanza_of(quoted_id),
        "quotedParticipant": author,
        "quotedMsgId": quoted_id,
    }


def shown(session: Session, message: Mapping[str, Any], chat: str | None = None) -> dict[str, Any]:
    """A message as the server hands it out of `chat`: under that address, and one's own with its whole file."""
    found = dict(message)
    if message["fromMe"] and message.get("mimetype"):
        encoded = session.media.get(str(message["id"]), ("", ""))[0]
        found |= {"body": encoded, "content": encoded}
    filed = str(message["chatId"]["_serialized"])
    if chat is None or chat == filed:
        return found
    found |= {"id": str(message["id"]).replace(filed, chat), "chatId": models.wid(chat)}
    return found | {key: chat for key in ("from", "to") if found[key] == filed}


async def send(world: World, session: Session, to: str, content: Content) -> dict[str, Any]:
    """Try to send; answers the message as the server would. `World.sendings` says what became of it.

    In a zombie it hangs, and leaves when WhatsApp is in reach again, unless its browser has ended before. Raises
    SendRefused for what the server answers 500 to before anything left.
    """
    if _chat_is_missing(world, session, to):
        world.record(session, _message(session, content, to, from_me=True), "nobody")
        raise SendRefused("chat_not_found")
    message = _message(session, content, to, from_me=True)
    outcome = _outcome(world, session, to)
    world.record(session, message, outcome)
    if outcome == "zombie":
        world.spawn(_leave_later(world, session, content, message))
        return shown(session, message)
    if outcome not in ("no_such_number", "failed"):
        if message.get("size") and content.mimetype:
            session.keep_media(str(message["id"]), content.base64, content.mimetype)
        _file(world, session, message)
    if outcome == "sent":
        await _start_acks(world, session, message)
        _count_for_ban(world, session)
    return shown(session, message)


def _chat_is_missing(world: World, session: Session, to: str) -> bool:
    return to.endswith("@lid") and to.split("@")[0] not in world.phone_of_lid and to not in session.chats


async def _leave_later(world: World, session: Session, content: Content, message: dict[str, Any]) -> None:
    if await world.revived(session):
        world.record(session, message, "sent")
        if message.get("size") and content.mimetype:
            session.keep_media(str(message["id"]), content.base64, content.mimetype)
        _file(world, session, message)
        await _start_acks(world, session, message)


def _outcome(world: World, session: Session, to: str) -> str:
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
    """The server answers a send once WhatsApp has acknowledged it, but those of places and cards at once."""
    delays = world.config.ack_delays
    late = message["type"] in LATER_ACK_OF_PLACES or world.faults.strike("ack_after_reply", session.name) is not None
    first = ACK_SENT
    if delays and not late:
        await world.sleep(delays[0])
        delivery = acknowledge(world, session, message, first)
        sure = world.faults.strike("ack_before_reply", session.name) is not None
        if delivery is not None and (sure or not _is_put_off(world, session)):
            await asyncio.wait({delivery}, timeout=None if sure else ACK_AHEAD_SECONDS)
        first += 1
    world.spawn(_acks(world, session, message, first))


def _is_put_off(world: World, session: Session) -> bool:
    return any(world.faults.options(name, session.name) is not None for name in ("webhook_late", "webhook_disorder"))


async def _acks(world: World, session: Session, message: dict[str, Any], first: int) -> None:
    for ack, delay in enumerate(world.config.ack_delays, start=ACK_SENT):
        if ack >= first:
            await world.sleep(delay)
            acknowledge(world, session, message, ack)
    if world.faults.strike("ack_backwards", session.name) is not None:
        acknowledge(world, session, message, ACK_SENT)


def acknowledge(world: World, session: Session, message: dict[str, Any], ack: int) -> "asyncio.Task[None] | None":
    """Move a message's ack and post `onack`. Answers the delivery's task, or None when nothing is posted."""
    message["ack"] = max(int(message["ack"]), ack)
    if world.faults.strike("ack_twice", session.name) is not None:
        emit(world, session, "onack", ack_event(world, session, message, ack))
    return emit(world, session, "onack", ack_event(world, session, message, ack))


def ack_event(world: World, session: Session, message: Mapping[str, Any], ack: int) -> dict[str, Any]:
    """The payload of `onack`: the whole message model, with its file as base64 in `body`."""
    chat = str(message["chatId"]["_serialized"])
    lid = world.faults.options("lid_instead_of_phone", session.name)
    if lid is not None and lid["acks"] and chat.endswith("@c.us"):
        chat = world.lid_of(phone_of(chat)) + "@lid"
    found = shown(session, message, chat)
    if message.get("mimetype") and world.faults.options("acks_without_files", session.name) is not None:
        found["body"] = ""
    return models.acknowledged(found, ack)


async def push_ack(world: World, session: Session, message_id: str, ack: int) -> int:
    """Post an ack of any value for any id, past every fault. Answers the receiver's status code."""
    known = session.messages.get(message_id)
    if known is not None:
        known["ack"] = max(int(known["ack"]), ack)
    data = ack_event(world, session, known, ack) if known else {"id": models.key(message_id), "ack": ack}
    return await post_raw(world, session, {"event": "onack", "session": session.name, **data})


def receive(world: World, session: Session, sender: Mapping[str, Any]) -> dict[str, Any]:
    """A contact writes to the session. `sender` is the control route's body: phone, name, text, type, media, group.

    A dead session gets no webhook, but the phone has the message: reading the chat back finds it. One of WhatsApp's own
    notices is only found there.
    """
    phone = phone_of(str(sender["phone"]))
    author = _author(world, session, phone)
    chat = str(sender.get("group") or author)
    content = _inbound_content(world, session, sender)
    name = str(sender.get("name") or (STRANGER if author.endswith("@lid") else phone))
    message = _message(session, content, chat, from_me=False, author=author)
    message |= {"id": str(sender.get("id") or _inbound_id(world, session, chat, message))}
    when = int(sender.get("t") or message["t"])
    message |= {"t": when, "timestamp": when, "notifyName": name}
    known = world.phone_of_lid.get(author.split("@")[0]) if author.endswith("@lid") else None
    message |= {"sender": models.contact(author, name, known)}
    if chat != author:
        message["author"] = author
    if content.base64 and content.mimetype:
        session.keep_media(str(message["id"]), content.base64, content.mimetype)
    _file(world, session, message)
    if message["isNotification"]:
        return message
    session.unread[chat] = session.unread.get(chat, 0) + 1
    if called := name if chat == author else sender.get("group_name"):
        session.names[chat] = str(called)
    posted = message if not content.base64 else {**message, "body": content.base64}
    _post(world, session, posted)
    return message


def _post(world: World, session: Session, message: dict[str, Any]) -> None:
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


def edit(world: World, session: Session, message_id: str, text: str, *, post: bool) -> dict[str, Any] | None:
    """A message is changed by whom it is from: nothing is posted of it, only the message tells when it is read back, or
    when it is posted again. None where there is no such message."""
    message = session.messages.get(message_id)
    if message is not None:
        message |= {"body": text, "content": text, "latestEditSenderTimestampMs": int(time.time() * 1000)}
        if post:
            emit(world, session, "onmessage", dict(message))
    return message


def _author(world: World, session: Session, phone: str) -> str:
    if world.faults.strike("lid_without_phone", session.name) is not None:
        return world.secret_lid_of(phone) + "@lid"
    if world.faults.strike("lid_instead_of_phone", session.name) is not None or _filed_under_lid(world, session):
        return world.lid_of(phone) + "@lid"
    return world.whatsapp_address(session, f"{phone}@c.us") or f"{phone}@c.us"


def _inbound_content(world: World, session: Session, sender: Mapping[str, Any]) -> Content:
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
        kind if kind != "chat" else kind_of(mimetype),
        caption=str(sender.get("caption") or text) or None,
        filename=str(sender["filename"]) if sender.get("filename") else None,
        mimetype=mimetype,
        base64=encoded,
    )


def kind_of(mimetype: str) -> str:
    """The message type under which WhatsApp files a MIME type."""
    family = mimetype.split("/")[0]
    return family if family in ("image", "video", "audio") else "document"


def _inbound_id(world: World, session: Session, chat: str, message: Mapping[str, Any]) -> str:
    said = [old for old in session.chats.get(chat, []) if not old["isNotification"]]
    earlier = [str(old["id"]) for old in said if not old["fromMe"]]
    if earlier and world.faults.strike("reused_message_id", session.name) is not None:
        return earlier[-1]
    return str(message["id"])


def _filed_under_lid(world: World, session: Session) -> bool:
    return world.faults.options("chat_under_lid", session.name) is not None


def _file(world: World, session: Session, message: dict[str, Any]) -> None:
    """Put a message into its chat, which begins with WhatsApp's own notices."""
    chat = str(message["chatId"]["_serialized"])
    if chat.endswith("@c.us") and _filed_under_lid(world, session):
        chat = world.lid_of(phone_of(chat)) + "@lid"
    if chat not in session.chats:
        session.chats[chat] = [models.notice(chat, session.address, "e2e_notification", "encrypt", int(message["t"]))]
        if chat.endswith("@g.us"):
            session.chats[chat].append(models.notice(chat, session.address, "gp2", "create", int(message["t"])))
    session.remember(chat, message)
    session.messages[str(shown(session, message, chat)["id"])] = message


def data_uri(text: str) -> tuple[str, str]:
    """(`MIME type`, base64) of a `data:` URI; what is no base64 is sent as an empty file. Raises SendRefused for a text
    that is no `data:` URI, such as a path."""
    prefix, comma, encoded = text.rpartition(",")
    if not comma or not prefix.startswith("data:"):
        raise SendRefused("empty_file")
    return prefix.removeprefix("data:").split(";")[0] or "application/octet-stream", encoded
