"""Messages: their content, how a chat files them, and how the server shows them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import models
from sandbox.state import Session, World, phone_of


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


def new_message(
    session: Session, content: Content, chat: str, from_me: bool, author: str | None = None
) -> dict[str, Any]:
    made = models.message(
        unique=models.new_stanza_id(),
        chat=chat,
        me=session.address,
        from_me=from_me,
        type=content.type,
        t=int(time.time()),
        author=author,
    )
    return _with_content(session, made, content)


def _with_content(session: Session, message: dict[str, Any], content: Content) -> dict[str, Any]:
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
        message |= _quote_keys(session, content.quoted)
    return message | dict(content.more or {})


def _quote_keys(session: Session, quoted_id: str) -> dict[str, Any]:
    """Raises SendRefused for a message that the session does not have."""
    quoted = session.messages.get(quoted_id)
    if quoted is None:
        raise SendRefused("quoted_msg_not_found")
    author = quoted.get("author") or quoted["from"]
    return {
        "quotedMsg": {"type": quoted["type"], "body": quoted.get("body", "")},
        "quotedStanzaID": models.stanza_id(quoted_id),
        "quotedParticipant": author,
        "quotedMsgId": quoted_id,
    }


def as_shown(session: Session, message: Mapping[str, Any], chat: str | None = None) -> dict[str, Any]:
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


def kind_of_mimetype(mimetype: str) -> str:
    """The message type under which WhatsApp files a MIME type."""
    family = mimetype.split("/")[0]
    return family if family in ("image", "video", "audio") else "document"


def is_filed_under_lid(world: World, session: Session) -> bool:
    return world.faults.options("chat_under_lid", session.name) is not None


def file_message(world: World, session: Session, message: dict[str, Any]) -> None:
    """Put a message into its chat, which begins with WhatsApp's own notices."""
    chat = str(message["chatId"]["_serialized"])
    if chat.endswith("@c.us") and is_filed_under_lid(world, session):
        chat = world.lid_of(phone_of(chat)) + "@lid"
    if chat not in session.chats:
        session.chats[chat] = [models.notice(chat, session.address, "e2e_notification", "encrypt", int(message["t"]))]
        if chat.endswith("@g.us"):
            session.chats[chat].append(models.notice(chat, session.address, "gp2", "create", int(message["t"])))
    session.remember(chat, message)
    session.messages[str(as_shown(session, message, chat)["id"])] = message


def parse_data_uri(text: str) -> tuple[str, str]:
    """(`MIME type`, base64) of a `data:` URI; what is no base64 is sent as an empty file. Raises SendRefused for a text
    that is no `data:` URI, such as a path."""
    prefix, comma, encoded = text.rpartition(",")
    if not comma or not prefix.startswith("data:"):
        raise SendRefused("empty_file")
    return prefix.removeprefix("data:").split(";")[0] or "application/octet-stream", encoded
