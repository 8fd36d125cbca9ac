"""The calls that read: numbers, chats, messages, media, contacts, the device."""

import time
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from sandbox import models
from sandbox.calls import Call, authenticated, connected, to_addresses
from sandbox.express import DroppedConnection
from sandbox.messages import as_shown
from sandbox.state import Session, World, phone_of

BATTERY = 77
DEFAULT_COUNT = 20


def _success(call: Call, response: Any, **extra: Any) -> Response:
    return call.reply(200, {"status": "success", "response": response, **extra})


def _failure(call: Call, message: str, **error: str) -> Response:
    return call.reply(500, {"status": "error", "message": message, "error": {**error, "level": "error"}})


async def check_number_status(call: Call) -> Response:
    """`_serialized` is the address that WhatsApp uses.

    The one question that must leave the browser: in a zombie it never answers. But the browser answers by itself for a
    contact and for a number that was asked about in the last five minutes.
    """
    world, session = call.world, call.session
    result: dict[str, Any] | None = None
    for address in to_addresses(call.request.path_params["phone"], {}):
        digits = phone_of(address)
        if world.asks_whatsapp(session, digits):
            if world.dead(session):
                return DroppedConnection(hang=world.config.seconds(world.config.hang))
            session.answered[digits] = time.monotonic()
        known = call.world.whatsapp_address(call.session, address)
        result = {
            # Recorded: an object for a number that exists, and a text for one that does not.
            "id": models.wid(known) if known else address,
            "isBusiness": False,
            "canReceiveMessage": known is not None,
            "numberExists": known is not None,
            "status": 200 if known else 404,
        }
    return _success(call, result) if result else call.reply(200, {"status": "success"})


async def host_device(call: Call) -> Response:
    """The paired phone, out of the browser's storage: a zombie answers too."""
    session = call.session
    return _success(call, models.device(session.address, session.urlcode), mapper="device")


async def get_phone_number(call: Call) -> Response:
    """Out of the browser's storage: a zombie answers too."""
    return _success(call, call.session.address, mapper="device")


async def get_battery_level(call: Call) -> Response:
    """Note the capital of `Success`. Out of the browser's storage: a zombie answers too."""
    return call.reply(200, {"status": "Success", "response": BATTERY})


async def list_chats(call: Call) -> Response:
    """A bare list, newest first, which therefore never gets the extra `session` key."""
    session = call.session
    chats = sorted(session.chats.items(), key=lambda item: item[1][-1]["t"], reverse=True)
    rows = [_chat_line(call.world, session, chat, messages) for chat, messages in chats]
    body = call.body
    if body.get("onlyWithUnreadMessage"):
        rows = [row for row in rows if row["unreadCount"]]
    if body.get("onlyGroups") or body.get("onlyUsers"):
        rows = [row for row in rows if row["isGroup"] == bool(body.get("onlyGroups"))]
    after = next((place + 1 for place, row in enumerate(rows) if row["id"]["_serialized"] == body.get("id")), 0)
    count = _parse_count(body.get("count"), len(rows))
    return call.reply(200, rows[after : after + count])


