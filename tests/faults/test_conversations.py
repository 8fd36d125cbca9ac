"""A history posted while receiver, worker and database are killed makes exactly the conversations that it should."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support import conversation_history
from tests.support.event_sender import WEBHOOK
from tests.support.killable_installation import KillableInstallation
from tests.support.processes import SHARED_TOKEN
from tests.support.sessions import connected
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SOAK = bool(os.environ.get("PLUSHIFY_SOAK"))
EVENTS = 10_000 if SOAK else 1_200
POSTERS = 4
SEED = 20_261_125


def test_it_makes_the_conversations_that_it_should_whatever_is_killed(installation: KillableInstallation) -> None:
    user = installation.new_user()
    connected(installation.database, user)
    told, chance = conversation_history.make_history(SEED, EVENTS), random.Random(SEED)
    waiting = iter([{**event, "session": f"user_{user.user_id}"} for event in told.events])
    lock = threading.Lock()

    def post() -> None:
        with httpx.Client(
            base_url=installation.processes.webhook_url, headers={"x-verify": SHARED_TOKEN}, timeout=40
        ) as http:
            while True:
                with lock:
                    event = next(waiting, None)
                if event is None:
                    return
                _until_taken(http, event)

    with ThreadPoolExecutor(POSTERS) as pool:
        posting = [pool.submit(post) for _ in range(POSTERS)]
        kills = 0
        while not all(one.done() for one in posting) or kills < 3:
            (
                lambda: installation.processes.restart("webhook"),
                lambda: installation.processes.restart("worker"),
                installation.kill_postgres,
            )[kills % 3]()
            kills += 1
            time.sleep(chance.uniform(0, 0.5))
        for one in posting:
            one.result()
    installation.processes.restart("worker")
    left = "select count(*) from events where verdict = 'received'"
    wait_for(lambda: installation.database.one(left) == 0, 300, "everything to be handled")
    assert installation.database.one("select count(*) from events where verdict = 'failed'") == 0
    files = "select count(*) from messages where fetch_at is not null"
    wait_for(lambda: installation.database.one(files) == 0, 90, "every file to be put aside")
    conversation_history.assert_recorded(installation.database, told)


def _until_taken(http: httpx.Client, event: dict[str, Any]) -> None:
    """What was not answered was not delivered: this sender, unlike the real one, tries again."""
    while True:
        try:
            if http.post(WEBHOOK, json=event).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
