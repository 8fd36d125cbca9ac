"""A WPPConnect server that goes on posting events whatever happens to who receives them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from tests.support.killable_installation import KillableInstallation
from tests.support.processes import SHARED_TOKEN
from tests.support.sessions import connected
from tests.support.waiting import wait_for

WEBHOOK = "/functions/v1/whatsapp-qr-webhook"
POSTERS = 4


@dataclass
class EventSender:
    """Posts events from several threads, each once, as a WPPConnect server does; remembers which were answered 200."""

    url: str
    session: str
    total: int | None = None
    answered: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> "EventSender":
        self._threads = [threading.Thread(target=self._post) for _ in range(POSTERS)]
        for thread in self._threads:
            thread.start()
        return self

    def wait_for_more_than(self, answered: int) -> None:
        wait_for(lambda: len(self.answered) > answered, 30, "events to be answered")

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def _post(self) -> None:
        left = self.total // POSTERS if self.total else None
        with httpx.Client(base_url=self.url, headers={"x-verify": SHARED_TOKEN}, timeout=40) as http:
            while not self._stopped.is_set() and left != 0:
                message_id = f"false_5511999999999@c.us_{uuid4().hex}"
                # Only what was answered counts: a slow restart must not use up what was to be posted.
                if self._post_one(http, message_id) and left:
                    left -= 1

    def _post_one(self, http: httpx.Client, message_id: str) -> bool:
        body = {"event": "onmessage", "session": self.session, "id": message_id, "body": "oi", "type": "chat",
                "t": 1760000000, "from": "5511999999999@c.us", "to": "5511988887777@c.us", "fromMe": False}  # fmt: skip
        try:
            answer = http.post(WEBHOOK, json=body)
        except httpx.HTTPError as error:
            self.refused[type(error).__name__] += 1
            time.sleep(0.02)  # a server that is down answers at once: do not spin
            return False
        if answer.status_code == 200:
            self.answered.append(message_id)
        else:
            self.refused[str(answer.status_code)] += 1
        return answer.status_code == 200


@contextmanager
def posting_events(installation: KillableInstallation, total: int | None = None) -> Iterator[EventSender]:
    """Events arrive while the block runs, `total` of them or for as long as it takes."""
    user = installation.new_user()
    connected(installation.database, user)
    sender = EventSender(installation.processes.webhook_url, f"user_{user.user_id}", total).start()
    try:
        yield sender
        sender.join() if total else sender.stop()
    finally:
        sender.stop()
