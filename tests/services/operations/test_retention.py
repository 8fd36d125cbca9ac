"""What goes, what stays, and that nothing goes which came back meanwhile."""

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from services import settings
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.fleet.session import Status
from services.operations import retention, retention_worker
from services.operations.retention import CleanupUnderWay, ExpiredKind, Run, RunState
from services.operations.retention_worker import RetentionWorker
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.retention import ago, count_expired, insert_ended_session, insert_message, run_cleanup
from tests.support.sessions import connected

MARGIN = timedelta(minutes=5)


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
    run_cleanup(cleaner)
    newest, first = retention.list_runs(staff)
    assert (newest.by, newest.actor_id) == (None, None)
    assert (first.by, first.state, first.counts) == (admin.email, RunState.FINISHED, {ExpiredKind.SIGNED_OUT: 1})
    assert first.fraction == 1
    audited = database.execute("select action, actor_id, subject from audit_log order by id")
    assert audited == [("cleanup.run", admin.user_id, str(first.id)), ("cleanup.run", None, str(newest.id))]


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
    " select (select id from whatsapp_sessions order by created_at limit 1), n, 1, at from given",
    ExpiredKind.HEARTBEATS: "insert into heartbeats (process, instance, beat_at) select 'worker', n, at from given",
    ExpiredKind.SIGN_IN_ATTEMPTS: "insert into sign_in_attempts (key, ip, occurred_at) select '', n, at from given",
    ExpiredKind.SIGNED_OUT: "insert into signed_out (sign_in_id, expires_at) select md5(n)::uuid, at from given",
    ExpiredKind.SECURITY_EVENTS: "insert into security_events (kind, subject, occurred_at) select 'x', n,"
    " at from given",
    ExpiredKind.TIMELINE: "insert into session_timeline (session_id, user_id, kind, action, occurred_at)"
    " select s.id, s.user_id, 'health', n, at from given, whatsapp_sessions s",
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
    found = count_expired()
    done = run_cleanup(cleaner, *SIMPLE)
    for kind, query in LEFT.items():
        assert {one for (one,) in database.execute(query)} == kept[kind], kind
    assert done.counts == found == {kind: gone for kind in SIMPLE if (gone := len(rows) - len(kept[kind]))}
    assert count_expired() == {}


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
    assert run_cleanup(cleaner, ExpiredKind.EVENTS).counts.get(ExpiredKind.EVENTS, 0) == len(gone)
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
    assert run_cleanup(cleaner, ExpiredKind.CODES).counts.get(ExpiredKind.CODES, 0) == (old_qr or old_code)
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
    session_id = insert_ended_session(database, owner, ago(hours=hours), status=status)
    database.execute(
        "update whatsapp_sessions set pairing_phone = '5511', cleared_at = case when %s then now() end,"
        " check_at = case when %s then now() end",
        cleared, check_due,
    )  # fmt: skip
    for age, state in written:
        insert_message(database, owner, session_id, ago(hours=age), state)
    expired = status is Status.DISCONNECTED and hours > 7 * 24 and not check_due
    needed = any(age < 365 * 24 or state == "queued" for age, state in written)
    expected = int(expired and not (needed and cleared))
    assert count_expired().get(ExpiredKind.SESSIONS, 0) == expected
    assert run_cleanup(cleaner, ExpiredKind.SESSIONS).counts.get(ExpiredKind.SESSIONS, 0) == expected
    left = database.execute("select pairing_phone is null and cleared_at > updated_at from whatsapp_sessions")
    if expired and not needed:
        assert left == []
        return
    assert left == [(expired and not cleared,)]
    assert database.one("select count(*) from messages") == len(written)
    assert count_expired().get(ExpiredKind.SESSIONS, 0) == 0


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
    assert run_cleanup(cleaner, ExpiredKind.JOBS).counts == {ExpiredKind.JOBS: 4}
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
    assert count_expired() == {ExpiredKind.HEARTBEATS: 1}
    monkeypatch.setenv("CLEANUP_HEARTBEATS_DAYS", "4")
    settings.get.cache_clear()
    assert count_expired() == {}


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
    done = run_cleanup(cleaner)
    assert (done.state, done.gone) == (RunState.FAILED, 0)
    assert done.error
    assert retention.request_hourly_run() is not None


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
