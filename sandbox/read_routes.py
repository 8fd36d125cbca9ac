"""The calls that read: numbers, chats, messages, media, contacts, the device."""

import time
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from sandbox.calls import Call, authenticated, connected, to_addresses
from sandbox.express import Dropped
from sandbox.state import Session, phone_of

BATTERY = 77
DEFAULT_COUNT = 20


def _success(call: Call, response: Any, **extra: Any) -> Response:
    return call.reply(200, {"status": "success", "response": response, **extra})


def _failure(call: Call, message: str) -> Response:
    return call.reply(500, {"status": "error", "message": message, "error": {}})


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
                return Dropped(hang=world.config.seconds(world.config.hang))
            session.answered[digits] = time.monotonic()
        known = call.world.whatsapp_address(call.session, address)
        result = {
            "id": _wid(known or address),
            "numberExists": known is not None,
            "canReceiveMessage": known is not None,
        }
    return _success(call, result) if result else call.reply(200, {"status": "success"})


async def host_device(call: Call) -> Response:
    """The paired phone, out of the browser's storage: a zombie answers too."""
    session = call.session
    device = {"id": _wid(session.address), "ref": session.urlcode, "pushname": "Plushify Teste", "platform": "android"}
    return _success(call, {**device, "phoneNumber": session.address}, mapper="device")


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
    rows = [_chat(session, chat, messages) for chat, messages in chats]
    body = call.body
    if body.get("onlyWithUnreadMessage"):
        rows = [row for row in rows if row["unreadCount"]]
    if body.get("onlyGroups") or body.get("onlyUsers"):
        rows = [row for row in rows if row["isGroup"] == bool(body.get("onlyGroups"))]
    after = next((place + 1 for place, row in enumerate(rows) if row["id"]["_serialized"] == body.get("id")), 0)
    count = _count(body.get("count"), len(rows))
    return call.reply(200, rows[after : after + count])


def _chat(session: Session, chat: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _wid(chat),
        "t": messages[-1]["t"],
        "unreadCount": session.unread.get(chat, 0),
        "archive": False,
        "isGroup": chat.endswith("@g.us"),
        "contact": _contact(session, chat),
    }


async def get_messages(call: Call) -> Response:
    """The newest `count` of a chat (or those before/after `id`), oldest first.

    A chat that does not exist is a **401** without either of the token's texts: so says the server's source.
    """
    query = call.request.query_params
    chat = call.request.path_params["phone"]
    chat = chat if "@" in chat else f"{chat}@c.us"
    messages = call.session.chats.get(chat)
    if messages is None:
        return call.reply(401, {"status": "error", "response": "Error on open list", "error": {}})
    count = _count(query.get("count"), DEFAULT_COUNT)
    return _success(call, _window(messages, count, query.get("direction", "before"), query.get("id")))


def _window(messages: list[dict[str, Any]], count: int, direction: str, pivot: str | None) -> list[dict[str, Any]]:
    place = next((place for place, message in enumerate(messages) if message["id"] == pivot), None)
    if place is None:
        return messages[-count:] if count else []
    if direction == "after":
        return messages[place + 1 : place + 1 + count]
    return messages[max(0, place - count) : place]


def _count(asked: Any, default: int) -> int:
    """`parseInt`, where -1 means all."""
    try:
        count = int(asked)
    except (TypeError, ValueError):
        return default
    return 10**9 if count < 0 else count


async def all_unread_messages(call: Call) -> Response:
    """The messages of every chat that are not marked as read."""
    session = call.session
    unread = [message for chat, count in session.unread.items() for message in _inbound(session, chat)[-count:]]
    return _success(call, unread)


def _inbound(session: Session, chat: str) -> list[dict[str, Any]]:
    return [message for message in session.chats.get(chat, []) if not message["fromMe"]]


async def message_by_id(call: Call) -> Response:
    """201, and 400 when there is no such message."""
    message = call.session.messages.get(call.request.path_params["message_id"])
    if message is None:
        log = {"message": "Error retrieving information", "session": call.session.name, "log": {}}
        return call.reply(400, {"status": "Error", "response": log})
    response = {
        "message": "Information retrieved successfully.",
        "contact": phone_of(message["chatId"]),
        "session": call.session.name,
        "data": message,
    }
    return call.reply(201, {"status": "Success", "response": response})


async def get_media_by_message(call: Call) -> Response:
    """The file of a message as base64."""
    message_id = call.request.path_params["message_id"]
    if not call.session.connected:
        return _failure(call, "The session is not active")
    if message_id not in call.session.messages:
        return call.reply(400, {"status": "error", "message": "Message not found"})
    if message_id not in call.session.media:
        return call.reply(400, {"status": "error", "message": "Message does not contain media"})
    encoded, mimetype = call.session.media[message_id]
    return call.reply(200, {"base64": encoded, "mimetype": mimetype})


async def all_contacts(call: Call) -> Response:
    """Everybody who has a chat."""
    return _success(call, [_contact(call.session, chat) for chat in call.session.chats if not chat.endswith("@g.us")])


async def contact_pn_lid(call: Call) -> Response:
    """A phone's anonymous id, or the phone of an anonymous id."""
    asked = call.request.path_params["pn_lid"]
    user, _, domain = asked.partition("@")
    phone = call.world.phone_of_lid.get(user) if domain == "lid" else phone_of(user)
    if not phone:
        return _failure(call, "Error on get contact by PN-LID")
    lid = user if domain == "lid" else call.world.lid_of(phone)
    contact = _contact(call.session, f"{phone}@c.us")
    entry = {"lid": _wid(f"{lid}@lid"), "phoneNumber": _wid(f"{phone}@c.us"), "contact": contact}
    return call.reply(200, entry)


async def blocklist(call: Call) -> Response:
    """Hangs until the client gives up: an internal error that the real server never answers."""
    return Dropped(hang=call.world.config.seconds(call.world.config.hang))


def _wid(address: str) -> dict[str, str]:
    user, _, server = address.partition("@")
    return {"server": server, "user": user, "_serialized": address}


def _contact(session: Session, chat: str) -> dict[str, Any]:
    name = session.names.get(chat, phone_of(chat))
    return {"id": _wid(chat), "name": name, "pushname": name, "shortName": name.split(" ")[0], "isMyContact": True}


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
    Route("/api/{session}/contact/pn-lid/{pn_lid}", authenticated(contact_pn_lid), methods=["GET"]),
    Route("/api/{session}/blocklist", connected(blocklist), methods=["GET"]),
]
