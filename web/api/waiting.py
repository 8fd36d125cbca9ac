"""Waiting for an outcome inside a request, as long as `Prefer` (RFC 7240) or the setting allows."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from services import settings
from services.platform.pubsub import Hub
from web.api.operation import Call

# A lost notification must not cost a caller the whole wait.
REREAD_SECONDS = 1.0

Value = TypeVar("Value")


def get_wait_seconds(call: Call) -> float:
    """How long this call waits, in seconds: RFC 7240's `Prefer: wait=…` or `respond-async`, else the setting."""
    longest = settings.get().api.wait_seconds
    for preference in call.request.headers.get("prefer", "").lower().split(","):
        name, _, value = preference.strip().partition("=")
        if name == "respond-async":
            return 0.0
        if name == "wait" and value.isdigit():
            return min(float(value[:6]), longest)
    return longest


async def wait_until(
    hub: Hub,
    topic: str,
    read: Callable[[], Value],
    enough: Callable[[Value], bool],
    seconds: float,
    first: Value | None = None,
) -> Value:
    """What `read` finds once it is `enough`, or after `seconds`. `first` is what is known already."""
    deadline = asyncio.get_running_loop().time() + seconds
    with hub.subscription(topic) as subscriber:
        subscriber.changed.clear()
        found = first if first is not None and seconds <= 0 else await run_in_threadpool(read)
        while not enough(found) and (left := deadline - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(subscriber.changed.wait(), min(left, REREAD_SECONDS))
            subscriber.changed.clear()
            found = await run_in_threadpool(read)
    return found


PREFER_HEADER = {"Prefer": "`wait=<seconds>` or `respond-async` (RFC 7240): how long to wait for the outcome."}
