"""Each fault of the field, switched on at a real server beside the real receiver and worker, gets its right name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from sandbox.server import running_sandbox
from sandbox.state import Config
from services.db.actor import Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.diagnostics import facts, problems, session_checks
from services.diagnostics.check_report import Guide, Report, Result, Step
from services.errors import Forbidden, WppError, WppOutcomeUnknown
from services.fleet import commands, session, webhook_secrets
from services.messaging import outbox, reconciliation
from services.messaging.state import Message, State
from tests.conftest import Database, connected, forget_process_state, fresh_database, wrote_to
from tests.support.installation import Installation, SandboxControl, running_installation, wait_for

SECRET = "the-secret-key-of-the-sandbox"
# Fast, but for acks: those come after the reply has been committed.
CONFIG = Config(
    secret=SECRET, clock_scale=0.02, first_qr_lifetime=30.0, auto_close=3000.0, ack_delays=(5.0, 5.0, 5.0),
    stuck_timeout=3000.0, hang=25.0,
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A sandbox with its receiver and worker, shared by the module; each test brings a person of its own."""

    database: Database
    control: SandboxControl
    processes: Installation


@dataclass(frozen=True)
class Subject:
    """One person, what the field does to their session, and what the diagnosis says of it."""

    actor: Actor
    field: Field

    @property
    def name(self) -> str:
        return f"user_{self.actor.user_id}"

    def fault(self, name: str, **options: Any) -> None:
        self.field.control.fault(name, self.name, **options)

    def row(self, column: str) -> Any:
        return self.field.database.one(f"select {column} from whatsapp_sessions where user_id = %s", self.actor.user_id)

    def events(self, kind: str, count: int = 1) -> None:
        """Wait until the worker has handled that many."""
        query = "select count(*) from events where session = %s and kind = %s and verdict <> 'received'"
        wait_for(lambda: self.field.database.one(query, self.name, kind) >= count, what=f"{count} × {kind}")

    def start(self, phone: str | None = None) -> None:
        commands.connect(self.actor, phone=phone)

    def pair(self) -> None:
        self.start()
        wait_for(lambda: (found := self.field.control.session(self.name)) and found["status"] == "QRCODE")
        self.events("qrcode")
        self.field.control.scan(self.name, "5511987654321")
        wait_for(lambda: self.row("status") == "conectado" and self.row("phone_number"))
        self.events("status-find", 3)
        self.settle()

    def settle(self) -> None:
        """Wait until the server says CONNECTED, a moment after it posted inChat, and the worker has seen it."""
        wait_for(lambda: (found := self.field.control.session(self.name)) and found["status"] == "CONNECTED")
        wait_for(lambda: self.row("settling_since is null"), what="settled")

    def send(self, phone: str = "(11) 91234-5678", state: str = "accepted") -> Message:
        if state == "accepted":
            self.fault("ack_after_reply", times=1)
        queued = outbox.queue(self.actor, phone, "um segredo entre nós", uuid4().hex)
        wait_for(lambda: outbox.get_message(self.actor, queued.id).state not in (State.QUEUED, State.SENDING))
        wait_for(lambda: outbox.get_message(self.actor, queued.id).state == state, what=state)
        return outbox.get_message(self.actor, queued.id)

    def receive(self, text: str = "oi", **message: Any) -> None:
        self.field.control.inbound(self.name, "5511933334444", text, **message)

    def age(self, minutes: int = 5) -> None:
        """All of it happened that much earlier."""
        for table, column, key in (
            ("whatsapp_sessions", "pairing_started_at", "user_id"),
            ("whatsapp_sessions", "connected_at", "user_id"),
            ("messages", "accepted_at", "user_id"),
            ("messages", "sending_at", "user_id"),
            ("events", "received_at", "session"),
        ):
            self.field.database.execute(
                f"update {table} set {column} = {column} - make_interval(mins => %s) where {key}::text = %s",
                minutes,
                self.name if key == "session" else str(self.actor.user_id),
            )

    def examine(self, by: Actor | None = None) -> Report:
        looker = by or self.actor
        return session_checks.examine(looker, self.actor.user_id, facts.ask_server(looker, self.actor.user_id))


