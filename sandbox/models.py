"""The objects that WhatsApp Web keeps: messages, contacts, chats. Pure.

Their keys and types are those that were recorded from wppconnect-server 2.10.4.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

# WhatsApp's own notes in a chat: `isNotification`, and no messages.
NOTICE_TYPES = frozenset({"e2e_notification", "gp2", "notification", "notification_template", "call_log"})
# The smallest JPEG there is, as the small picture that a message holds until its file is loaded.
PREVIEW = (
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////"
    "////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA="
)
PREVIEWED = ("image", "video", "ptv", "document")
OTHER_DOMAINS = ("g.us", "newsletter", "broadcast")


def wid(address: str) -> dict[str, str]:
    """An address as WhatsApp Web's object."""
    user, _, server = address.partition("@")
    return {"server": server, "user": user, "_serialized": address}


def stanza_id(message_id: str) -> str:
    """The part of a message's id that is the same under each of its chat's addresses."""
    parts = message_id.split("_")
    return parts[2] if len(parts) > 2 else message_id


def message(
    *, unique: str, chat: str, me: str, from_me: bool, type: str, t: int, author: str | None = None
) -> dict[str, Any]:
    """A message as `get-messages` shows it, before its content. A group's carries its author in its id."""
    is_group = chat.endswith("@g.us")
    whose = f"_{me if from_me else author or chat}" if is_group else ""
    is_notice = type in NOTICE_TYPES
    return {
        "id": f"true_{chat}_{unique}{whose}_out" if from_me else f"false_{chat}_{unique}{'' if is_notice else whose}",
        "viewed": False,
        "body": "",
        "type": type,
        "t": t,
        "notifyName": "",
        "from": me if from_me else chat,
        "to": None if is_notice else chat if from_me else me,
        "self": "out" if from_me else "in",
        "ack": 0 if from_me else 1,
        "invis": False,
        "isNewMsg": True,
        "star": False,
        "kicNotified": False,
        "recvFresh": True,
        "isFromTemplate": False,
        "pollInvalidated": False,
        "isSentCagPollCreation": False,
        "latestEditMsgKey": None,
        "latestEditSenderTimestampMs": None,
        "broadcast": False,
        "mentionedJidList": [],
        "groupMentions": [],
        "isEventCanceled": False,
        "isVcardOverMmsDocument": False,
        "isForwarded": False,
        "labels": [],
        "hasReaction": False,
        "viewMode": "VISIBLE",
        "productHeaderImageRejected": False,
        "lastPlaybackProgress": 0,
        "isDynamicReplyButtonsMsg": False,
        "isCarouselCard": False,
        "isMdHistoryMsg": False,
        "stickerSentTs": 0,
        "isAvatar": False,
        "lastUpdateFromServerTs": 0,
        "invokedBotWid": None,
        "requiresDirectConnection": False,
        "chatId": wid(chat),
        "fromMe": from_me,
        "sender": None,
        "timestamp": t,
        "isGroupMsg": is_group,
        "isLink": False,
        "isMMS": False,
        "isMedia": False,
        "isNotification": is_notice,
        "isPSA": False,
        "mediaData": {},
        "content": "",
    }


def notice(chat: str, me: str, type: str, subtype: str, t: int) -> dict[str, Any]:
    """One of WhatsApp's own notes, such as the one on encryption at the head of nearly every chat."""
    made = message(unique=new_stanza_id(), chat=chat, me=me, from_me=False, type=type, t=t)
    return made | {"subtype": subtype}


def new_stanza_id() -> str:
    """A stanza id as WhatsApp Web makes them."""
    return "3EB0" + secrets.token_hex(9).upper()


