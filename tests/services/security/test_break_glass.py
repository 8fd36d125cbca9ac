"""Breaking the glass, against a real database."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from services.db.actor import Actor, Role
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.fleet import session
from services.security import break_glass
from services.security.break_glass import Scope
from tests.support.databases import Database

REASON = "Chamado 4711: o QR não aparece"


def pairing(database: Database, actor: Actor) -> None:
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, pairing_started_at, qr_urlcode, qr_received_at,"
        " qr_expires_at, qr_count, phone_code, phone_code_at, pairing_phone)"
        " values (%s, %s, 'pareando', now(), '2@abc', now(), now() + interval '1 min', 1, 'ABCD-EFGH', now(),"
        " '551199')",
        actor.user_id, f"user_{actor.user_id}",
    )  # fmt: skip


def sees(staff: Actor, user: Actor) -> tuple[bool, str | None]:
    found = session.get(staff, user.user_id)
    assert found is not None
    return found.qr is not None, found.phone_code


def broken_by_sql(actor: Actor, scope: str, user_id: UUID | None) -> bool:
    with transaction(actor) as tx:
        return bool(tx.execute(text("select app.has_break_glass(:u, :s)"), {"u": user_id, "s": scope}).scalar_one())


def test_it_shows_staff_a_users_code_only_while_their_glass_is_broken(
    database: Database, user: Actor, staff: Actor, new_actor: Callable[..., Actor]
) -> None:
    pairing(database, user)
    assert user.user_id is not None
    colleague, other = new_actor(Role.ADMIN), new_actor()
    pairing(database, other)
    assert sees(staff, user) == (False, None)
    broken = break_glass.grant_access(staff, user.user_id, "qr", REASON)
    assert sees(staff, user) == (True, "ABCD-EFGH")
    assert sees(colleague, user) == (False, None)
    assert sees(staff, other) == (False, None)
    assert not broken_by_sql(staff, "chats", user.user_id)
    assert break_glass.get_active_grant(staff, user.user_id, "qr") == broken
    assert broken.expires_at - broken.started_at == timedelta(minutes=15)
    ended = break_glass.end_access(staff, broken.id)
    assert ended.ended_at is not None
    assert sees(staff, user) == (False, None)
    assert break_glass.get_active_grant(staff, user.user_id, "qr") is None
    assert break_glass.end_access(staff, broken.id) == ended
    actions = database.execute("select action, subject, detail ->> 'reason' from audit_log order by seq")
    assert actions == [("glass.break", f"user_{user.user_id}", REASON), ("glass.mend", f"user_{user.user_id}", None)]


def test_it_ends_by_itself(database: Database, user: Actor, staff: Actor) -> None:
    pairing(database, user)
    assert user.user_id is not None
    break_glass.grant_access(staff, user.user_id, Scope.QR, REASON, 60)
    database.execute("alter table break_glass_grants disable trigger all")
    database.execute("update break_glass_grants set started_at = now() - interval '1 hour', expires_at = now()")
    assert sees(staff, user) == (False, None)
    assert not broken_by_sql(staff, "qr", user.user_id)
    assert break_glass.get_active_grant(staff, user.user_id, Scope.QR) is None


@pytest.mark.parametrize(
    ("reason", "minutes", "error"),
    [
        ("curto", 15, break_glass.ReasonTooShort),
        ("a      b      c", 15, break_glass.ReasonTooShort),
        ("x" * 501, 15, break_glass.ReasonTooLong),
        (REASON, 61, break_glass.InvalidMinutes),
        (REASON, 0, break_glass.InvalidMinutes),
    ],
)
def test_it_asks_for_a_reason_and_a_limit(staff: Actor, reason: str, minutes: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        break_glass.grant_access(staff, uuid4(), "qr", reason, minutes)


INSERT = (
    "insert into break_glass_grants (actor_id, user_id, scope, reason, expires_at)"
    " values (:actor, :user, :scope, :reason, now() + cast(:for as interval))"
)


def test_it_is_refused_by_the_database_whatever_the_code_does(
    database: Database, user: Actor, staff: Actor, new_actor: Callable[..., Actor]
) -> None:
    victim = new_actor()
    assert victim.user_id is not None
    with pytest.raises(Forbidden):
        break_glass.grant_access(user, victim.user_id, "qr", REASON)
    sound = {"actor": user.user_id, "user": victim.user_id, "scope": "qr", "reason": REASON, "for": "5 minutes"}
    for actor in (user, staff):  # nobody but staff, and staff not in another's name
        with pytest.raises(ProgrammingError, match="row-level security"), transaction(actor) as tx:
            tx.execute(text(INSERT), sound)
    for wrong in ({"for": "61 minutes"}, {"for": "0"}, {"reason": "curto"}, {"scope": "everything"}):
        with pytest.raises(IntegrityError), transaction(staff) as tx:
            tx.execute(text(INSERT), {**sound, "actor": staff.user_id, **wrong})
    # A glass in a user's name, however it came there, opens nothing to them.
    database.execute(
        "insert into break_glass_grants (actor_id, user_id, scope, reason, expires_at) values (%s, %s, 'qr', %s,"
        " now() + '5 min')",
        user.user_id, victim.user_id, REASON,
    )  # fmt: skip
    assert not broken_by_sql(user, "qr", victim.user_id)


def test_it_changes_nothing_of_a_broken_glass_but_its_end(database: Database, user: Actor, staff: Actor) -> None:
    assert user.user_id is not None
    broken = break_glass.grant_access(staff, user.user_id, "qr", REASON)
    for statement in (
        "update break_glass_grants set reason = 'another reason'",
        "update break_glass_grants set expires_at = expires_at + interval '1 minute'",
        "delete from break_glass_grants",
        "truncate break_glass_grants",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            database.execute(statement)
    colleague = text("update break_glass_grants set ended_at = now()")
    with transaction(user) as tx:
        assert tx.execute(colleague).rowcount == 0
    break_glass.end_access(staff, broken.id)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        database.execute("update break_glass_grants set ended_at = null")
    with pytest.raises(NotFound):
        break_glass.end_access(staff, uuid4())