@pytest.fixture(scope="module")
def place(cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder: Path = tmp_path_factory.mktemp("diagnosis")
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh_database(cluster, template, patch, folder) as database,
        running_sandbox(CONFIG) as server,
        running_installation(
            database.url,
            folder,
            ("webhook", "worker"),
            SEND_PACE_SECONDS="0",
            WPP_SERVER_URL=server.url,
            WPP_SERVER_TOKEN=SECRET,
        ) as processes,
    ):
        for name, value in processes.environment.items():
            patch.setenv(name, value)
        forget_process_state()
        control = SandboxControl(server.url)
        yield Field(database, control, processes)
        control.close()


def someone(field: Field) -> Subject:
    """A user of their own, without a session yet."""
    user_id = uuid4()
    field.database.execute(
        "insert into auth.users (id, email, encrypted_password) values (%s, %s, '')",
        user_id,
        f"{user_id.hex[:12]}@example.com",
    )
    return Subject(person(user_id, Role.USER), field)


@pytest.fixture
def subject(place: Field) -> Iterator[Callable[[], Subject]]:
    yield lambda: someone(place)
    place.control.clear_faults()


# --- each fault, by its name ------------------------------------------------------------------------------------------


def zombie(one: Subject) -> None:
    one.pair()
    wrote_to(one.field.database, one.actor.user_id)
    one.fault("zombie")


def page_gone(one: Subject) -> None:
    one.pair()
    one.fault("zombie", page_gone=True)


def silent(one: Subject) -> None:
    one.pair()
    one.fault("silent")
    one.send()
    wait_for(lambda: one.field.control.sent(one.name)[0]["ack"] == 3)
    one.age()


def stuck(one: Subject) -> None:
    one.fault("stuck_initializing")
    one.start()
    one.age(1)


def qr_loop(one: Subject) -> None:
    one.fault("qr_loop", interval=2.0)
    one.start()
    one.events("qrcode", 5)


def stale_qr(one: Subject) -> None:
    one.fault("stale_qr")
    one.start()
    one.events("qrcode", 2)
    one.field.database.execute(
        "update events set received_at = received_at + interval '1 minute' where id = ("
        " select max(id) from events where session = %s and kind = 'qrcode')",
        one.name,
    )


def code_changes(one: Subject) -> None:
    one.fault("code_changes")
    one.start("(11) 98765-4321")
    one.events("phoneCode", 2)


def close_half_works(one: Subject) -> None:
    one.pair()
    one.fault("close_half_works")
    with pytest.raises(WppOutcomeUnknown):
        commands.disconnect(one.actor)


def restart_all(one: Subject) -> None:
    neighbour = someone(one.field)
    # Those of earlier tests are on the same server and restart too. One by one: the worker locks several sessions in
    # the order of their events, and whoever holds one while waiting for another may be the one that a deadlock ends.
    for (other,) in one.field.database.execute("select id from whatsapp_sessions"):
        one.field.database.execute(
            "update whatsapp_sessions set connected_at = connected_at - interval '5 minutes' where id = %s", other
        )
    for each in (one, neighbour):
        each.pair()
        each.age()
    one.field.control.fault("restart_all")
    for each in (one, neighbour):
        each.events("status-find", 5)
        each.settle()
    wait_for(lambda: session_checks.examine(one.actor).names, what="the others' return")


def banned(one: Subject) -> None:
    one.pair()
    one.fault("banned", limit=11, window=3000.0)
    for _ in range(12):
        outbox.queue(one.actor, "(11) 91234-5678", "promoção", uuid4().hex)
    # Twelve sends one after another, each answered only after its ack.
    wait_for(lambda: one.row("failure") == "phone_logged_out", 60.0)


def phone_removed(one: Subject) -> None:
    one.pair()
    one.field.control.phone_logout(one.name)
    wait_for(lambda: one.row("failure") == "phone_logged_out")


def phone_offline(one: Subject) -> None:
    one.pair()
    one.field.control.event(one.name, {"event": "status-find", "status": "phoneNotConnected", "session": one.name})
    one.events("status-find", 4)


