"""What goes, what stays, and that nothing goes which came back meanwhile."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from sandbox.server import SandboxServer
from services import settings
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.errors import CleanupUnderWay, Forbidden, NotFound, SessionBeingCleaned
from services.fleet import checks, commands
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.messaging import content, outbox
from services.operations import retention, retention_worker, session_purge
from services.operations.retention import ExpiredKind, Run, RunState
from services.operations.retention_worker import RetentionWorker
from services.platform import media_store
from services.wppconnect.shared import get_client
from tests.conftest import Database, connected, forget_process_state
from tests.support.installation import SandboxControl, wait_for

MARGIN = timedelta(minutes=5)
DEAD_SERVER = "http://127.0.0.1:9"


@pytest.fixture
def admin(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor(Role.ADMIN)


@pytest.fixture
def cleaner(database: Database) -> Iterator[RetentionWorker]:
    made = RetentionWorker()
    yield made
    made.close()


def clean(cleaner: RetentionWorker, *kinds: ExpiredKind) -> Run:
    """A whole run, as the worker carries it out."""
    asked = retention.request_run(SYSTEM, kinds or None)
    while cleaner.step():
        pass
    return retention.get_run(SYSTEM, asked.id)


def counted(actor: Actor = SYSTEM) -> dict[ExpiredKind, int]:
    return {one.kind: one.count for one in retention.preview_run(actor) if one.count}


def ago(**age: float) -> datetime:
    return datetime.now(UTC) - timedelta(**age)


def ended(
    database: Database, actor: Actor, at: datetime, server_url: str | None = None, *, status: str = "desconectado"
) -> UUID:
    """A session that ended at `at`, with nothing to say where its server is."""
    session_id = connected(database, actor, server_url or "")
    database.execute(
        "update whatsapp_sessions set status = %s, updated_at = %s, server_url = %s where id = %s",
        status, at, server_url, session_id,
    )  # fmt: skip
    return session_id


def wrote(database: Database, actor: Actor, session_id: UUID, at: datetime, state: str = "read") -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, created_at)"
        " values (%s, %s, 'out', %s, '5511987654321', %s)",
        session_id, actor.user_id, state, at,
    )  # fmt: skip


# --- who may --------------------------------------------------------------------------------------------------------


def test_it_is_looked_at_by_staff_and_started_by_admins_only(user: Actor, staff: Actor, admin: Actor) -> None:
    assert [one.kind for one in retention.preview_run(staff)] == list(ExpiredKind)
    assert retention.request_run(admin).state is RunState.QUEUED
    for call in (retention.preview_run, retention.list_runs, retention.request_run):
        with pytest.raises(Forbidden):
            call(user)
    with pytest.raises(Forbidden):
        retention.request_run(staff)
    with pytest.raises(Forbidden):
        retention.get_run(user, 1)
    with pytest.raises(NotFound):
        retention.get_run(staff, 10**9)


@pytest.mark.parametrize("role", [Role.USER, Role.OPERATOR])
def test_the_database_refuses_what_the_service_would_forget(
    role: Role, new_actor: Callable[..., Actor], database: Database
) -> None:
    actor = new_actor(role)
    statements = ["insert into cleanup_runs (actor_id, kinds) values (auth.uid(), '{codes}')"]
    statements += ["select * from app.count_expired('{}')"] if role is Role.USER else []
    statements += ["select app.purge_expired('events', '0', 1)", "select * from app.expired_sessions"]
    for statement in statements:
        with pytest.raises(Exception, match=r"permission denied|row-level security|only for staff"):  # noqa: SIM117
            with transaction(actor) as tx:
                tx.exec_driver_sql(statement)


def test_it_keeps_who_asked_for_what(admin: Actor, staff: Actor, database: Database, cleaner: RetentionWorker) -> None:
    database.execute("insert into signed_out (sign_in_id, expires_at) values (%s, %s)", uuid4(), ago(days=2))
    asked = retention.request_run(admin)
    assert asked.expected[ExpiredKind.SIGNED_OUT] == 1
    while cleaner.step():
        pass
    clean(cleaner)
    newest, first = retention.list_runs(staff)
    assert (newest.by, newest.actor_id) == (None, None)
    assert (first.by, first.state, first.counts) == (admin.email, RunState.FINISHED, {ExpiredKind.SIGNED_OUT: 1})
    assert first.fraction == 1
    audited = database.execute("select action, actor_id, subject from audit_log order by id")
    assert audited == [("cleanup.run", admin.user_id, str(first.id)), ("cleanup.run", None, str(newest.id))]


def test_a_store_that_hangs_holds_no_transaction_and_what_is_kept_again_meanwhile_is_whole(
    database: Database, user: Actor, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = media_store.save(user, b"again", "text/plain")
    database.execute("update media set created_at = now() - interval '40 days'")
    deleting, go_on = threading.Event(), threading.Event()
    delete = media_store.delete_file

    def hanging(user_id: UUID, sha256: bytes) -> None:
        deleting.set()
        assert go_on.wait(20)
        delete(user_id, sha256)

    monkeypatch.setattr(media_store, "delete_file", hanging)
    with ThreadPoolExecutor(2) as pool:
        cleaning = pool.submit(clean, cleaner, ExpiredKind.MEDIA)
        assert deleting.wait(20)
        open_ones = "select count(*) from pg_stat_activity where state like 'idle in transaction%%'"
        wait_for(lambda: database.one(open_ones) == 0, what="no transaction waits for the store")
        again = pool.submit(media_store.save, user, b"again", "text/plain")
        wait_for(lambda: database.one("select count(*) from app.media_deleting") == 1)
        assert not again.done()
        go_on.set()
        assert cleaning.result().counts == {ExpiredKind.MEDIA: 1}
        assert again.result() == kept
    assert media_store.read(user, kept.sha256) == b"again"
    assert database.one("select count(*) from app.media_deleting") == 0


def test_files_that_a_dead_process_was_deleting_are_found_again(
    database: Database, user: Actor, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_store.save(user, b"left behind", "text/plain")
    database.execute("update media set created_at = now() - interval '40 days'")

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(media_store, "delete_file", dies)
        clean(cleaner, ExpiredKind.MEDIA)
    files = [path for path in (settings.get().data_dir / "media").rglob("*") if path.is_file()]
    assert len(files) == 1
    database.execute("update app.media_deleting set lease_until = now() - interval '1 s'")
    while cleaner.step():
        pass
    assert not files[0].exists()
    assert database.one("select count(*) from app.media_deleting") == 0


def test_it_deletes_files_that_nothing_carries_with_their_rows(
    database: Database, user: Actor, cleaner: RetentionWorker
) -> None:
    connected(database, user)
    names = ("used", "forgotten", "young", "kept again")
    kept = {name: media_store.save(user, name.encode(), "text/plain") for name in names}
    outbox.queue(
        user, "11987654321", content.Content(kind=content.Kind.DOCUMENT, media=kept["used"], filename="a.txt"), "key"
    )
    database.execute(
        "update media set created_at = now() - interval '40 days' where sha256 <> %s", kept["young"].sha256
    )
    media_store.save(user, b"kept again", "text/plain")
    done = clean(cleaner, ExpiredKind.MEDIA)
    assert done.counts == {ExpiredKind.MEDIA: 1}
    with pytest.raises(NotFound):
        media_store.get(user, kept["forgotten"].sha256)
    for name in ("used", "young", "kept again"):
        assert media_store.read(user, kept[name].sha256) == name.encode()
    files = [path for path in (settings.get().data_dir / "media").rglob("*") if path.is_file()]
    assert len(files) == 3
    # What is gone can be kept anew.
    assert media_store.read(user, media_store.save(user, b"forgotten", "text/plain").sha256) == b"forgotten"


# --- what goes ------------------------------------------------------------------------------------------------------

# Ages around the limits: an hour before and an hour after each is where a mistake would show.
LIMITS = (0, 1, 7, 30, 180, 365)
AGES = st.builds(lambda days, off: days * 24 + off, st.sampled_from(LIMITS), st.sampled_from([-30, -1, 1, 30]))
VERDICTS = st.sampled_from(["received", "handled", "duplicate", "unsupported", "failed", "invalid"])
ON_ONE_DATABASE = examples(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
SIMPLE = {
    ExpiredKind.PENDING_ACKS: "insert into pending_acks (session_id, wpp_id, ack, received_at)"
    " select (select id from whatsapp_sessions order by created_at limit 1), n, 1, received_at from given",
    ExpiredKind.HEARTBEATS: "insert into heartbeats (process, instance, beat_at) select 'worker', n, beat_at"
    " from given",
    ExpiredKind.SIGN_IN_ATTEMPTS: "insert into sign_in_attempts (key, ip, occurred_at) select '', n,"
    " occurred_at from given",
    ExpiredKind.SIGNED_OUT: "insert into signed_out (sign_in_id, expires_at) select md5(n)::uuid, at from given",
    ExpiredKind.SECURITY_EVENTS: "insert into security_events (kind, subject, occurred_at) select 'x', n,"
    " occurred_at from given",
    ExpiredKind.TIMELINE: "insert into session_timeline (session_id, user_id, kind, action, occurred_at)"
    " select s.id, s.user_id, 'health', n, occurred_at from given, whatsapp_sessions s",
    ExpiredKind.RUNS: "insert into cleanup_runs (kinds, error, finished_at) select '{}', n, at from given",
}
LEFT = {
    ExpiredKind.PENDING_ACKS: "select wpp_id from pending_acks",
    ExpiredKind.HEARTBEATS: "select instance from heartbeats",
    ExpiredKind.SIGN_IN_ATTEMPTS: "select ip from sign_in_attempts",
    ExpiredKind.SIGNED_OUT: "select n::text from generate_series(0, 100) n"
    " join signed_out on sign_in_id = md5(n::text)::uuid",
    ExpiredKind.SECURITY_EVENTS: "select subject from security_events",
    ExpiredKind.TIMELINE: "select action from session_timeline where kind = 'health'",
    ExpiredKind.RUNS: "select error from cleanup_runs where error is not null",
}


@ON_ONE_DATABASE
@given(rows=st.lists(AGES, min_size=1, max_size=12))
def test_it_takes_exactly_what_is_past_its_retention(
    rows: list[int], database: Database, cleaner: RetentionWorker
) -> None:
    # Past the trigger that keeps the security events.
    database.execute(
        "set session_replication_role = replica;"
        "truncate whatsapp_sessions, heartbeats, sign_in_attempts, signed_out, security_events cascade"
    )
    database.execute("truncate cleanup_runs, auth.users cascade")
    owner = Actor(SYSTEM.kind, uuid4())
    database.execute("insert into auth.users (id) values (%s)", owner.user_id)
    connected(database, owner)
    moments = [ago(hours=hours) for hours in rows]
    given_rows = (
        "with given as (select (n - 1)::text as n, at from unnest(%s::timestamptz[]) with ordinality x (at, n))"
    )
    for statement in SIMPLE.values():
        database.execute(f"{given_rows} {statement}", moments)
    kept = {
        kind: {str(n) for n, hours in enumerate(rows) if timedelta(hours=hours) < age}
        for kind, age in retention.get_retention_periods().items()
    }
    found = counted()
    done = clean(cleaner, *SIMPLE)
    for kind, query in LEFT.items():
        assert {one for (one,) in database.execute(query)} == kept[kind], kind
    assert done.counts == found == {kind: gone for kind in SIMPLE if (gone := len(rows) - len(kept[kind]))}
    assert counted() == {}


@ON_ONE_DATABASE
@given(rows=st.lists(st.tuples(AGES, VERDICTS, st.sampled_from(["onack", "onmessage"])), max_size=20))
def test_it_takes_old_events_and_never_an_unhandled_one(
    rows: list[tuple[int, str, str]], database: Database, cleaner: RetentionWorker
) -> None:
    database.execute("truncate events cascade")
    for number, (hours, verdict, kind) in enumerate(rows):
        database.execute(
            "insert into events (session, kind, verdict, received_at, request_id, body)"
            " values (%s, %s, %s, %s, gen_random_uuid(), '')",
            str(number), kind, verdict, ago(hours=hours),
        )  # fmt: skip
    gone = {
        str(number)
        for number, (hours, verdict, kind) in enumerate(rows)
        if hours > 30 * 24
        and (verdict in ("handled", "duplicate", "invalid") or (verdict == "unsupported" and kind != "onmessage"))
    }
    assert clean(cleaner, ExpiredKind.EVENTS).counts.get(ExpiredKind.EVENTS, 0) == len(gone)
    left = {session for (session,) in database.execute("select session from events")}
    assert left == {str(number) for number in range(len(rows))} - gone


@ON_ONE_DATABASE
@given(qr=st.none() | AGES, code=st.none() | AGES, picture=st.booleans())
def test_it_blanks_old_codes_each_by_its_own_age(
    qr: int | None, code: int | None, picture: bool, database: Database, cleaner: RetentionWorker
) -> None:
    database.execute("truncate whatsapp_sessions, auth.users cascade")
    owner = Actor(SYSTEM.kind, uuid4())
    database.execute("insert into auth.users (id) values (%s)", owner.user_id)
    session_id = connected(database, owner)
    column = "qr_code" if picture else "qr_urlcode"
    if qr is not None:
        at = ago(hours=qr)
        database.execute(
            f"update whatsapp_sessions set {column} = 'x', qr_received_at = %s, qr_expires_at = %s", at, at
        )
    if code is not None:
        database.execute("update whatsapp_sessions set phone_code = 'y', phone_code_at = %s", ago(hours=code))
    before = database.one("select updated_at from whatsapp_sessions where id = %s", session_id)
    old_qr, old_code = (age is not None and age > 24 for age in (qr, code))
    assert clean(cleaner, ExpiredKind.CODES).counts.get(ExpiredKind.CODES, 0) == (old_qr or old_code)
    (left,) = database.execute(
        f"select {column} is null and qr_received_at is null and qr_expires_at is null,"
        " phone_code is null and phone_code_at is null, updated_at from whatsapp_sessions"
    )
    assert left == (qr is None or old_qr, code is None or old_code, before)


@ON_ONE_DATABASE
@given(
    status=st.sampled_from(list(Status)),
    hours=AGES,
    cleared=st.booleans(),
    check_due=st.booleans(),
    written=st.lists(st.tuples(AGES, st.sampled_from(["read", "failed", "queued"])), max_size=3),
)
def test_it_deletes_a_session_only_with_nothing_left_to_keep(
    status: Status,
    hours: int,
    cleared: bool,
    check_due: bool,
    written: list[tuple[int, str]],
    database: Database,
    cleaner: RetentionWorker,
) -> None:
    database.execute("truncate whatsapp_sessions, auth.users cascade")
    owner = Actor(SYSTEM.kind, uuid4())
    database.execute("insert into auth.users (id) values (%s)", owner.user_id)
    session_id = ended(database, owner, ago(hours=hours), status=status)
    database.execute(
        "update whatsapp_sessions set pairing_phone = '5511', cleared_at = case when %s then now() end,"
        " check_at = case when %s then now() end",
        cleared, check_due,
    )  # fmt: skip
    for age, state in written:
        wrote(database, owner, session_id, ago(hours=age), state)
    rubbish = status is Status.DISCONNECTED and hours > 7 * 24 and not check_due
    needed = any(age < 365 * 24 or state == "queued" for age, state in written)
    expected = int(rubbish and not (needed and cleared))
    assert counted().get(ExpiredKind.SESSIONS, 0) == expected
    assert clean(cleaner, ExpiredKind.SESSIONS).counts.get(ExpiredKind.SESSIONS, 0) == expected
    left = database.execute("select pairing_phone is null and cleared_at > updated_at from whatsapp_sessions")
    if rubbish and not needed:
        assert left == []
        return
    assert left == [(rubbish and not cleared,)]
    assert database.one("select count(*) from messages") == len(written)
    assert counted().get(ExpiredKind.SESSIONS, 0) == 0


def test_it_takes_finished_jobs_and_leaves_the_others(database: Database, cleaner: RetentionWorker) -> None:
    for status in ("todo", "doing", "succeeded", "failed", "cancelled", "aborted"):
        for days in (6, 8):
            database.execute(
                "with job as (insert into jobs.procrastinate_jobs (queue_name, task_name, status)"
                " values ('q', %s, 'doing') returning id), told as (insert into jobs.procrastinate_events (job_id, at)"
                " select id, %s from job) select 1",
                f"{status} {days}", ago(days=days),
            )  # fmt: skip
            # Past the trigger that would note the change as of now.
            database.execute(
                "set session_replication_role = replica; update jobs.procrastinate_jobs set"
                f" status = '{status}' where task_name = '{status} {days}'"
            )
    database.execute(
        "insert into jobs.procrastinate_periodic_defers (task_name, defer_timestamp, job_id)"
        " select 't', 1, id from jobs.procrastinate_jobs where task_name = 'failed 8'"
    )
    assert clean(cleaner, ExpiredKind.JOBS).counts == {ExpiredKind.JOBS: 4}
    left = {name for (name,) in database.execute("select task_name from jobs.procrastinate_jobs")}
    assert left == {"todo 6", "todo 8", "doing 6", "doing 8", "succeeded 6", "failed 6", "cancelled 6", "aborted 6"}


def a_run_of_three_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Asked for, with 25 rows that go 10 at a time."""
    monkeypatch.setattr(retention_worker, "BATCH_ROWS", 10)
    database.execute(
        "insert into security_events (kind, occurred_at) select 'x', now() - interval '1 year'"
        " from generate_series(1, 25)"
    )
    return retention.request_run(SYSTEM)