def file_keys(message_id: str, type: str, mimetype: str, encoded: str, t: int) -> dict[str, Any]:
    """What a message with a file has beside the others. `encoded` is its base64, or no base64 at all: an empty file."""
    try:
        content = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        content = b""
    return {
        "isMMS": True,
        "isMedia": True,
        "mediaData": {"type": type, "mediaStage": "RESOLVED", "size": len(content), "mimetype": mimetype},
        "mimetype": mimetype,
        "size": len(content),
        "filehash": _digest(content),
        "encFilehash": _digest(secrets.token_bytes(8)),
        "mediaKey": _digest(secrets.token_bytes(8)),
        "mediaKeyTimestamp": t,
        "directPath": f"/v/t62.7118-24/{_digest(content)[:11]}=",
        "deprecatedMms3Url": f"https://mmg.whatsapp.net/v/{message_id}",
    }


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def ack_model(shown: Mapping[str, Any], ack: int) -> dict[str, Any]:
    """The message as `onack` posts it: its raw model, where `get-messages` shows a tidied one."""
    tidied = ("chatId", "fromMe", "sender", "timestamp", "isGroupMsg", "content", "quotedMsgId", "reactions")
    raw = {key: value for key, value in shown.items() if key not in tidied}
    raw |= {
        "id": message_key(str(shown["id"])),
        "ack": ack,
        "from": wid(str(shown["from"])),
        "to": wid(str(shown["to"])),
    }
    return raw


def message_key(serialized: str) -> dict[str, Any]:
    """`true_<chat>_<unique>_out`, in a group `true_<group>_<unique>_<author>_out`, as the object that acks carry."""
    from_me, chat, unique, *rest = [*serialized.split("_"), "", ""]
    made = {"fromMe": from_me == "true", "remote": wid(chat), "id": unique, "_serialized": serialized}
    participant = next((part for part in rest if "@" in part), None)
    made |= {"participant": wid(participant)} if participant else {}
    return made | ({"self": "out"} if "out" in rest else {})


def contact(address: str, name: str | None, phone: str | None = None) -> dict[str, Any]:
    """A contact. One whom the phone's address book does not have has no name; `phone` is the one behind a `@lid`."""
    user, _, server = address.partition("@")
    known = bool(name) and server not in ("lid", *OTHER_DOMAINS)
    return {
        "id": wid(address),
        **({"name": name, "shortName": str(name).split(" ")[0]} if known else {}),
        **({"pushname": name} if name else {}),
        "type": "in",
        "isBusiness": False,
        "isEnterprise": False,
        "labels": [],
        "isContactSyncCompleted": 1,
        **({"phoneNumber": wid(f"{phone}@c.us")} if phone else {}),
        "formattedName": name if known else f"+{user}",
        "isMe": False,
        "isMyContact": known,
        "isPSA": False,
        "isUser": True,
        "isWAContact": True,
        "profilePicThumbObj": {},
        "msgs": None,
    }


def chat(address: str, t: int, unread: int, name: str | None, its_contact: dict[str, Any]) -> dict[str, Any]:
    """A line of `list-chats`."""
    server = address.partition("@")[2]
    is_group = server == "g.us"
    named = name if is_group or server == "newsletter" else its_contact.get("name")
    return {
        "id": wid(address),
        "unreadCount": unread,
        "t": t,
        "archive": False,
        "isReadOnly": False,
        "isAnnounceGrpRestrict": False,
        "modifyTag": 1,
        "muteExpiration": 0,
        "isAutoMuted": False,
        **({"name": named} if named else {}),
        "notSpam": True,
        "unreadMentionCount": 0,
        "ephemeralDuration": 0,
        "hasOpened": True,
        "unreadMentionsOfMe": [],
        "msgs": None,
        "kind": "group" if is_group else server if server in OTHER_DOMAINS else "chat",
        "isBroadcast": server == "broadcast",
        "isGroup": is_group,
        "isUser": server in ("c.us", "lid"),
        "contact": its_contact,
        "groupMetadata": {"id": wid(address), "participants": []} if is_group else None,
        "presence": {"id": wid(address), "chatstates": []},
    }


def device(address: str, ref: str | None) -> dict[str, Any]:
    """The answer of `host-device`: note that it has no `id`."""
    return {
        "ref": ref,
        "refTTL": 20000,
        "wid": wid(address),
        "connected": True,
        "me": wid(address),
        "protoVersion": [0, 17],
        "clientToken": _digest(secrets.token_bytes(8)),
        "serverToken": "1@" + _digest(secrets.token_bytes(8)),
        "isResponse": "false",
        "battery": 77,
        "plugged": False,
        "lc": "BR",
        "lg": "pt",
        "locales": "pt-BR",
        "is24h": True,
        "platform": "android",
        "pushname": "Plushify Teste",
        "tos": 0,
        "smbTos": 0,
        "phoneNumber": address,
    }