def _chat_line(world: World, session: Session, chat: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    name = session.names.get(chat)
    return models.chat(
        chat, messages[-1]["t"], session.unread.get(chat, 0), name, _contact_of_chat(world, session, chat)
    )


async def get_messages(call: Call) -> Response:
    """The newest `count` of a chat (or those before/after `id`), oldest first, WhatsApp's notices among them.

    A chat that is not there under this very address is a **401** without either of the token's texts.
    """
    query = call.request.query_params
    chat = call.request.path_params["phone"]
    chat = chat if "@" in chat else f"{chat}@c.us"
    filed = _chat_address(call.world, call.session, chat)
    messages = call.session.chats.get(filed or "")
    if messages is None:
        error = {"code": "chat_not_found", "chatId": chat, "level": "error"}
        return call.reply(401, {"status": "error", "response": "Error on open list", "error": error})
    rows = [as_shown(call.session, message, chat) for message in messages]
    count = _parse_count(query.get("count"), DEFAULT_COUNT)
    return _success(call, _select_messages(rows, count, query.get("direction", "before"), query.get("id")))


def _chat_address(world: World, session: Session, asked: str) -> str | None:
    """Under which address the phone has the chat that is asked for; None where this address is the wrong one."""
    if world.faults.options("wrong_address", session.name) is None:
        return asked
    user, _, server = asked.partition("@")
    if server == "c.us":
        return None
    phone = world.phone_of_lid.get(user) if server == "lid" else None
    return f"{phone}@c.us" if phone and f"{phone}@c.us" in session.chats else asked


def _select_messages(
    messages: list[dict[str, Any]], count: int, direction: str, pivot: str | None
) -> list[dict[str, Any]]:
    if pivot is None:
        return messages[-count:] if count else []
    place = next((place for place, message in enumerate(messages) if message["id"] == pivot), None)
    if place is None:
        return []
    if direction == "after":
        return messages[place + 1 : place + 1 + count]
    return messages[max(0, place - count) : place]


def _parse_count(asked: Any, default: int) -> int:
    """`parseInt`, where -1 means all."""
    try:
        count = int(asked)
    except (TypeError, ValueError):
        return default
    return 10**9 if count < 0 else count


async def all_unread_messages(call: Call) -> Response:
    """The messages of every chat that are not marked as read."""
    session = call.session
    unread = [message for chat, count in session.unread.items() for message in _unread_messages(session, chat)[-count:]]
    return _success(call, unread)


def _unread_messages(session: Session, chat: str) -> list[dict[str, Any]]:
    return [
        message for message in session.chats.get(chat, []) if not message["fromMe"] and not message["isNotification"]
    ]


async def message_by_id(call: Call) -> Response:
    """201, and 400 when there is no such message."""
    message = call.session.messages.get(call.request.path_params["message_id"])
    if message is None:
        why = {"code": "msg_not_found", "level": "error"}
        log = {"message": "Error retrieving information", "session": call.session.name, "log": why}
        return call.reply(400, {"status": "Error", "response": log})
    response = {
        "message": "Information retrieved successfully.",
        "contact": phone_of(message["chatId"]["_serialized"]),
        "session": call.session.name,
        "data": as_shown(call.session, message),
    }
    return call.reply(201, {"status": "Success", "response": response})


async def get_media_by_message(call: Call) -> Response:
    """The file of a message as base64."""
    message_id = call.request.path_params["message_id"]
    if not call.session.connected:
        gone = {"name": "TargetCloseError"} if call.session.status == "CONNECTED" else {}
        return _failure(call, "The session is not active", **gone)
    message = call.session.messages.get(message_id)
    if message is None:
        return _failure(call, "The session is not active", code="msg_not_found")
    if message["id"] not in call.session.media:
        return call.reply(400, {"status": "error", "message": "Message does not contain media"})
    encoded, mimetype = call.session.media[message["id"]]
    return call.reply(200, {"base64": encoded, "mimetype": mimetype})


async def all_contacts(call: Call) -> Response:
    """The phone's address book: everybody who has a chat under a phone, by the name that they gave."""
    people = [_contact_of_chat(call.world, call.session, chat) for chat in call.session.chats if chat.endswith("@c.us")]
    return _success(call, people)


async def contact_pn_lid(call: Call) -> Response:
    """A phone's anonymous id, or the phone of an anonymous id; one that nobody knows comes back alone."""
    user, _, domain = call.request.path_params["pn_lid"].partition("@")
    if domain not in ("", "c.us", "lid"):
        return _failure(call, "Error on get contact by PN-LID", code="invalid_wid_for_get_pn_lid_entry")
    phone = call.world.phone_of_lid.get(user) if domain == "lid" else phone_of(user)
    lid = user if domain == "lid" else call.world.lid_of(user)
    entry: dict[str, Any] = {"lid": _pn_lid(f"{lid}@lid")}
    if phone is None:
        return call.reply(200, entry)
    entry["phoneNumber"] = _pn_lid(f"{phone}@c.us")
    contact = _contact_of_chat(call.world, call.session, f"{phone}@c.us")
    if contact["isMyContact"]:
        entry["contact"] = {key: contact[key] for key in ("name", "shortName", "pushname", "type", "isBusiness")}
    return call.reply(200, entry)


def _pn_lid(address: str) -> dict[str, str]:
    user, _, server = address.partition("@")
    return {"id": user, "server": server, "_serialized": address}


async def blocklist(call: Call) -> Response:
    """Hangs until the client gives up: an internal error that the real server never answers."""
    return DroppedConnection(hang=call.world.config.seconds(call.world.config.hang))


def _contact_of_chat(world: World, session: Session, chat: str) -> dict[str, Any]:
    phone = world.phone_of_lid.get(chat.split("@")[0]) if chat.endswith("@lid") else None
    return models.contact(chat, session.names.get(chat), phone)


ROUTES = [
    Route("/api/{session}/check-number-status/{phone}", connected(check_number_status), methods=["GET"]),
    Route("/api/{session}/host-device", connected(host_device), methods=["GET"]),
    Route("/api/{session}/get-phone-number", connected(get_phone_number), methods=["GET"]),
    Route("/api/{session}/get-battery-level", connected(get_battery_level), methods=["GET"]),
    Route("/api/{session}/list-chats", connected(list_chats), methods=["POST"]),
    Route("/api/{session}/get-messages/{phone}", connected(get_messages), methods=["GET"]),
    Route("/api/{session}/all-unread-messages", connected(all_unread_messages), methods=["GET"]),
    Route("/api/{session}/message-by-id/{message_id}", connected(message_by_id), methods=["GET"]),
    Route("/api/{session}/get-media-by-message/{message_id}", authenticated(get_media_by_message), methods=["GET"]),
    Route("/api/{session}/all-contacts", connected(all_contacts), methods=["GET"]),
    Route("/api/{session}/contact/pn-lid/{pn_lid}", connected(contact_pn_lid), methods=["GET"]),
    Route("/api/{session}/blocklist", connected(blocklist), methods=["GET"]),
]
