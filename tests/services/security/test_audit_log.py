"""The audit log and the security events, against a real database."""

from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services import log, settings
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.security import audit_log, audit_search
from tests.support.databases import Database


def test_it_records_who_did_what_with_the_request_id(database: Database, user: Actor) -> None:
    request_id = log.bind_request_id()
    subject = str(uuid4())
    with transaction(user) as tx:
        audit_log.record(tx, user, "session.connect", subject, how="qr", tries=2)
    rows = database.execute("select actor_id, actor_role, action, subject, detail, request_id from audit_log")
    assert rows == [(user.user_id, "user", "session.connect", subject, {"how": "qr", "tries": 2}, request_id)]


def test_it_records_the_system_in_nobodys_name(database: Database) -> None:
    with transaction(SYSTEM) as tx:
        audit_log.record(tx, SYSTEM, "cleanup.run", None, removed=3)
        audit_log.record_security_event(tx, "webhook_refused", "user_x", "203.0.113.9", reason="secret")
    assert database.execute("select actor_id, actor_role from audit_log") == [(None, "system")]
    events = database.execute("select kind, subject, ip, detail, actor_id from security_events")
    assert events == [("webhook_refused", "user_x", "203.0.113.9", {"reason": "secret"}, None)]


def test_it_leaves_no_record_of_what_was_rolled_back(database: Database, user: Actor) -> None:
    def fail_after_recording() -> None:
        with transaction(user) as tx:
            audit_log.record(tx, user, "session.connect", None)
            audit_log.record_security_event(tx, "odd", None, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_recording()
    assert database.one("select (select count(*) from audit_log) + (select count(*) from security_events)") == 0


def test_it_masks_secrets_before_they_are_kept(database: Database, user: Actor) -> None:
    log.configure("test")
    secret = settings.get().auth.cookie_key.get_secret_value()
    with transaction(user) as tx:
        audit_log.record(tx, user, "a.b", None, password="hunter2hunter2", note=f"key {secret}", odd="a\0b")
        audit_log.record_security_event(tx, "odd", None, None, nested={"qrcode": "2@abc", "ok": "yes"})
    kept = database.one("select (select detail::text from audit_log) || (select detail::text from security_events)")
    assert "hunter2" not in kept
    assert secret not in kept
    assert "2@abc" not in kept
    assert '"ok": "yes"' in kept


INSERT = text("insert into audit_log (actor_id, actor_role, action) values (:actor_id, :role, 'x')")


def test_it_lets_nobody_write_in_anothers_name_or_role(user: Actor, staff: Actor) -> None:
    with transaction(user) as tx:
        tx.execute(INSERT, {"actor_id": user.user_id, "role": "user"})
    for actor, actor_id, role in (
        (user, staff.user_id, "operator"),
        (user, None, "system"),
        (user, user.user_id, "admin"),
        (staff, user.user_id, "operator"),
        (SYSTEM, user.user_id, "user"),
    ):
        with pytest.raises(ProgrammingError, match="row-level security"), transaction(actor) as tx:
            tx.execute(INSERT, {"actor_id": actor_id, "role": role})
    forged = text("insert into security_events (kind, actor_id) values ('x', :actor_id)")
    with pytest.raises(ProgrammingError, match="row-level security"), transaction(user) as tx:
        tx.execute(forged, {"actor_id": staff.user_id})


@pytest.mark.parametrize("table", ["audit_log", "security_events"])
def test_it_shows_the_records_to_staff_alone(user: Actor, staff: Actor, table: str) -> None:
    with transaction(user) as tx:
        audit_log.record(tx, user, "a.b", None)
        audit_log.record_security_event(tx, "odd", None, None)
    for actor, expected in ((user, 0), (staff, 1)):
        with transaction(actor) as tx:
            assert tx.execute(text(f"select count(*) from {table}")).scalar_one() == expected


@pytest.mark.parametrize(
    "statement", ["update audit_log set action = 'y'", "delete from audit_log", "truncate audit_log"]
)
def test_it_never_changes_the_audit_log_not_even_for_its_owner(
    database: Database, user: Actor, staff: Actor, statement: str
) -> None:
    with transaction(user) as tx:
        audit_log.record(tx, user, "a.b", None)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        database.execute(statement)
    for actor in (user, staff, SYSTEM):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction(actor) as tx:
            tx.execute(text(statement))
    assert database.execute("select action from audit_log") == [("a.b",)]


def test_it_knows_every_role_that_the_policy_compares(database: Database, new_actor: object) -> None:
    assert callable(new_actor)
    for role in Role:
        actor = new_actor(role)
        with transaction(actor) as tx:
            audit_log.record(tx, actor, "a.b", None)
    assert {row[0] for row in database.execute("select actor_role from audit_log")} == {"admin", "operator", "user"}


def test_it_counts_all_that_a_filter_shows_also_without_any(staff: Actor, database: Database) -> None:
    database.execute(
        "insert into audit_log (actor_role, action) select 'owner', 'test.' || n % 2 from generate_series(1, 60) n"
    )
    first, second = (audit_search.search_actions(staff, audit_search.Filter(), page) for page in (1, 2))
    assert (len(first.rows), len(second.rows), first.total) == (50, 10, 60)
    assert audit_search.search_actions(staff, audit_search.Filter(kind="test.1")).total == 30
    database.execute("insert into security_events (kind) values ('x'), ('y')")
    assert audit_search.search_security_events(staff, audit_search.Filter()).total == 2