def test_it_works_in_batches_that_are_each_committed_with_their_count(
    database: Database, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = a_run_of_three_batches(database, monkeypatch)
    seen = []
    while cleaner.step():
        left = database.one("select count(*) from security_events")
        now = retention.get_run(SYSTEM, asked.id)
        assert now.gone == 25 - left
        seen.append((now.gone, now.state, now.fraction))
    assert [gone for gone, _state, _fraction in seen] == [10, 20, 25, 25]
    assert [state for _gone, state, _fraction in seen] == [RunState.RUNNING] * 3 + [RunState.FINISHED]
    assert [fraction for _gone, _state, fraction in seen] == [0.4, 0.8, 1, 1]


def test_the_retentions_are_settings(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("insert into heartbeats (process, instance, beat_at) values ('worker', 'x', %s)", ago(days=3))
    assert counted() == {ExpiredKind.HEARTBEATS: 1}
    monkeypatch.setenv("CLEANUP_HEARTBEATS_DAYS", "4")
    settings.get.cache_clear()
    assert counted() == {}


# --- two at once, one broken off ------------------------------------------------------------------------------------


def test_it_refuses_a_second_run_while_one_is_not_finished(admin: Actor, cleaner: RetentionWorker) -> None:
    retention.request_run(SYSTEM)
    with pytest.raises(CleanupUnderWay):
        retention.request_run(admin)
    assert retention.request_hourly_run() is None
    while cleaner.step():
        pass
    assert retention.request_hourly_run() is not None


def test_it_lets_one_process_work_and_the_next_go_on_where_it_stopped(
    database: Database, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = a_run_of_three_batches(database, monkeypatch)
    assert cleaner.step()
    other = RetentionWorker()
    assert not other.step()
    cleaner.close()  # as a process that ends
    while other.step():
        pass
    assert retention.get_run(SYSTEM, asked.id).counts == {ExpiredKind.SECURITY_EVENTS: 25}
    other.close()


def test_it_takes_nothing_twice_and_nothing_wrong_without_the_lock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that both believe to be alone: only then it shows that the batches are right by themselves."""
    monkeypatch.setattr(retention_worker, "BATCH_ROWS", 50)
    monkeypatch.setattr(retention_worker.ProcessLock, "acquire", lambda self: True)
    database.execute(
        "insert into security_events (kind, occurred_at) select 'x', now() - n * interval '1 day'"
        " from generate_series(1, 2000) n"
    )
    asked = retention.request_run(SYSTEM, [ExpiredKind.SECURITY_EVENTS])

    def work() -> None:
        cleaner = RetentionWorker()
        while cleaner.step():
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.one("select count(*) from security_events") == 179
    assert retention.get_run(SYSTEM, asked.id).counts == {ExpiredKind.SECURITY_EVENTS: 1821}


def test_it_ends_a_run_that_the_database_refuses(database: Database, cleaner: RetentionWorker) -> None:
    database.execute("insert into signed_out (sign_in_id, expires_at) values (%s, %s)", uuid4(), ago(days=2))
    database.execute(
        "create function broken() returns trigger language plpgsql as $$ begin raise 'no'; end $$;"
        "create trigger broken before delete on signed_out for each row execute function broken()"
    )
    done = clean(cleaner)
    assert (done.state, done.gone) == (RunState.FAILED, 0)
    assert done.error
    assert retention.request_hourly_run() is not None


# --- sessions and their servers -------------------------------------------------------------------------------------


@pytest.fixture
def stored(
    server: SandboxServer, control: SandboxControl, database: Database, new_actor: Callable[..., Actor]
) -> Callable[[], Actor]:
    """People whose session ended eight days ago and whose data the server still has."""

    def make() -> Actor:
        actor = new_actor()
        session = commands.connect(actor)
        wait_for(lambda: (control.session(session.name) or {}).get("urlcode"), what="a QR")
        control.scan(session.name, "5511987654321")
        wait_for(lambda: _on_server(control, session.name)["status"] == "CONNECTED", what="a scan")
        get_client().close_session(server.url, session.name)
        database.execute(
            "update whatsapp_sessions set status = 'desconectado', check_at = null, updated_at = %s where user_id = %s",
            ago(days=8), actor.user_id,
        )  # fmt: skip
        assert _on_server(control, session.name)["stored"]
        return actor

    return make


def _on_server(control: SandboxControl, name: str) -> dict[str, Any]:
    found = control.session(name)
    assert found is not None
    return found


def name_of(actor: Actor) -> str:
    return f"user_{actor.user_id}"


def test_it_deletes_the_data_on_the_server_and_then_the_session(
    stored: Callable[[], Actor], control: SandboxControl, database: Database, cleaner: RetentionWorker
) -> None:
    actor, with_history = stored(), stored()
    kept = fleet_session.get(with_history)
    assert kept is not None
    wrote(database, with_history, kept.id, ago(days=200))
    assert clean(cleaner).counts[ExpiredKind.SESSIONS] == 2
    for one in (actor, with_history):
        left = _on_server(control, name_of(one))
        assert (left["phone"], left["stored"]) == (None, True), "its token file is nothing that a call can delete"
    assert fleet_session.get(actor) is None
    assert fleet_session.get(with_history) is not None
    assert database.one("select count(*) from messages") == 1
    # Once is enough: the next run has nothing to ask of the server, nor this one anything to do.
    control.fault("server_down")
    again = clean(cleaner)
    assert (again.expected[ExpiredKind.SESSIONS], again.gone, again.postponed) == (0, 0, 0)


def test_it_deletes_a_session_that_only_says_that_it_is_up(
    stored: Callable[[], Actor], server: SandboxServer, control: SandboxControl, cleaner: RetentionWorker
) -> None:
    actor = stored()
    name = name_of(actor)
    get_client().start_session(server.url, name, "http://127.0.0.1:9")
    wait_for(lambda: _on_server(control, name)["status"] == "CONNECTED")
    control.fault("chrome_dies", name)
    assert clean(cleaner).counts[ExpiredKind.SESSIONS] == 1
    assert _on_server(control, name)["phone"] is None


def test_a_cleaned_session_can_be_connected_again(
    stored: Callable[[], Actor], control: SandboxControl, database: Database, cleaner: RetentionWorker
) -> None:
    gone, kept = stored(), stored()
    session = fleet_session.get(kept)
    assert session is not None
    wrote(database, kept, session.id, ago(days=1))
    clean(cleaner)
    for actor in (gone, kept):
        assert commands.connect(actor).status is Status.PAIRING
        assert _on_server(control, name_of(actor))["stored"]


def test_a_server_that_is_down_postpones_its_sessions(
    stored: Callable[[], Actor],
    control: SandboxControl,
    database: Database,
    cleaner: RetentionWorker,
    new_actor: Callable[..., Actor],
) -> None:
    people = [stored() for _ in range(2)]
    serverless = new_actor()
    ended(database, serverless, ago(days=8))
    control.fault("server_down")
    done = clean(cleaner)
    assert (done.counts, done.postponed, done.state) == ({ExpiredKind.SESSIONS: 1}, 2, RunState.FINISHED)
    for actor in people:
        assert fleet_session.get(actor) is not None
        assert _on_server(control, name_of(actor))["stored"]
    assert database.one("select count(*) from whatsapp_sessions where retention_lease_until is not null") == 0
    control.clear_faults()
    assert clean(cleaner).counts == {ExpiredKind.SESSIONS: 2}


def test_a_server_that_is_configured_no_longer_holds_nobody_up(
    server: SandboxServer, database: Database, cleaner: RetentionWorker, user: Actor
) -> None:
    ended(database, user, ago(days=8), DEAD_SERVER)
    done = clean(cleaner)
    assert (done.counts, done.postponed) == ({ExpiredKind.SESSIONS: 1}, 0)
    assert fleet_session.get(user) is None


def test_a_session_that_came_back_after_the_preview_stays_with_its_data(
    stored: Callable[[], Actor], control: SandboxControl, cleaner: RetentionWorker
) -> None:
    actor = stored()
    assert counted() == {ExpiredKind.SESSIONS: 1}
    asked = retention.request_run(SYSTEM)
    commands.connect(actor)
    while cleaner.step():
        pass
    assert retention.get_run(SYSTEM, asked.id).gone == 0
    found = fleet_session.get(actor)
    assert found is not None
    assert found.status is Status.PAIRING
    assert _on_server(control, name_of(actor))["stored"]


def test_a_session_that_the_server_brought_back_stays_with_its_data_and_is_asked_about(
    stored: Callable[[], Actor],
    server: SandboxServer,
    control: SandboxControl,
    database: Database,
    cleaner: RetentionWorker,
) -> None:
    """A server that restarts starts every stored session, and the webhook that says so may be lost."""
    actor = stored()
    get_client().start_session(server.url, name_of(actor), "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(server.url, name_of(actor)).status == "CONNECTED", what="the restart")
    assert clean(cleaner).counts == {}
    assert _on_server(control, name_of(actor))["stored"]
    assert database.one("select check_at <= now() and retention_lease_until is null from whatsapp_sessions")
    checks.run_due_checks()
    found = fleet_session.get(actor)
    assert found is not None
    assert found.status is Status.CONNECTED


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, control: SandboxControl) -> Callable[..., None]:
    """The server keeps the order to clear to itself, and we wait a second for it instead of fifteen."""

    def start(**options: Any) -> None:
        monkeypatch.setattr(get_client(), "_timeouts", get_client()._timeouts.__class__(logout=1.0))
        control.fault("clear_hangs", **options)

    return start


def test_no_start_begins_while_the_server_is_told_to_clear(
    stored: Callable[[], Actor],
    hanging: Callable[..., None],
    control: SandboxControl,
    database: Database,
    cleaner: RetentionWorker,
) -> None:
    actor = stored()
    hanging(cleared=False)
    retention.request_run(SYSTEM)
    working = threading.Thread(target=cleaner.step)
    working.start()
    wait_for(lambda: database.one("select count(*) from whatsapp_sessions where retention_lease_until is not null"))
    with pytest.raises(SessionBeingCleaned):
        commands.connect(actor)
    working.join()
    # Whether the order was carried out is unknown: the session is not deleted half, and the lease still holds.
    found = fleet_session.get(actor)
    assert found is not None
    with pytest.raises(SessionBeingCleaned):
        commands.connect(actor)
    assert cleaner.step()
    assert retention.list_runs(SYSTEM)[0].postponed == 1
    control.clear_faults()
    database.execute("update whatsapp_sessions set retention_lease_until = now()")
    assert commands.connect(actor).status is Status.PAIRING


def test_what_moved_during_the_call_survives_it(
    stored: Callable[[], Actor], database: Database, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that goes through `connect` can; but a webhook may say that the session is up."""
    moved, wrote_to, rung = stored(), stored(), stored()
    sessions_of = {one: fleet_session.get(one) for one in (moved, wrote_to, rung)}
    clear = get_client().clear_session_data

    def clear_while_things_happen(server_url: str, name: str) -> None:
        clear(server_url, name)
        if name == name_of(moved):
            database.execute(
                "update whatsapp_sessions set status = 'conectado', updated_at = now() where session_id = %s", name
            )
        if name == name_of(wrote_to):
            session = sessions_of[wrote_to]
            assert session is not None
            wrote(database, wrote_to, session.id, ago(days=0))
        if name == name_of(rung):
            database.execute("update whatsapp_sessions set check_at = now() where session_id = %s", name)

    monkeypatch.setattr(get_client(), "clear_session_data", clear_while_things_happen)
    clean(cleaner)
    left = dict(database.execute("select user_id, status from whatsapp_sessions"))
    assert left == {moved.user_id: "conectado", wrote_to.user_id: "desconectado", rung.user_id: "desconectado"}
    assert database.one("select count(*) from messages") == 1
    assert database.one("select count(*) from whatsapp_sessions where retention_lease_until is not null") == 0


def test_a_hanging_server_does_not_hold_the_run_for_long(
    stored: Callable[[], Actor], hanging: Callable[..., None], cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_purge, "MAX_UNKNOWN_OUTCOMES", 1)
    people = [stored() for _ in range(3)]
    hanging()
    done = clean(cleaner)
    assert (done.state, done.postponed) == (RunState.FINISHED, 3)
    assert all(fleet_session.get(one) for one in people)


def test_a_lease_ends_by_itself_where_the_cleaner_died(
    stored: Callable[[], Actor], database: Database, cleaner: RetentionWorker
) -> None:
    actor = stored()
    database.execute("update whatsapp_sessions set retention_lease_until = now() + interval '1 minute'")
    assert clean(cleaner).postponed == 1
    database.execute("update whatsapp_sessions set retention_lease_until = now() - interval '1 second'")
    assert clean(cleaner).counts == {ExpiredKind.SESSIONS: 1}
    assert fleet_session.get(actor) is None


# --- the queries' plans ---------------------------------------------------------------------------------------------


def test_counting_and_choosing_use_their_indexes(user: Actor, database: Database) -> None:
    forget_process_state()
    session_id = connected(database, user)
    database.execute(
        "insert into events (kind, verdict, received_at, request_id, body) select 'onack', 'handled',"
        " now() - n * interval '1 minute', gen_random_uuid(), '' from generate_series(1, 50000) n"
    )
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone) select %s, %s, 'out', 'read', '1'"
        " from generate_series(1, 20000)",
        session_id, user.user_id,
    )  # fmt: skip
    database.execute(
        "with people as ("
        "insert into auth.users (id) select gen_random_uuid() from generate_series(1, 5000) returning id)"
        " insert into whatsapp_sessions (user_id, session_id, status, qr_urlcode) select id, 'user_' || id,"
        " case when random() < 0.02 then 'desconectado' else 'conectado' end,"
        " case when random() < 0.02 then 'x' end from people"
    )
    for table in ("events", "messages", "whatsapp_sessions"):
        database.execute(f"analyze {table}")
    due = "app.is_session_expired(since, cleared, needed, '7 days', '365 days')"
    plans = {
        "events_done": "select count(*), min(since) from app.expired_events where since < now() - interval '30 days'",
        "whatsapp_sessions_codes": "select count(*) from app.expired_codes where since < now() - interval '1 day'",
        "whatsapp_sessions_status": f"select count(*) from app.expired_sessions where {due}",
        "messages_of_session": f"select count(*) from app.expired_sessions where {due}",
    }
    for index, query in plans.items():
        assert index in str(database.execute(f"explain {query}")), index
    claim = f"select id from app.expired_sessions where {due} order by since limit 1 for update skip locked"
    assert "Sort" not in str(database.execute(f"explain {claim}"))
