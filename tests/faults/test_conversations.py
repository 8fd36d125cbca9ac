"""A history posted while receiver, worker and database are killed makes exactly the conversations that it should."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import connected
from tests.faults.test_kill import WEBHOOK, Stage
from tests.faults.test_kill import stage as stage
from tests.support import conversation_history
from tests.support.installation import SHARED_TOKEN, wait_for

pytestmark = pytest.mark.faults

SOAK = bool(os.environ.get("PLUSHIFY_SOAK"))
EVENTS = 10_000 if SOAK else 1_200
POSTERS = 4
SEED = 20_261_125


def test_it_makes_the_conversations_that_it_should_whatever_is_killed(stage: Stage) -> None:
    user = stage.new_user()
    connected(stage.database, user)
    told, chance = conversation_history.make_history(SEED, EVENTS), random.Random(SEED)
    waiting = iter([{**event, "session": f"user_{user.user_id}"} for event in told.events])
    lock = threading.Lock()

    def post() -> None:
        with httpx.Client(base_url=stage.processes.webhook_url, headers={"x-verify": SHARED_TOKEN}, timeout=40) as http:
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
                lambda: stage.processes.restart("webhook"),
                lambda: stage.processes.restart("worker"),
                stage.kill_postgres,
            )[kills % 3]()
            kills += 1
            time.sleep(chance.uniform(0, 0.5))
        for one in posting:
            one.result()
    stage.processes.restart("worker")
    left = "select count(*) from events where verdict = 'received'"
    wait_for(lambda: stage.database.one(left) == 0, 300, "everything to be handled")
    assert stage.database.one("select count(*) from events where verdict = 'failed'") == 0
    files = "select count(*) from messages where fetch_at is not null"
    wait_for(lambda: stage.database.one(files) == 0, 90, "every file to be put aside")
    conversation_history.assert_recorded(stage.database, told)


def _until_taken(http: httpx.Client, event: dict[str, Any]) -> None:
    """What was not answered was not delivered: this sender, unlike the real one, tries again."""
    while True:
        try:
            if http.post(WEBHOOK, json=event).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
