"""Sends webhooks as wppconnect-server 2.10.4 does with axios: one try, no queue, no order, no delivery id."""

import asyncio
import base64
import json
import random
import ssl
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from sandbox.state import Browser, Session, World

USER_AGENT = "axios/1.21.0"
ANSWER_TIMEOUT_SECONDS = 30.0
# An answer longer than this is not read to its end: only its status counts.
ANSWER_BYTES = 64 * 1024


async def _post_to_url(world: World, url: str, payload: dict[str, Any]) -> int:
    """The receiver's status code, or 0 when it could not be reached or gave no answer."""
    try:
        async with world.connections, asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            return await _post_raw_body(url, payload)
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0


async def _post_raw_body(url: str, payload: dict[str, Any]) -> int:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=ssl.create_default_context() if secure else None
    )
    try:
        writer.write(_post_request(url, json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()))
        await writer.drain()
        status_line = await reader.readline()
        await reader.read(ANSWER_BYTES)
        return int(status_line.split()[1])
    finally:
        writer.close()


def _post_request(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        "Accept: application/json, text/plain, */*",
        "Content-Type: application/json",
        f"User-Agent: {USER_AGENT}",
        f"Content-Length: {len(body)}",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Connection: close",
    ]
    if parts.username is not None:
        # The user info of the URL, the one way to authenticate that the stock server has.
        credentials = f"{parts.username}:{parts.password or ''}".encode()
        lines.append(f"Authorization: Basic {base64.b64encode(credentials).decode()}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


# What the server and the browser say themselves, also while WhatsApp is out of reach.
SERVER_EVENTS = frozenset({"status-find", "qrcode", "phoneCode", "closesession", "logoutsession"})


def emit(
    world: World, session: Session, event: str, data: dict[str, Any], browser: Browser | None = None
) -> "asyncio.Task[None] | None":
    """Post one event of a session, through whatever faults are on. The task ends when the receiver has answered.

    What a `browser` says goes to the webhook of the start that opened it. The payload is merged over `event` and
    `session`, so that a key of the same name wins (`Object.assign`).
    """
    name = session.name
    unheard = world.dead(session) and event not in SERVER_EVENTS
    if unheard or world.faults.options("silent", name) is not None:
        return None
    if world.faults.strike_event("webhook_lost", name, event) is not None:
        world.posts.append({"session": name, "event": event, "status": 0, "lost": True, "at": time.time()})
        return None
    payload = {"event": event, "session": name, **data}
    nameless = browser is not None and not browser.named
    if nameless or world.faults.strike("no_session_in_event", name) is not None:
        payload.pop("session", None)
    copies = 2 if world.faults.strike_event("webhook_duplicate", name, event) is not None else 1
    config = browser.config if browser is not None else session.config
    return world.spawn(_deliver(world, session, payload, config, copies, _delay_of_fault(world, name, event)))


async def emit_in_order(
    world: World, session: Session, events: Iterable[tuple[str, dict[str, Any]]], browser: Browser | None = None
) -> None:
    """Post events one after the other, each once the one before was answered; unordered while that fault is on."""
    for event, data in events:
        task = emit(world, session, event, data, browser)
        if task is not None and world.faults.options("webhook_disorder", session.name) is None:
            await task


def _delay_of_fault(world: World, name: str, event: str) -> float:
    late = world.faults.strike_event("webhook_late", name, event)
    disorder = world.faults.strike_event("webhook_disorder", name, event)
    delay = float(late["delay"]) if late is not None else 0.0
    if disorder is not None:
        delay += random.uniform(0, float(disorder["delay"]))
    return delay


async def _deliver(
    world: World, session: Session, payload: dict[str, Any], config: dict[str, Any], copies: int, delay: float
) -> None:
    if delay:
        await world.sleep(delay)
    await asyncio.gather(*(_deliver_once(world, session, payload, config) for _ in range(copies)))


async def _deliver_once(world: World, session: Session, payload: dict[str, Any], config: dict[str, Any]) -> None:
    status = await _post_to_config(world, session, payload, config)
    if 200 <= status < 300 and payload["event"] in ("onmessage", "unreadmessages"):
        # The real server marks the chat as read once the receiver has taken the message.
        session.unread.pop(str(payload.get("from")), None)


async def post_raw(world: World, session: Session, payload: dict[str, Any]) -> int:
    """Post exactly `payload`, past every fault. 0 without a webhook URL or without an answer."""
    return await _post_to_config(world, session, payload, session.config)


async def _post_to_config(world: World, session: Session, payload: dict[str, Any], config: dict[str, Any]) -> int:
    url = config.get("webhook")
    status = await _post_to_url(world, url, payload) if isinstance(url, str) and url else 0
    world.posts.append(
        {"session": session.name, "event": payload.get("event"), "status": status, "lost": False, "at": time.time()}
    )
    return status
