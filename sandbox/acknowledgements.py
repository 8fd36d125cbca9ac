"""Acks of sent messages: when they come, and the `onack` webhook."""

import asyncio
from collections.abc import Mapping
from typing import Any

from sandbox import models
from sandbox.messages import as_shown
from sandbox.state import Session, World, phone_of
from sandbox.webhooks import emit, post_raw

ACK_ERROR = -1
ACK_SENT = 1
# The receiver is given this long to take ack 1 before the send is answered: as long as WhatsApp's own way back.
ACK_AHEAD_SECONDS = 0.5
KINDS_ACKED_LATE = ("location", "vcard")


async def start_acks(world: World, session: Session, message: dict[str, Any]) -> None:
    """The server answers a send once WhatsApp has acknowledged it, but those of places and cards at once."""
    delays = world.config.ack_delays
    late = message["type"] in KINDS_ACKED_LATE or world.faults.strike("ack_after_reply", session.name) is not None
    first = ACK_SENT
    if delays and not late:
        await world.sleep(delays[0])
        delivery = acknowledge(world, session, message, first)
        sure = world.faults.strike("ack_before_reply", session.name) is not None
        if delivery is not None and (sure or not _is_delayed(world, session)):
            await asyncio.wait({delivery}, timeout=None if sure else ACK_AHEAD_SECONDS)
        first += 1
    world.spawn(_post_acks(world, session, message, first))


async def refuse(world: World, session: Session, message: dict[str, Any]) -> None:
    """WhatsApp takes the message back from the server's hands: the ack of an error."""
    await world.sleep(world.config.ack_delays[0] if world.config.ack_delays else 0)
    emit(world, session, "onack", ack_event(world, session, message, ACK_ERROR))


def _is_delayed(world: World, session: Session) -> bool:
    return any(world.faults.options(name, session.name) is not None for name in ("webhook_late", "webhook_disorder"))


async def _post_acks(world: World, session: Session, message: dict[str, Any], first: int) -> None:
    posted = None
    for ack, delay in enumerate(world.config.ack_delays, start=ACK_SENT):
        if ack >= first:
            await world.sleep(delay)
            posted = acknowledge(world, session, message, ack)
    if world.faults.strike("ack_backwards", session.name) is not None:
        # Two deliveries at once could come in either order.
        if posted is not None:
            await posted
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
    found = as_shown(session, message, chat)
    if message.get("mimetype") and world.faults.options("acks_without_files", session.name) is not None:
        found["body"] = ""
    return models.ack_model(found, ack)


async def push_ack(world: World, session: Session, message_id: str, ack: int) -> int:
    """Post an ack of any value for any id, past every fault. Answers the receiver's status code."""
    known = session.messages.get(message_id)
    if known is not None:
        known["ack"] = max(int(known["ack"]), ack)
    data = ack_event(world, session, known, ack) if known else {"id": models.message_key(message_id), "ack": ack}
    return await post_raw(world, session, {"event": "onack", "session": session.name, **data})
