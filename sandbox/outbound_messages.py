"""Messages that a session sends, and the ways in which sending fails."""

import time
from typing import Any

from sandbox.acknowledgements import refuse, start_acks
from sandbox.messages import Content, SendRefused, as_shown, file_message, new_message
from sandbox.pairing import unlink_on_phone
from sandbox.state import Session, World


async def send_message(world: World, session: Session, to: str, content: Content) -> dict[str, Any]:
    """Try to send; answers the message as the server would. `World.sendings` says what became of it.

    In a zombie it hangs, and leaves when WhatsApp is in reach again, unless its browser has ended before. Raises
    SendRefused for what the server answers 500 to before anything left.
    """
    if _chat_is_missing(world, session, to):
        world.record(session, new_message(session, content, to, from_me=True), "nobody")
        raise SendRefused("chat_not_found")
    message = new_message(session, content, to, from_me=True)
    outcome = _outcome(world, session, to)
    world.record(session, message, outcome)
    if outcome == "zombie":
        world.spawn(_send_when_revived(world, session, content, message))
        return as_shown(session, message)
    if outcome == "restricted":
        raise SendRefused("463")
    if outcome not in ("no_such_number", "failed"):
        if message.get("size") and content.mimetype:
            session.keep_media(str(message["id"]), content.base64, content.mimetype)
        file_message(world, session, message)
    if outcome == "refused":
        world.spawn(refuse(world, session, message))
    if outcome == "sent":
        await start_acks(world, session, message)
        _count_for_ban(world, session)
    return as_shown(session, message)


def _chat_is_missing(world: World, session: Session, to: str) -> bool:
    return to.endswith("@lid") and to.split("@")[0] not in world.phone_of_lid and to not in session.chats


async def _send_when_revived(world: World, session: Session, content: Content, message: dict[str, Any]) -> None:
    if await world.revived(session):
        world.record(session, message, "sent")
        if message.get("size") and content.mimetype:
            session.keep_media(str(message["id"]), content.base64, content.mimetype)
        file_message(world, session, message)
        await start_acks(world, session, message)


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
    restriction = None if _knows(session, to) else world.faults.strike("refuses_strangers", session.name)
    if restriction is not None:
        return "restricted" if restriction["error"] else "refused"
    return "never_sent" if world.faults.strike("accepted_but_never_sent", session.name) is not None else "sent"


def _knows(session: Session, to: str) -> bool:
    """Whether whoever is at `to` ever wrote to the session, or it is a group."""
    return to.endswith("@g.us") or any(not message["fromMe"] for message in session.chats.get(to, []))


def _count_for_ban(world: World, session: Session) -> None:
    ban = world.faults.options("banned", session.name)
    if ban is None:
        return
    now = time.monotonic()
    session.recent_sends.append(now)
    while session.recent_sends[0] < now - world.config.seconds(float(ban["window"])):
        session.recent_sends.popleft()
    if len(session.recent_sends) > int(ban["limit"]):
        unlink_on_phone(world, session)