def no_session(one: Subject) -> None:
    one.pair()
    one.fault("no_session_in_event")
    one.receive()
    one.events("onmessage")


def webhook_lost(one: Subject) -> None:
    one.pair()
    one.fault("webhook_lost", event="onack")
    one.send()
    wait_for(lambda: one.field.control.sent(one.name)[0]["ack"] == 3)
    one.age()
    one.receive()
    one.events("onmessage")


def no_webhook_at_all(one: Subject) -> None:
    one.fault("webhook_lost")
    one.start()

    def asked() -> bool:
        one.field.database.execute("update whatsapp_sessions set check_at = now() where check_at is not null")
        return bool(one.row("qr_count"))

    wait_for(asked, what="a QR got by asking")
    one.age()


def wrong_secret(one: Subject) -> None:
    one.pair()
    url = f"{one.field.processes.webhook_url}{webhook_secrets.WEBHOOK_PATH}/{one.name}"
    assert httpx.post(url, headers={"x-verify": "errado"}, json={}).status_code == 401
    refused = "select count(*) from security_events where subject = %s"
    wait_for(lambda: one.field.database.one(refused, one.name))


def duplicate(one: Subject) -> None:
    one.pair()
    one.fault("webhook_duplicate", event="onmessage")
    one.receive()
    one.events("onmessage", 2)


def reused_id(one: Subject) -> None:
    one.pair()
    one.receive("um")
    one.fault("reused_message_id", times=1)
    one.receive("dois")
    one.events("onmessage", 2)


def never_sent(one: Subject) -> None:
    one.pair()
    one.fault("accepted_but_never_sent")
    one.send()
    one.age()


def sends_into(fault: str, state: str = "uncertain") -> Callable[[Subject], None]:
    def arrange(one: Subject) -> None:
        one.pair()
        one.fault(fault)
        one.send(state=state)

    arrange.__name__ = fault
    return arrange


def ninth_digit(one: Subject) -> None:
    one.pair()
    one.fault("ninth_digit")
    one.fault("ack_after_reply", times=1)
    one.send("(11) 98877-6655", "read")


def despite_error(one: Subject) -> None:
    one.pair()
    one.fault("error_but_delivered", times=1)
    sent = one.send(state="uncertain")
    wait_for(lambda: one.field.control.sent(one.name)[0]["ack"] == 3)
    one.field.database.execute("update messages set reconcile_at = now() where id = %s", sent.id)
    wait_for(lambda: reconciliation.reconcile() or outbox.get_message(one.actor, sent.id).state is State.READ)
    wait_for(lambda: outbox.get_message(one.actor, sent.id).state is State.READ)


def huge(one: Subject) -> None:
    one.pair()
    one.fault("huge_media", megabytes=11, times=1)
    one.receive()
    one.events("onmessage")


def server_down(one: Subject) -> None:
    one.pair()
    one.fault("server_down")
    one.field.control.fault("server_down")


def server_hangs(one: Subject) -> None:
    one.pair()
    one.field.control.fault("server_hangs")


def not_on_whatsapp(one: Subject) -> None:
    one.pair()
    one.field.control.number("5511912340000", exists=False)
    one.send("(11) 91234-0000", "failed")


def unreachable_at_the_start(one: Subject) -> None:
    one.field.control.fault("server_down")
    with pytest.raises(WppError):
        one.start()
    one.field.control.fault("server_down", on=False)


def never_connected(one: Subject) -> None:
    assert session.get(one.actor) is None


