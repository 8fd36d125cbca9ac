"""A session's timeline: written by the rows themselves, read by its owner and by staff."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import commands, timeline, transitions
from services.fleet.session import Proof
from services.fleet.timeline import Entry, Kind
from tests.support.databases import Database
from tests.support.sessions import connected


def told(actor: Actor, user: Actor) -> list[tuple[Kind, str]]:
    assert user.user_id is not None
    return [(entry.kind, entry.what) for entry in timeline.list_entries(actor, user.user_id).entries]


def newest(actor: Actor, user: Actor) -> Entry:
    assert user.user_id is not None
    return timeline.list_entries(actor, user.user_id).entries[0]


def test_it_tells_what_staff_did_and_what_became_of_it(
    server: SandboxServer, user: Actor, staff: Actor, database: Database
) -> None:
    commands.connect(staff, user.user_id)
    commands.disconnect(staff, user.user_id)
    assert told(staff, user) == [
        (Kind.STAFF, "session.disconnect"),
        (Kind.STATE, "desconectado"),
        (Kind.STAFF, "session.connect"),
        (Kind.STATE, "pareando"),
    ]
    assert newest(staff, user).by == staff.email
    assert told(user, user) == told(staff, user)
    assert newest(user, user).by is None


def test_it_tells_nothing_of_proofs_that_change_nothing(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    now = database.one("select now()")
    with transaction(SYSTEM) as tx:
        transitions.record_proof(tx, f"user_{user.user_id}", Proof.ACK, now)
    assert told(staff, user) == []


def test_it_says_why_a_session_ended(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    with transaction(SYSTEM) as tx:
        transitions.apply_report(
            tx, f"user_{user.user_id}", "disconnectedMobile", database.one("select now()"), current=True
        )
    assert newest(staff, user).what == "desconectado"
    assert newest(staff, user).detail["failure"] == "phone_logged_out"


def test_it_masks_secrets_and_keeps_the_outcome(user: Actor, staff: Actor, database: Database) -> None:
    session_id = connected(database, user)
    assert user.user_id is not None
    with transaction(SYSTEM) as tx:
        timeline.add_entry(tx, session_id, user.user_id, Kind.HEALTH, "restart", "failed", attempt=2, token="abc")
    entry = newest(staff, user)
    assert (entry.kind, entry.what, entry.outcome, entry.detail["attempt"]) == (Kind.HEALTH, "restart", "failed", 2)
    assert "abc" not in str(entry.detail)


@pytest.mark.parametrize("statement", ["update session_timeline set action = 'x'", "delete from session_timeline"])
def test_it_can_be_rewritten_by_nobody(user: Actor, staff: Actor, database: Database, statement: str) -> None:
    connected(database, user)
    for actor in (user, staff, SYSTEM):
        with (
            pytest.raises(ProgrammingError, match="permission denied") as refused,
            transaction(actor) as tx,
        ):
            tx.execute(text(statement))
        assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


def test_it_reads_one_session_by_its_index(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute(
        "insert into session_timeline (session_id, user_id, kind, action)"
        " select %s, %s, 'health', 'probe' from generate_series(1, 3000)",
        session_id,
        user.user_id,
    )
    database.execute("analyze session_timeline")
    plan = database.execute(
        "explain select * from session_timeline where session_id = '00000000-0000-0000-0000-000000000001'"
        " order by id desc limit 50"
    )
    assert "session_timeline_of_session" in str(plan)
