"""Random lives of three sessions, with whatever breaks: each ends connected, or with a true sentence and a way on."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from services.db.actor import Actor, Role, person
from services.errors import ServiceError
from services.fleet import commands
from services.fleet import session as fleet_session
from services.fleet.session import Session, Status
from services.fleet.session_texts import FAILURES
from services.messaging import outbox
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.processes import SERVER_TOKEN, Processes, running_processes
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

# A minute of the server's own clock is twelve seconds here; the console's clocks are those of life. But three quiet
# sessions would wait for their question for hours, so they are asked each ten seconds, and a browser forgets as soon.
CLOCK_SCALE = 0.2
NUMBERS_REMEMBERED = 10.0
SETTLED_WITHIN = 120.0
ENVIRONMENT = {
    "SEND_PACE_SECONDS": "0",
    "HEALTH_SWEEP_SECONDS": "1",
    "HEALTH_STEP_SECONDS": "10",
    "HEALTH_PAGE_SECONDS": "2",
    "HEALTH_ASKS_PER_DAY": "8640",
    "HEALTH_SAME_NUMBER_SECONDS": "3",
    "HEALTH_NUMBERS": "+55 11 98888-0001, +55 11 98888-0002, +55 11 98888-0003",
}
ACTS = (
    "connect",
    "code",
    "cancel",
    "scan",
    "restart",
    "close",
    "chrome_dies",
    "page_crashes",
    "zombie",
    "revive",
    "removed_on_phone",
    "send",
    "server_restarts",
    "receiver_restarts",
    "wait",
)
LIVES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ACTS)), min_size=4, max_size=14)


@dataclass
class RandomSessions:
    """Three people, their server, and the console's processes."""

    server: SandboxServer
    control: SandboxControl
    processes: Processes
    people: list[Actor]
    queued: dict[str, UUID] = field(default_factory=dict)

    def session(self, actor: Actor) -> Session | None:
        return fleet_session.get(actor)

    def on_server(self, actor: Actor) -> dict[str, Any]:
        return self.control.session(_name(actor)) or {}

    def act(self, number: int, act: str) -> None:
        """One thing happens; what is refused at that moment is refused."""
        actor = self.people[number]
        with contextlib.suppress(ServiceError):
            getattr(self, f"_{act}")(actor)

    def _connect(self, actor: Actor) -> None:
        commands.connect(actor)

    def _code(self, actor: Actor) -> None:
        commands.connect(actor, phone="(11) 98765-4321")

    def _cancel(self, actor: Actor) -> None:
        commands.disconnect(actor)

    def _restart(self, actor: Actor) -> None:
        commands.reconnect(actor)

    def _close(self, actor: Actor) -> None:
        commands.close(actor)

    def _scan(self, actor: Actor) -> None:
        if self.on_server(actor).get("scannable"):
            self.control.scan(_name(actor), "55119" + str(actor.user_id.int % 10**8).zfill(8))  # type: ignore[union-attr]

    def _chrome_dies(self, actor: Actor) -> None:
        self.control.fault("chrome_dies", _name(actor))

    def _page_crashes(self, actor: Actor) -> None:
        self.control.fault("page_crashes", _name(actor))

    def _zombie(self, actor: Actor) -> None:
        if self.on_server(actor):
            self.control.kill(_name(actor))

    def _revive(self, actor: Actor) -> None:
        if self.on_server(actor):
            self.control.whatsapp_away(_name(actor), away=False)

    def _removed_on_phone(self, actor: Actor) -> None:
        if self.on_server(actor).get("status") == "CONNECTED":
            self.control.phone_logout(_name(actor))

    def _send(self, actor: Actor) -> None:
        body = f"life {uuid4().hex}"
        self.queued[body] = outbox.queue(actor, "5511999990001", body, body).id

    def _server_restarts(self, _actor: Actor) -> None:
        self.server.stop()
        self.server.start()

    def _receiver_restarts(self, _actor: Actor) -> None:
        self.processes.restart("webhook")

    def _wait(self, _actor: Actor) -> None:
        deadline = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > deadline)

    def settled(self, actor: Actor) -> bool:
        """Up and able to send, or down with a sentence, or before a code; not somewhere between."""
        session = self.session(actor)
        if session is None:
            return True
        if session.status is Status.CONNECTED:
            server = self.on_server(actor)
            return bool(server.get("status") == "CONNECTED" and server["browser"] and not server["dead"])
        if session.status is Status.PAIRING:
            return session.qr is not None or session.phone_code is not None
        return session.failure is None or session.failure in FAILURES

    def way_on(self, actor: Actor) -> bool:
        """Connecting leads to a code, or straight back."""
        session = self.session(actor)
        if session is not None and session.status is Status.DISCONNECTED:
            with contextlib.suppress(ServiceError):
                commands.connect(actor)
        return session is None or (session.status is not Status.DISCONNECTED and self.settled(actor))


def _name(actor: Actor) -> str:
    return f"user_{actor.user_id}"


@pytest.fixture
def sessions(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RandomSessions]:
    with running_sandbox(
        Config(secret=SERVER_TOKEN, clock_scale=CLOCK_SCALE, numbers_remembered=NUMBERS_REMEMBERED)
    ) as server:
        where = {"WPP_SERVER_URL": server.url}
        with running_processes(database.url, tmp_path, ("webhook", "worker"), **ENVIRONMENT, **where) as processes:
            for name, value in processes.environment.items():
                monkeypatch.setenv(name, value)
            forget_process_state()
            control = SandboxControl(server.url)
            yield RandomSessions(server, control, processes, [])
            control.close()
            forget_process_state()


# A life takes half a minute: one that fails is told as it was, not made shorter.
@hypothesis_settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lives=LIVES)
@example(lives=[(0, "wait"), (1, "wait"), (0, "restart"), (1, "connect"), (1, "zombie")])
@example(lives=[(2, "page_crashes"), (2, "zombie"), (2, "page_crashes"), (1, "close"), (0, "close")])
def test_no_life_strands_a_session(sessions: RandomSessions, database: Database, lives: list[tuple[int, str]]) -> None:
    sessions.people = [_somebody(database) for _ in range(3)]
    sessions.queued.clear()
    for number in range(3):
        sessions.act(number, "connect")
        wait_for(partial(lambda of: bool(sessions.on_server(of).get("scannable")), sessions.people[number]))
        sessions.act(number, "scan")
    for number, act in lives:
        sessions.act(number, act)
    for actor in sessions.people:
        wait_for(
            partial(sessions.settled, actor), SETTLED_WITHIN, f"a settled session after {lives}: {_describe(sessions)}"
        )
        wait_for(partial(sessions.way_on, actor), SETTLED_WITHIN, f"a way on after {lives}: {_describe(sessions)}")
    sent = Counter(row["body"] for row in sessions.control.sent())
    assert [body for body in sessions.queued if sent[body] > 1] == [], "sent twice"
    assert sessions.control.state()["locked_starts"] == 0, f"a start met another browser on its profile, in {lives}"


def _describe(sessions: RandomSessions) -> list[str]:
    return [f"{fleet_session.get(actor)} / {sessions.on_server(actor)}" for actor in sessions.people]


def _somebody(database: Database) -> Actor:
    user_id = uuid4()
    database.execute("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@example.com")
    return person(user_id, Role.USER)
