"""Publish and subscribe inside one process: one LISTEN connection notifies every subscriber whose rows changed.

A notification only says that something changed; the subscriber then reads the rows. So a notification that is lost,
doubled or late costs one more read and never shows anything wrong.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from services import settings
from services.db.notify import Listener

CHANNEL = "live"
# What changes for one person only.
USER_TOPICS = ("session", "message", "report", "campaign", "schedule", "webhook")


@dataclass(eq=False)
class Subscriber:
    """One that waits. `wakes` counts what it heard of; several between two looks are one."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    wakes: int = 0

    def wake(self) -> None:
        self.wakes += 1
        self.changed.set()


class Hub:
    """The subscribers of this process by the topic that they listen to: `<what>:<user>` for what is one person's (OWN),
    `fleet`, and for staff `cleanup:` and `report:` (everybody's).

    Everything happens in the event loop, but for `hear` and `catch_up`, which the listener's thread calls.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._by_topic: defaultdict[str, set[Subscriber]] = defaultdict(set)

    @contextlib.contextmanager
    def subscription(self, topic: str) -> Iterator[Subscriber]:
        """A subscriber that hears of `topic` inside the block, and once at its start."""
        subscriber = Subscriber()
        subscriber.wake()
        self._by_topic[topic].add(subscriber)
        try:
            yield subscriber
        finally:
            self._by_topic[topic].discard(subscriber)
            if not self._by_topic[topic]:
                del self._by_topic[topic]

    def listeners(self, topic: str) -> int:
        """How many wait for `topic` now."""
        return len(self._by_topic.get(topic, ()))

    def hear(self, payload: str) -> None:
        """One notification: `<what>:<user id>`."""
        self._loop.call_soon_threadsafe(self._wake, payload)

    def catch_up(self) -> None:
        """The listener was away: everybody looks again."""
        self._loop.call_soon_threadsafe(self._wake_all)

    def _wake(self, payload: str) -> None:
        what, _, who = payload.partition(":")
        for topic in _topics_of(what, who):
            for subscriber in self._by_topic.get(topic, ()):
                subscriber.wake()

    def _wake_all(self) -> None:
        for subscribers in self._by_topic.values():
            for subscriber in subscribers:
                subscriber.wake()


def _topics_of(what: str, who: str) -> tuple[str, ...]:
    """The topics that one notification wakes."""
    if what == "session":
        return (f"session:{who}", "fleet")
    if what == "account":
        # Shut out or changed: every tab of theirs draws anew, and its guard sees to it.
        return (*(f"{own}:{who}" for own in USER_TOPICS), "fleet", "cleanup:", "report:")
    if what == "message":
        return (f"message:{who}", f"campaign:{who}")
    return (f"{what}:{who}",)


@contextlib.asynccontextmanager
async def open_hub() -> AsyncIterator[Hub]:
    """This process's hub with its one listener, for the block. The database may still be away."""
    hub = Hub(asyncio.get_running_loop())
    url = settings.get().database.console_url.get_secret_value()
    listener = Listener(url, (CHANNEL,), lambda _channel, payload: hub.hear(payload), hub.catch_up).start()
    try:
        yield hub
    finally:
        await asyncio.to_thread(listener.stop)
