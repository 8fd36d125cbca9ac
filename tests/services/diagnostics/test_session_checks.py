"""Each fault, switched on at a real server beside the real receiver and worker, gets its right name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from sandbox.server import running_sandbox
from services.db.actor import Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.diagnostics import facts, problems, session_checks
from services.diagnostics.check_report import Guide, Result, Step
from services.errors import Forbidden
from tests.support.databases import Database, fresh_database
from tests.support.process_state import forget_process_state
from tests.support.processes import SERVER_TOKEN, running_processes
from tests.support.sandbox_control import SandboxControl
from tests.support.session_faults import (
    CONFIG,
    FaultySandbox,
    FaultySession,
    banned,
    close_half_works,
    code_changes,
    despite_error,
    duplicate,
    huge,
    never_connected,
    never_sent,
    new_session,
    ninth_digit,
    no_session,
    no_webhook_at_all,
    not_on_whatsapp,
    page_gone,
    phone_offline,
    phone_removed,
    qr_loop,
    restart_all,
    reused_id,
    sends_into,
    server_down,
    server_hangs,
    silent,
    stale_qr,
    stuck,
    unreachable_at_the_start,
    webhook_lost,
    wrong_secret,
    zombie,
)
from tests.support.sessions import connected


@pytest.fixture(scope="module")
def sandbox(
    cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultySandbox]:
    folder: Path = tmp_path_factory.mktemp("diagnosis")
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh_database(cluster, template, patch, folder) as database,
        running_sandbox(CONFIG) as server,
        running_processes(
            database.url,
            folder,
            ("webhook", "worker"),
            SEND_PACE_SECONDS="0",
            WPP_SERVER_URL=server.url,
            WPP_SERVER_TOKEN=SERVER_TOKEN,
        ) as processes,
    ):
        for name, value in processes.environment.items():
            patch.setenv(name, value)
        forget_process_state()
        control = SandboxControl(server.url)
        yield FaultySandbox(database, control, processes)
        control.close()


@pytest.fixture
def new_faulty_session(sandbox: FaultySandbox) -> Iterator[Callable[[], FaultySession]]:
    yield lambda: new_session(sandbox)
    sandbox.control.clear_faults()


# --- each fault, by its name ------------------------------------------------------------------------------------------


FAULTS = [
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
# One for what a person sees of each kind; the others are as slow, and meet nothing new on their way.
QUICK = {
    zombie, stuck, code_changes, phone_removed, webhook_lost, wrong_secret, never_sent, despite_error, server_down,
    unreachable_at_the_start, never_connected,
}  # fmt: skip


@pytest.mark.parametrize(
    ("arrange", "name", "guide", "result", "step"),
    [pytest.param(*row, marks=() if row[0] in QUICK else pytest.mark.slow) for row in FAULTS],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_it_names_each_fault_of_the_field(
    new_faulty_session: Callable[[], FaultySession],
    arrange: Callable[[FaultySession], None],
    name: str,
    guide: Guide,
    result: Result,
    step: Step | None,
) -> None:
    faulty = new_faulty_session()
    arrange(faulty)
    report = faulty.examine()
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
    assert SERVER_TOKEN not in repr(report)
    assert "um segredo entre nós" not in repr(report)


def test_it_finds_nothing_wrong_with_a_sound_session(
    new_faulty_session: Callable[[], FaultySession], new_staff: Actor
) -> None:
    faulty = new_faulty_session()
    faulty.pair()
    faulty.fault("ack_after_reply", times=1)
    faulty.send(state="read")
    for looker in (faulty.actor, new_staff):
        report = faulty.examine(looker)
        assert report.names == ()
        assert report.worst is None
        wrong = [check for checks in report.guides.values() for check in checks if check.result is not Result.OK]
        assert wrong == []


@pytest.fixture
def new_staff(sandbox: FaultySandbox) -> Actor:
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
        for call in ("get_session_facts(%s)", "get_message_facts(%s)"):
            new_faulty_session = owner.user_id if call.startswith("session") else message
            found = tx.exec_driver_sql(f"select app.{call}", (new_faulty_session,)).scalar_one()
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