FIELD = [
    (zombie, "zombie", Guide.SEND, Result.FAULT, Step.RECONNECT),
    (page_gone, "page_gone", Guide.SEND, Result.FAULT, Step.RECONNECT),
    (silent, "unannounced", Guide.DROP, Result.FAULT, Step.RECONNECT),
    (stuck, "stuck_initializing", Guide.QR, Result.FAULT, Step.RECONNECT),
    (qr_loop, "qr_loop", Guide.QR, Result.FAULT, Step.RECONNECT),
    (stale_qr, "stale_qr", Guide.QR, Result.WARNING, Step.RECONNECT),
    (code_changes, "code_changes", Guide.QR, Result.WARNING, Step.PAIR),
    (close_half_works, "close_half_works", Guide.DROP, Result.WARNING, Step.DISCONNECT),
    (restart_all, "restart_all", Guide.DROP, Result.WARNING, Step.ASK),
    (banned, "banned", Guide.DROP, Result.FAULT, Step.SUPPORT),
    (phone_removed, "phone_logged_out", Guide.DROP, Result.FAULT, Step.CONNECT),
    (phone_offline, "phone_offline", Guide.SEND, Result.WARNING, Step.ASK),
    (no_session, "no_session_in_event", Guide.DROP, Result.OK, None),
    (webhook_lost, "webhook_lost", Guide.SEND, Result.WARNING, Step.MESSAGE),
    (no_webhook_at_all, "webhook_unreachable", Guide.QR, Result.FAULT, Step.RECONNECT),
    (wrong_secret, "webhook_refused", Guide.QR, Result.FAULT, Step.RECONNECT),
    (duplicate, "webhook_duplicate", Guide.DROP, Result.OK, None),
    (reused_id, "reused_message_id", Guide.DROP, Result.OK, None),
    (never_sent, "accepted_but_never_sent", Guide.SEND, Result.FAULT, Step.MESSAGE),
    (sends_into("error_but_delivered"), "uncertain_send", Guide.SEND, Result.WARNING, Step.MESSAGE),
    (sends_into("not_found_but_delivered"), "uncertain_send", Guide.SEND, Result.WARNING, Step.MESSAGE),
    (sends_into("send_timeout"), "uncertain_send", Guide.SEND, Result.WARNING, Step.MESSAGE),
    (sends_into("secrets_in_error"), "uncertain_send", Guide.SEND, Result.WARNING, Step.MESSAGE),
    (despite_error, "delivered_despite_error", Guide.SEND, Result.OK, Step.MESSAGE),
    (sends_into("ack_before_reply", "read"), "ack_before_reply", Guide.SEND, Result.OK, None),
    (ninth_digit, "ninth_digit", Guide.SEND, Result.OK, None),
    (huge, "huge_media", Guide.DROP, Result.OK, None),
    (server_down, "server_unreachable", Guide.SEND, Result.FAULT, Step.ASK),
    (server_hangs, "server_unreachable", Guide.QR, Result.FAULT, Step.ASK),
    (not_on_whatsapp, "not_on_whatsapp", Guide.SEND, Result.FAULT, Step.SEND),
    (unreachable_at_the_start, "server_unreachable", Guide.QR, Result.FAULT, Step.CONNECT),
    (never_connected, "never_connected", Guide.QR, Result.FAULT, Step.PAIR),
]


@pytest.mark.parametrize(
    ("arrange", "name", "guide", "result", "step"), FIELD, ids=lambda v: getattr(v, "__name__", "")
)
def test_it_names_each_fault_of_the_field(
    subject: Callable[[], Subject],
    arrange: Callable[[Subject], None],
    name: str,
    guide: Guide,
    result: Result,
    step: Step | None,
) -> None:
    one = subject()
    arrange(one)
    report = one.examine()
    assert report.names[:1] == (name,), report.names
    found = next(check for check in report.guides[guide] if check.name == name)
    assert (found.result, found.step) == (result, step)
    assert found.at is not None or name == "never_connected"
    if result in (Result.FAULT, Result.WARNING):
        assert report.worst is not None
        assert report.worst.name == name
    what, todo = problems.get_meaning_and_advice(name)
    assert what
    assert todo
    assert SECRET not in repr(report)
    assert "um segredo entre nós" not in repr(report)


def test_it_finds_nothing_wrong_with_a_sound_session(subject: Callable[[], Subject], new_staff: Actor) -> None:
    one = subject()
    one.pair()
    one.fault("ack_after_reply", times=1)
    one.send(state="read")
    for looker in (one.actor, new_staff):
        report = one.examine(looker)
        assert report.names == ()
        assert report.worst is None
        wrong = [check for checks in report.guides.values() for check in checks if check.result is not Result.OK]
        assert wrong == []


