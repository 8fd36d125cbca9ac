"""kill -9 of the real processes in the middle of work: no answered event is lost, and nothing is sent twice."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from services.db.actor import SYSTEM
from services.fleet import commands
from services.messaging import outbox as messaging_outbox
from services.messaging.state import State
from services.operations import retention
from services.operations.retention import ExpiredKind, Run
from tests.support.event_sender import posting_events
from tests.support.killable_installation import KillableInstallation, pair_people, queue_despite_outages
from tests.support.losses import (
    LEFT,
    assert_no_answered_event_is_lost,
    assert_nothing_was_sent_twice_or_lost,
    outbox,
    wait_until_handled,
    wait_until_settled,
)
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

# `make soak` kills for minutes; the suite only long enough to hit each process a few times.
SOAK_SECONDS = 240.0 if os.environ.get("PLUSHIFY_SOAK") else 8.0
KILLS, KILLED_SENDS = (50, 1000) if os.environ.get("PLUSHIFY_SOAK") else (6, 160)
ROOT = Path(__file__).parents[2]


# --- one process after the other --------------------------------------------------------------------------------------


def test_it_loses_no_answered_event_when_the_receiver_is_killed(installation: KillableInstallation) -> None:
    with posting_events(installation, total=3000) as sender:
        for answered in (500, 1200, 2000):
            sender.wait_for_more_than(answered)
            installation.processes.restart("webhook")
    assert sender.refused, "nobody noticed a kill: it did not happen in the middle of work"
    assert len(sender.answered) > 2500
    assert_no_answered_event_is_lost(installation, sender)
    wait_until_handled(installation)


def test_it_sends_nothing_twice_when_the_worker_is_killed(installation: KillableInstallation) -> None:
    people = pair_people(installation, 4)
    hanging, gone = people[0], people[1]
    # Two calls that hang when the worker dies: one message has left, the other has not, and nobody can tell.
    installation.processes.control.fault("send_timeout", f"user_{hanging.user_id}", times=1)
    installation.processes.control.fault("send_timeout", f"user_{gone.user_id}", times=1, delivered=False)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(25) for actor in people]
    for body, actor in zip(queued, people * 25, strict=True):
        queue_despite_outages(actor, body)

    def has_left_the_queue(wanted: int) -> bool:
        return sum(state is not State.QUEUED for state in outbox(installation).values()) >= wanted

    for wanted in (10, 40, 60):
        wait_for(partial(has_left_the_queue, wanted), what="messages to be sent")
        installation.processes.restart("worker")
    wait_until_settled(installation)
    first = {actor: next(body for body in queued if str(actor.user_id) in body) for actor in (hanging, gone)}
    wait_for(lambda: outbox(installation)[first[hanging]] in LEFT, 20, "the message that left to be found in its chat")
    assert outbox(installation)[first[gone]] is State.UNCERTAIN
    assert_nothing_was_sent_twice_or_lost(installation, queued)
    assert len(installation.processes.control.sent()) >= 90


@pytest.mark.slow
def test_it_sends_nothing_twice_however_often_the_worker_is_killed(installation: KillableInstallation) -> None:
    """kill -9 at random moments during many sends: `make soak` 50 times during 1,000, the suite a few."""
    chance = random.Random()
    people = pair_people(installation, 8)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(KILLED_SENDS // 8) for actor in people]
    installation.processes.stop("worker")  # it sends faster than this process queues
    for body, actor in zip(queued, people * (KILLED_SENDS // 8), strict=True):
        queue_despite_outages(actor, body)
    installation.processes.start("worker")
    kills = 0
    while kills < KILLS and any(state is State.QUEUED for state in outbox(installation).values()):
        before = len(installation.processes.control.sent())
        moment = before + chance.randrange(1, 2 * KILLED_SENDS // KILLS)
        wait_for(partial(_sent_or_done, installation, moment), 30, "more to leave")
        threading.Event().wait(chance.uniform(0, 0.02))  # any moment of a delivery, not only the one after its call
        installation.processes.kill("worker")
        kills += 1
        # What the dead one held is the next one's at once: the lease is not what is tried here.
        installation.database.execute("update lanes set available_at = least(available_at, now())")
        installation.processes.start("worker")
    wait_until_settled(installation, 90)
    assert kills >= KILLS // 2, "the sends were over before they could be interrupted"
    assert_nothing_was_sent_twice_or_lost(installation, queued)
    # None is missing that is not listed as uncertain or failed.
    states = outbox(installation)
    left = {one["body"] for one in installation.processes.control.sent()}
    missing = set(queued) - left
    assert {states[body] for body in missing} <= {State.UNCERTAIN, State.FAILED}
    assert len(missing) <= kills * 10, "no more can have been under way at the kills"


def _sent_or_done(installation: KillableInstallation, moment: int) -> bool:
    waiting = installation.database.one("select count(*) from messages where state = 'queued'")
    return len(installation.processes.control.sent()) >= moment or waiting == 0


@pytest.mark.slow
def test_two_workers_share_the_lanes_and_serve_each_in_order(installation: KillableInstallation) -> None:
    people = pair_people(installation, 6)
    with running_second_worker(installation):
        queued = [f"{number}" for number in range(20)]
        for body in queued:
            for actor in people:
                messaging_outbox.queue(actor, "11987654321", body, body)
        wait_for(lambda: _open(installation) == 0, 40, "every message in an end state")
    for actor in people:
        assert [one["body"] for one in installation.processes.control.sent(f"user_{actor.user_id}")] == queued
    # Both took part: each logs the deliveries that were its own.
    delivered = [
        installation.processes.log("worker").count('"delivered"'),
        _second_said(installation).count('"delivered"'),
    ]
    assert min(delivered) > 0, delivered


def _open(installation: KillableInstallation) -> int:
    count: int = installation.database.one("select count(*) from messages where state in ('queued', 'sending')")
    return count


@contextmanager
def running_second_worker(installation: KillableInstallation) -> Iterator[None]:
    """Another worker on the same database, as on another machine."""
    with _second_log(installation).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "worker.py"], cwd=ROOT, env=installation.processes.environment, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: '"worker_started"' in _second_said(installation), 30, "the second worker")
        yield
    finally:
        process.terminate()
        process.wait(20)


def _second_log(installation: KillableInstallation) -> Path:
    return installation.processes.folder / "worker-2.log"


def _second_said(installation: KillableInstallation) -> str:
    return _second_log(installation).read_text(errors="replace")


def test_it_loses_nothing_when_postgresql_is_killed(installation: KillableInstallation) -> None:
    people = pair_people(installation, 4)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(25) for actor in people]
    with posting_events(installation) as sender:
        for number, (body, actor) in enumerate(zip(queued, people * 25, strict=True)):
            if number in (30, 70):
                installation.kill_postgres()
            queue_despite_outages(actor, body)
        sender.wait_for_more_than(len(sender.answered) + 200)
    assert len(sender.answered) > 500
    assert_no_answered_event_is_lost(installation, sender)
    wait_until_handled(installation)
    wait_until_settled(installation)
    assert_nothing_was_sent_twice_or_lost(installation, queued)


def test_it_sends_a_whole_lane_without_waiting_for_the_clock(installation: KillableInstallation) -> None:
    """The lane that has just become free is served at once; only the pace, off here, may hold it."""
    (actor,) = pair_people(installation, 1)
    began = time.monotonic()
    for number in range(30):
        queue_despite_outages(actor, f"mensagem {number}")
    wait_until_settled(installation)
    assert time.monotonic() - began < 10
    assert [one["body"] for one in installation.processes.control.sent()] == [
        f"mensagem {number}" for number in range(30)
    ]


# --- all of them, at random -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_survives_kills_at_random(installation: KillableInstallation) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    people = pair_people(installation, 4)
    queued: list[str] = []
    kills: Counter[str] = Counter()
    victims: dict[str, Callable[[], None]] = {
        "webhook": lambda: installation.processes.restart("webhook"),
        "worker": lambda: installation.processes.restart("worker"),
        "postgres": installation.kill_postgres,
    }
    end = time.monotonic() + SOAK_SECONDS
    with posting_events(installation) as sender:
        while time.monotonic() < end or set(kills) != set(victims):
            for actor in chance.choices(people, k=chance.randrange(1, 12)):
                queued.append(f"mensagem {len(queued)} de {actor.user_id}")
                queue_despite_outages(actor, queued[-1])
            time.sleep(chance.uniform(0, 0.4))
            missed = [name for name in victims if name not in kills]
            victim = chance.choice(missed or list(victims))
            victims[victim]()
            kills[victim] += 1
    print(f"seed {seed}: {dict(kills)}, {len(sender.answered)} events, {len(queued)} messages")  # noqa: T201
    assert_no_answered_event_is_lost(installation, sender)
    wait_until_handled(installation)
    wait_until_settled(installation, 30)
    assert_nothing_was_sent_twice_or_lost(installation, queued)


def test_it_brings_a_killed_database_up_with_what_was_committed(installation: KillableInstallation) -> None:
    """The ground that the others stand on."""
    user = installation.new_user()
    installation.kill_postgres()
    with psycopg.connect(installation.postgres.url()) as connection:
        assert connection.execute("select count(*) from auth.users where id = %s", [user.user_id]).fetchone() == (1,)


@pytest.mark.slow
def test_it_finishes_a_clean_up_whose_worker_was_killed(installation: KillableInstallation) -> None:
    people = pair_people(installation, 4)
    installation.processes.stop("worker")
    for actor in people:
        commands.close(actor)
    installation.database.execute("update whatsapp_sessions set status = 'desconectado', check_at = null,"
                           " updated_at = now() - interval '8 days'")  # fmt: skip
    installation.database.execute(
        "insert into events (kind, verdict, received_at, request_id, body)"
        " select 'onack', 'handled', now() - interval '40 days', gen_random_uuid(), repeat('x', 500)"
        " from generate_series(1, 60000)"
    )
    asked = retention.request_run(SYSTEM)
    # One session's server never answers: the worker dies with its claim.
    victim = people[2].user_id
    installation.processes.control.fault("clear_hangs", f"user_{victim}", times=1)
    installation.processes.start("worker")
    held = "select count(*) from whatsapp_sessions where retention_lease_until > now() and user_id = %s"
    wait_for(lambda: installation.database.one(held, victim), 20, "the claim")
    wait_for(
        lambda: not any(one["on"] for one in installation.processes.control.state()["faults"]), 20, "the hanging call"
    )
    installation.processes.restart("worker")
    # Sessions come before events, so that no other session's claim dies with the worker.
    wait_for(partial(_has_purged_events, asked.id), what="a batch of events")
    installation.processes.kill("worker")
    assert 0 < retention.get_run(SYSTEM, asked.id).gone < 60000, "the kill came too late"
    installation.processes.start("worker")
    done = wait_for(partial(_finished, asked.id), 30, "the end of the run")
    sessions_gone = 4 - installation.database.one("select count(*) from whatsapp_sessions")
    assert done.counts == {ExpiredKind.SESSIONS: sessions_gone, ExpiredKind.EVENTS: 60000}
    assert (sessions_gone, done.postponed) == (3, 1), "the claim of the dead worker holds until its lease ends"
    installation.database.execute("update whatsapp_sessions set retention_lease_until = now()")
    again = retention.request_run(SYSTEM)
    assert wait_for(partial(_finished, again.id), what="the next run").counts == {ExpiredKind.SESSIONS: 1}
    # Its token file stays; the phone that it was paired with does not.
    assert [one["phone"] for one in installation.processes.control.state()["sessions"]] == [None] * 4


def _has_purged_events(run_id: int) -> bool:
    now = retention.get_run(SYSTEM, run_id)
    return now.counts.get(ExpiredKind.EVENTS, 0) > 0 or now.finished_at is not None


def _finished(run_id: int) -> Run | None:
    now = retention.get_run(SYSTEM, run_id)
    return now if now.finished_at is not None else None
