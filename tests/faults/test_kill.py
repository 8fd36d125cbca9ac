"""kill -9 of the real processes in the middle of work: no answered event is lost, and nothing is sent twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from services import settings
from services.db.actor import SYSTEM, Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from services.errors import DatabaseUnavailable
from services.fleet import commands
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.messaging import outbox as messaging_outbox
from services.messaging.state import State
from services.operations import retention
from services.operations.retention import ExpiredKind, Run
from tests.conftest import Database, connected, forget_process_state
from tests.support.installation import SHARED_TOKEN, Installation, running_installation, wait_for

pytestmark = pytest.mark.faults

# `make soak` kills for minutes; the suite only long enough to hit each process a few times.
SOAK_SECONDS = 240.0 if os.environ.get("PLUSHIFY_SOAK") else 8.0
ENVIRONMENT = {"SEND_PACE_SECONDS": "0", "SEND_LEASE_SECONDS": "2", "LOG_LEVEL": "INFO"}
WEBHOOK = "/functions/v1/whatsapp-qr-webhook"
POSTERS = 4
KILLS, KILLED_SENDS = (50, 1000) if os.environ.get("PLUSHIFY_SOAK") else (6, 160)
ROOT = Path(__file__).parents[2]
SETTLED = (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.FAILED, State.UNCERTAIN)
LEFT = (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ)


@dataclass
class Sender:
    """Posts events from several threads, each once, as a WPPConnect server does; remembers which were answered 200."""

    url: str
    session: str
    total: int | None = None
    answered: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> "Sender":
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


@dataclass
class Stage:
    """A database that may be killed without hurting anybody else, and the processes on it."""

    postgres: EmbeddedPostgres
    database: Database
    processes: Installation

    def kill_postgres(self) -> None:
        """kill -9 of the server and of every process of its own; then up again, as the supervisor brings it up."""
        pid = int((self.postgres.home / "cluster" / "postmaster.pid").read_text().split("\n", 1)[0])
        children = (
            [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] if _linux() else []
        )
        for one in (pid, *children):
            _kill(one)
        self.postgres.restart()

    def new_user(self) -> Actor:
        user_id = uuid4()
        self.database.execute("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@example.com")
        return person(user_id, Role.USER)


def _linux() -> bool:
    return Path("/proc/self/task").exists()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stage]:
    """A PostgreSQL of its own with sandbox, receiver and worker; this test process is the console."""
    folder = Path(tempfile.mkdtemp(prefix="plushify-faults-"))
    folder.chmod(0o755)
    binaries = os.environ.get("PLUSHIFY_TEST_PG_BIN")
    with EmbeddedPostgres(folder, Path(binaries) if binaries else None) as postgres:
        for name in settings.Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv("DATABASE_URL", postgres.url())
        monkeypatch.setenv("DATA_DIR", str(tmp_path))
        forget_process_state()
        migrate(postgres.url())
        with running_installation(
            postgres.url(), tmp_path, ("sandbox", "webhook", "worker"), **ENVIRONMENT
        ) as processes:
            for name, value in processes.environment.items():
                monkeypatch.setenv(name, value)
            forget_process_state()
            yield Stage(postgres, Database(postgres.url()), processes)
            forget_process_state()
    shutil.rmtree(folder)


@contextmanager
def posting(stage: Stage, total: int | None = None) -> Iterator[Sender]:
    """Events arrive while the block runs, `total` of them or for as long as it takes."""
    user = stage.new_user()
    connected(stage.database, user)
    sender = Sender(stage.processes.webhook_url, f"user_{user.user_id}", total).start()
    try:
        yield sender
        sender.join() if total else sender.stop()
    finally:
        sender.stop()


def paired(stage: Stage, count: int) -> list[Actor]:
    """People whose WhatsApp is truly up in the sandbox."""
    people = [stage.new_user() for _ in range(count)]
    for number, actor in enumerate(people):
        commands.connect(actor)
        wait_for(partial(_qr, actor), what="a QR")
        stage.processes.control.scan(f"user_{actor.user_id}", f"55119876500{number:02}")
    for actor in people:
        wait_for(partial(_is_connected, actor), what="a connected session")
    return people


def _qr(actor: Actor) -> bool:
    session = fleet_session.get(actor)
    return session is not None and session.qr is not None


def _is_connected(actor: Actor) -> bool:
    session = fleet_session.get(actor)
    return session is not None and session.status is Status.CONNECTED


def queue(actor: Actor, body: str) -> None:
    """Queue once, however often the database goes away meanwhile: that is what the key is for."""
    deadline = time.monotonic() + 30
    while True:
        try:
            messaging_outbox.queue(actor, "11987654321", body, body)
            return
        except DatabaseUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


# --- what must hold whatever was killed -------------------------------------------------------------------------------


def assert_no_answered_event_is_lost(stage: Stage, sender: Sender) -> None:
    stored = {
        key for (key,) in stage.database.execute("select body::json ->> 'id' from events where kind = 'onmessage'")
    }
    lost = set(sender.answered) - stored
    assert not lost, f"{len(lost)} of {len(sender.answered)} answered events are not stored"


def _unhandled(stage: Stage) -> int:
    waiting: int = stage.database.one("select count(*) from events where verdict = 'received'")
    return waiting


def _fewer(stage: Stage, than: int) -> bool:
    return _unhandled(stage) < than


def wait_until_handled(stage: Stage, seconds: float = 60) -> None:
    """However much waits: only a standstill for `seconds` is a fault."""
    left = _unhandled(stage)
    while left:
        wait_for(partial(_fewer, stage, left), seconds, "every stored event handled")
        left = _unhandled(stage)
    assert stage.database.one("select count(*) from events where verdict in ('failed', 'invalid')") == 0


def outbox(stage: Stage) -> dict[str, State]:
    """What was queued here, by its text. What stands beside it without a key is what WhatsApp has told of meanwhile."""
    rows = stage.database.execute("select body, state from messages where idempotency_key is not null")
    assert len(rows) == len({body for body, _state in rows})
    return {body: State(state) for body, state in rows}


def told_of(stage: Stage) -> set[str]:
    """The texts that left and that WhatsApp told of before it was known which queued message they were."""
    rows = stage.database.execute("select body from messages where direction = 'out' and idempotency_key is null")
    return {body for (body,) in rows}


def assert_none_stands_twice(stage: Stage) -> None:
    """What WhatsApp told of goes once it is known which queued message it is."""
    known = {body for body, state in outbox(stage).items() if state in LEFT}
    assert not told_of(stage) & known, "a message stands twice though it is known which it is"


def wait_until_settled(stage: Stage, seconds: float = 30) -> None:
    def unsettled() -> list[str]:
        return [body for body, state in outbox(stage).items() if state not in SETTLED]

    wait_for(lambda: not unsettled(), seconds, "every message in an end state")


def assert_nothing_was_sent_twice_or_lost(stage: Stage, queued: list[str]) -> None:
    left = Counter(one["body"] for one in stage.processes.control.sent())
    assert {body: count for body, count in left.items() if count > 1} == {}
    states = outbox(stage)
    assert sorted(states) == sorted(queued)
    said_to_have_left = {body for body, state in states.items() if state in LEFT}
    assert_none_stands_twice(stage)
    assert said_to_have_left <= set(left), "a message is called sent that never left"
    said_to_have_failed = {body for body, state in states.items() if state is State.FAILED}
    assert not said_to_have_failed & set(left), "a message is called failed that did leave"
    # What left and is not called so must at least be called uncertain.
    assert {states[body] for body in set(left) - said_to_have_left} <= {State.UNCERTAIN}


# --- one process after the other --------------------------------------------------------------------------------------


def test_it_loses_no_answered_event_when_the_receiver_is_killed(stage: Stage) -> None:
    with posting(stage, total=3000) as sender:
        for answered in (500, 1200, 2000):
            sender.wait_for_more_than(answered)
            stage.processes.restart("webhook")
    assert sender.refused, "nobody noticed a kill: it did not happen in the middle of work"
    assert len(sender.answered) > 2500
    assert_no_answered_event_is_lost(stage, sender)
    wait_until_handled(stage)


def test_it_sends_nothing_twice_when_the_worker_is_killed(stage: Stage) -> None:
    people = paired(stage, 4)
    hanging, gone = people[0], people[1]
    # Two calls that hang when the worker dies: one message has left, the other has not, and nobody can tell.
    stage.processes.control.fault("send_timeout", f"user_{hanging.user_id}", times=1)
    stage.processes.control.fault("send_timeout", f"user_{gone.user_id}", times=1, delivered=False)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(25) for actor in people]
    for body, actor in zip(queued, people * 25, strict=True):
        queue(actor, body)

    def has_left_the_queue(wanted: int) -> bool:
        return sum(state is not State.QUEUED for state in outbox(stage).values()) >= wanted

    for wanted in (10, 40, 60):
        wait_for(partial(has_left_the_queue, wanted), what="messages to be sent")
        stage.processes.restart("worker")
    wait_until_settled(stage)
    first = {actor: next(body for body in queued if str(actor.user_id) in body) for actor in (hanging, gone)}
    wait_for(lambda: outbox(stage)[first[hanging]] in LEFT, 20, "the message that left to be found in its chat")
    assert outbox(stage)[first[gone]] is State.UNCERTAIN
    assert_nothing_was_sent_twice_or_lost(stage, queued)
    assert len(stage.processes.control.sent()) >= 90


def test_it_sends_nothing_twice_however_often_the_worker_is_killed(stage: Stage) -> None:
    """kill -9 at random moments during many sends: `make soak` 50 times during 1,000, the suite a few."""
    chance = random.Random()
    people = paired(stage, 8)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(KILLED_SENDS // 8) for actor in people]
    stage.processes.stop("worker")  # it sends faster than this process queues
    for body, actor in zip(queued, people * (KILLED_SENDS // 8), strict=True):
        queue(actor, body)
    stage.processes.start("worker")
    kills = 0
    while kills < KILLS and any(state is State.QUEUED for state in outbox(stage).values()):
        before = len(stage.processes.control.sent())
        moment = before + chance.randrange(1, 2 * KILLED_SENDS // KILLS)
        wait_for(partial(_sent_or_done, stage, moment), 30, "more to leave")
        threading.Event().wait(chance.uniform(0, 0.02))  # any moment of a delivery, not only the one after its call
        stage.processes.kill("worker")
        kills += 1
        # What the dead one held is the next one's at once: the lease is not what is tried here.
        stage.database.execute("update lanes set available_at = least(available_at, now())")
        stage.processes.start("worker")
    wait_until_settled(stage, 90)
    assert kills >= KILLS // 2, "the sends were over before they could be interrupted"
    assert_nothing_was_sent_twice_or_lost(stage, queued)
    # None is missing that is not listed as uncertain or failed.
    states = outbox(stage)
    left = {one["body"] for one in stage.processes.control.sent()}
    missing = set(queued) - left
    assert {states[body] for body in missing} <= {State.UNCERTAIN, State.FAILED}
    assert len(missing) <= kills * 10, "no more can have been under way at the kills"


def _sent_or_done(stage: Stage, moment: int) -> bool:
    waiting = stage.database.one("select count(*) from messages where state = 'queued'")
    return len(stage.processes.control.sent()) >= moment or waiting == 0


def test_two_workers_share_the_lanes_and_serve_each_in_order(stage: Stage) -> None:
    people = paired(stage, 6)
    with running_second_worker(stage):
        queued = [f"{number}" for number in range(20)]
        for body in queued:
            for actor in people:
                messaging_outbox.queue(actor, "11987654321", body, body)
        wait_for(lambda: _open(stage) == 0, 40, "every message in an end state")
    for actor in people:
        assert [one["body"] for one in stage.processes.control.sent(f"user_{actor.user_id}")] == queued
    # Both took part: each logs the deliveries that were its own.
    delivered = [stage.processes.log("worker").count('"delivered"'), _second_said(stage).count('"delivered"')]
    assert min(delivered) > 0, delivered


def _open(stage: Stage) -> int:
    count: int = stage.database.one("select count(*) from messages where state in ('queued', 'sending')")
    return count


@contextmanager
def running_second_worker(stage: Stage) -> Iterator[None]:
    """Another worker on the same database, as on another machine."""
    with _second_log(stage).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "worker.py"], cwd=ROOT, env=stage.processes.environment, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: '"worker_started"' in _second_said(stage), 30, "the second worker")
        yield
    finally:
        process.terminate()
        process.wait(20)


def _second_log(stage: Stage) -> Path:
    return stage.processes.folder / "worker-2.log"


def _second_said(stage: Stage) -> str:
    return _second_log(stage).read_text(errors="replace")


def test_it_loses_nothing_when_postgresql_is_killed(stage: Stage) -> None:
    people = paired(stage, 4)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(25) for actor in people]
    with posting(stage) as sender:
        for number, (body, actor) in enumerate(zip(queued, people * 25, strict=True)):
            if number in (30, 70):
                stage.kill_postgres()
            queue(actor, body)
        sender.wait_for_more_than(len(sender.answered) + 200)
    assert len(sender.answered) > 500
    assert_no_answered_event_is_lost(stage, sender)
    wait_until_handled(stage)
    wait_until_settled(stage)
    assert_nothing_was_sent_twice_or_lost(stage, queued)


def test_it_sends_a_whole_lane_without_waiting_for_the_clock(stage: Stage) -> None:
    """The lane that has just become free is served at once; only the pace, off here, may hold it."""
    (actor,) = paired(stage, 1)
    began = time.monotonic()
    for number in range(30):
        queue(actor, f"mensagem {number}")
    wait_until_settled(stage)
    assert time.monotonic() - began < 10
    assert [one["body"] for one in stage.processes.control.sent()] == [f"mensagem {number}" for number in range(30)]


# --- all of them, at random -------------------------------------------------------------------------------------------


def test_it_survives_kills_at_random(stage: Stage) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    people = paired(stage, 4)
    queued: list[str] = []
    kills: Counter[str] = Counter()
    victims: dict[str, Callable[[], None]] = {
        "webhook": lambda: stage.processes.restart("webhook"),
        "worker": lambda: stage.processes.restart("worker"),
        "postgres": stage.kill_postgres,
    }
    end = time.monotonic() + SOAK_SECONDS
    with posting(stage) as sender:
        while time.monotonic() < end or set(kills) != set(victims):
            for actor in chance.choices(people, k=chance.randrange(1, 12)):
                queued.append(f"mensagem {len(queued)} de {actor.user_id}")
                queue(actor, queued[-1])
            time.sleep(chance.uniform(0, 0.4))
            missed = [name for name in victims if name not in kills]
            victim = chance.choice(missed or list(victims))
            victims[victim]()
            kills[victim] += 1
    print(f"seed {seed}: {dict(kills)}, {len(sender.answered)} events, {len(queued)} messages")  # noqa: T201
    assert_no_answered_event_is_lost(stage, sender)
    wait_until_handled(stage)
    wait_until_settled(stage, 30)
    assert_nothing_was_sent_twice_or_lost(stage, queued)


def test_it_brings_a_killed_database_up_with_what_was_committed(stage: Stage) -> None:
    """The ground that the others stand on."""
    user = stage.new_user()
    stage.kill_postgres()
    with psycopg.connect(stage.postgres.url()) as connection:
        assert connection.execute("select count(*) from auth.users where id = %s", [user.user_id]).fetchone() == (1,)


def test_it_finishes_a_clean_up_whose_worker_was_killed(stage: Stage) -> None:
    people = paired(stage, 4)
    stage.processes.stop("worker")
    for actor in people:
        commands.close(actor)
    stage.database.execute("update whatsapp_sessions set status = 'desconectado', check_at = null,"
                           " updated_at = now() - interval '8 days'")  # fmt: skip
    stage.database.execute(
        "insert into events (kind, verdict, received_at, request_id, body)"
        " select 'onack', 'handled', now() - interval '40 days', gen_random_uuid(), repeat('x', 500)"
        " from generate_series(1, 60000)"
    )
    asked = retention.request_run(SYSTEM)
    # One session's server never answers: the worker dies with its claim.
    victim = people[2].user_id
    stage.processes.control.fault("clear_hangs", f"user_{victim}", times=1)
    stage.processes.start("worker")
    held = "select count(*) from whatsapp_sessions where retention_lease_until > now() and user_id = %s"
    wait_for(lambda: stage.database.one(held, victim), 20, "the claim")
    wait_for(lambda: not any(one["on"] for one in stage.processes.control.state()["faults"]), 20, "the hanging call")
    stage.processes.restart("worker")
    # Sessions come before events, so that no other session's claim dies with the worker.
    wait_for(partial(_has_purged_events, asked.id), what="a batch of events")
    stage.processes.kill("worker")
    assert 0 < retention.get_run(SYSTEM, asked.id).gone < 60000, "the kill came too late"
    stage.processes.start("worker")
    done = wait_for(partial(_finished, asked.id), 30, "the end of the run")
    sessions_gone = 4 - stage.database.one("select count(*) from whatsapp_sessions")
    assert done.counts == {ExpiredKind.SESSIONS: sessions_gone, ExpiredKind.EVENTS: 60000}
    assert (sessions_gone, done.postponed) == (3, 1), "the claim of the dead worker holds until its lease ends"
    stage.database.execute("update whatsapp_sessions set retention_lease_until = now()")
    again = retention.request_run(SYSTEM)
    assert wait_for(partial(_finished, again.id), what="the next run").counts == {ExpiredKind.SESSIONS: 1}
    # Its token file stays; the phone that it was paired with does not.
    assert [one["phone"] for one in stage.processes.control.state()["sessions"]] == [None] * 4


def _has_purged_events(run_id: int) -> bool:
    now = retention.get_run(SYSTEM, run_id)
    return now.counts.get(ExpiredKind.EVENTS, 0) > 0 or now.finished_at is not None


def _finished(run_id: int) -> Run | None:
    now = retention.get_run(SYSTEM, run_id)
    return now if now.finished_at is not None else None