@pytest.fixture
def new_staff(place: Field) -> Actor:
    return person(uuid4(), Role.OPERATOR)


# --- who may look, and what they see ----------------------------------------------------------------------------------


def test_it_shows_a_session_to_its_owner_and_staff_alone(database: Database, new_actor: Callable[..., Actor]) -> None:
    owner, other = new_actor(), new_actor()
    connected(database, owner)
    for call in (session_checks.examine, facts.ask_server):
        with pytest.raises(Forbidden):
            call(other, owner.user_id)
    with pytest.raises(Forbidden):
        facts.get_facts(other, owner.user_id)  # type: ignore[arg-type]
    assert session_checks.examine(new_actor(Role.OPERATOR), owner.user_id).session is not None


def test_it_lets_no_function_give_away_another_tenants_evidence(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    owner, other = new_actor(), new_actor()
    session_id = connected(database, owner)
    message: UUID = database.one(
        "insert into messages (session_id, user_id, direction, state, phone, body, wpp_id)"
        " values (%s, %s, 'out', 'accepted', '5511912345678', 'um segredo', 'true_x_1') returning id",
        session_id,
        owner.user_id,
    )
    with transaction(other) as tx:
        for call in ("session_evidence(%s)", "message_evidence(%s)"):
            subject = owner.user_id if call.startswith("session") else message
            found = tx.exec_driver_sql(f"select app.{call}", (subject,)).scalar_one()
            assert found is None
        assert tx.exec_driver_sql("select * from app.list_message_acks(%s, '{}')", (message,)).all() == []
    with transaction(new_actor(Role.ADMIN)) as tx:
        told = str(tx.exec_driver_sql("select app.get_message_facts(%s)", (message,)).scalar_one())
        told += str(tx.exec_driver_sql("select app.get_session_facts(%s)", (owner.user_id,)).scalar_one())
    assert str(message) in told
    assert "um segredo" not in told


def test_it_tells_staff_neither_a_qr_nor_a_code(database: Database, user: Actor, staff: Actor) -> None:
    connected(database, user)
    name = f"user_{user.user_id}"
    for kind, body in (
        ("qrcode", '{"event":"qrcode","urlcode":"2@very-secret-code","qrcode":"iVBORw0KGgo"}'),
        ("phoneCode", '{"event":"phoneCode","phoneCode":"ABCD-1234"}'),
    ):
        database.execute(
            "insert into events (session, kind, verdict, request_id, body)"
            " values (%s, %s, 'handled', gen_random_uuid(), %s)",
            name,
            kind,
            body,
        )
    assert user.user_id is not None
    found = facts.get_facts(staff, user.user_id)
    assert len({one.mark for one in found.signals}) == 2
    assert not [word for word in ("very-secret-code", "iVBOR", "ABCD-1234") if word in repr(found)]


def test_it_says_so_where_no_worker_lives(database: Database, user: Actor) -> None:
    connected(database, user)
    report = session_checks.examine(user)
    assert report.worst is not None
    assert report.worst.name == "worker_away"


def test_it_finds_a_sessions_events_by_their_index(database: Database, user: Actor) -> None:
    connected(database, user)
    database.execute(
        "insert into events (session, kind, verdict, request_id, body) select 'user_' || n % 500, 'onack', 'handled',"
        " gen_random_uuid(), '{}' from generate_series(1, 20000) n"
    )
    database.execute(
        "insert into security_events (kind, subject) select 'webhook_refused', 'user_' || n % 500"
        " from generate_series(1, 20000) n"
    )
    database.execute("analyze events, security_events")
    recent = "select id from events where session = %s and verdict <> 'received' order by id desc limit 1000"
    assert "events_of_session" in str(database.execute(f"explain {recent}", "user_7"))
    refused = (
        "select max(occurred_at) from security_events where kind = 'webhook_refused' and subject = %s"
        " and occurred_at > now() - interval"
        " '1 day'"
    )
    assert "security_events_refused" in str(database.execute(f"explain {refused}", "user_7"))
