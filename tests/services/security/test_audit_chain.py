"""The audit log's chain, against a real database: unbroken under load, and broken by whoever touches it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import Forbidden, InvalidInput
from services.security import audit_chain, audit_log
from tests.support.databases import Database
from tests.support.paths import ROOT

THREADS = 8
EACH = 50


def write(actor: Actor, count: int = 1) -> None:
    for number in range(count):
        with transaction(actor) as tx:
            audit_log.record(tx, actor, "thing.do", "ação", n=number, when="ontem", nothing=None)


def behind_the_triggers(database: Database, statement: str) -> None:
    """What somebody who owns the database can do."""
    database.execute("alter table audit_log disable trigger all")
    database.execute(statement)
    database.execute("alter table audit_log enable trigger all")


@pytest.fixture
def ten(database: Database, staff: Actor) -> Database:
    write(staff, 10)
    return database


def test_it_chains_concurrent_writers_without_a_gap(database: Database, staff: Actor) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _one: write(staff, EACH), range(THREADS)))
    verdict = audit_chain.verify(staff)
    assert (verdict.records, verdict.broken, verdict.sound) == (THREADS * EACH, None, True)
    assert verdict.head == database.one("select encode(hash, 'hex') from audit_log order by seq desc limit 1")


def test_it_gives_a_rolled_back_record_no_place(ten: Database, staff: Actor) -> None:
    with pytest.raises(ZeroDivisionError), transaction(staff) as tx:
        audit_log.record(tx, staff, "a.b", None)
        raise ZeroDivisionError
    write(staff)
    assert ten.execute("select seq from audit_log order by seq") == [(n,) for n in range(1, 12)]
    assert audit_chain.verify(SYSTEM).sound


def test_it_verifies_in_batches(ten: Database, staff: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "BATCH_SIZE", 3)
    steps: list[tuple[int, int]] = []
    assert audit_chain.verify(staff, on_progress=lambda done, of: steps.append((done, of))).sound
    assert steps == [(3, 10), (6, 10), (9, 10), (10, 10)]
    behind_the_triggers(ten, "update audit_log set action = 'thing.undo' where seq = 7")
    assert audit_chain.verify(staff).broken == 7


@pytest.mark.parametrize(
    ("damage", "broken", "fault"),
    [
        ("update audit_log set detail = '{}' where seq = 4", 4, "changed"),
        ("update audit_log set occurred_at = occurred_at + interval '1 microsecond' where seq = 10", 10, "changed"),
        ("update audit_log set request_id = 'x' where seq = 1", 1, "changed"),
        ("delete from audit_log where seq = 5", 5, "missing"),
        ("delete from audit_log where seq = 1", 1, "missing"),
        ("delete from audit_log where seq = 10", 10, "missing"),
        ("delete from audit_log where seq > 7", 8, "missing"),
        ("truncate audit_log", 1, "missing"),
        # Somebody who knows how it is computed mends the record itself, and is seen in the next one, or in the head.
        ("update audit_log a set action = 'x', hash = app.audit_digest(jsonb_populate_record(a, '{\"action\": \"x\"}'))"
         " where seq = 4", 5, "unlinked"),
        ("update audit_log a set action = 'x', hash = app.audit_digest(jsonb_populate_record(a, '{\"action\": \"x\"}'))"
         " where seq = 10", 10, "changed"),
        ("insert into audit_log (actor_role, action, seq, prev_hash, hash) values ('admin', 'x', 11, '\\x00', '\\x00')",
         11, "foreign"),
        ("insert into audit_log (actor_role, action, seq, prev_hash, hash) values ('admin', 'x', 0, '\\x00', '\\x00')",
         0, "foreign"),
    ],
)  # fmt: skip
def test_it_names_the_first_record_that_is_not_as_it_was_written(
    ten: Database, staff: Actor, damage: str, broken: int, fault: str
) -> None:
    behind_the_triggers(ten, damage)
    verdict = audit_chain.verify(staff)
    assert (verdict.broken, verdict.fault, verdict.sound) == (broken, fault, False)


REBUILD = """
do $$ declare r audit_log; last bytea := decode(repeat('00', 32), 'hex'); n bigint := 0; begin
  for r in select * from audit_log order by seq loop
    n := n + 1; r.seq := n; r.prev_hash := last; last := app.audit_digest(r);
    update audit_log set seq = n, prev_hash = r.prev_hash, hash = last where id = r.id;
  end loop;
  update audit_head set seq = n, hash = last;
end $$
"""


def test_it_knows_a_chain_that_was_rebuilt_by_a_head_kept_elsewhere(ten: Database, staff: Actor) -> None:
    kept = audit_chain.verify(staff).head
    write(staff)
    assert audit_chain.verify(staff, expect=kept).expected is True
    assert audit_chain.verify(staff, expect=audit_chain.verify(staff).head).sound
    ten.execute("alter table audit_head disable trigger all")
    behind_the_triggers(ten, "delete from audit_log where seq = 3")
    behind_the_triggers(ten, REBUILD)
    rebuilt = audit_chain.verify(staff, expect=kept)
    assert (rebuilt.records, rebuilt.broken, rebuilt.expected, rebuilt.sound) == (10, None, False, False)


def test_it_verifies_with_its_own_arithmetic(ten: Database, staff: Actor) -> None:
    """Whoever changes a record may change the database's function too."""
    ten.execute(
        "create or replace function app.audit_digest(r audit_log) returns bytea language sql as"
        " $$ select sha256(r.prev_hash) $$"
    )
    write(staff)
    assert audit_chain.verify(staff).broken == 11


def test_it_is_proved_for_staff_and_the_system_alone(ten: Database, user: Actor, staff: Actor) -> None:
    for call in (audit_chain.verify, audit_chain.verify_and_record, audit_chain.get_state):
        with pytest.raises(Forbidden):
            call(user)
    with transaction(user) as tx:
        assert tx.execute(text("select count(*) from audit_head")).scalar_one() == 0
    assert audit_chain.verify(SYSTEM).records == 10
    with pytest.raises(InvalidInput):
        audit_chain.verify(staff, expect="not hex")


def test_it_lets_nobody_move_the_head_nor_name_a_place_or_a_time(ten: Database, staff: Actor) -> None:
    for statement in ("update audit_head set seq = 3", "delete from audit_head", "truncate audit_head"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            ten.execute(statement)
        with pytest.raises(ProgrammingError, match="permission denied"), transaction(staff) as tx:
            tx.execute(text(statement))
    for column in ("occurred_at", "id", "seq", "hash", "prev_hash"):
        forged = (
            f"insert into audit_log (actor_id, actor_role, action, {column}) overriding system value"
            " values (auth.uid(), 'operator', 'x', null)"
        )
        with pytest.raises(ProgrammingError, match="permission denied"), transaction(staff) as tx:
            tx.execute(text(forged))


def test_it_remembers_the_newest_check_and_sounds_the_alarm(ten: Database, staff: Actor) -> None:
    assert audit_chain.get_state(staff).checked is None
    assert audit_chain.verify_and_record(staff).sound
    state = audit_chain.get_state(staff)
    assert state.checked is not None
    assert (state.records, state.checked.records, state.checked.sound, state.checked.by) == (11, 10, True, staff.email)
    behind_the_triggers(ten, "delete from audit_log where seq = 2")
    assert audit_chain.verify_and_record(staff).broken == 2
    checked = audit_chain.get_state(staff).checked
    assert checked is not None
    assert (checked.sound, checked.broken) == (False, 2)
    assert ten.execute("select kind, subject from security_events") == [("audit_broken", "2")]


def verify_by_command(database: Database, tmp_path: object, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": database.url, "DATA_DIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "manage.py", "audit-verify", *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_prints_the_head_on_the_command_line_and_fails_where_the_chain_is_broken(
    ten: Database, staff: Actor
) -> None:
    data = os.environ["DATA_DIR"]
    done = verify_by_command(ten, data)
    assert (done.returncode, done.stdout) == (0, f"10 records, unbroken, head {audit_chain.verify(staff).head}\n")
    other = verify_by_command(ten, data, "--expect", "ab" * 32)
    assert (other.returncode, "without the expected head" in other.stderr) == (1, True)
    behind_the_triggers(ten, "delete from audit_log where seq = 10")
    broken = verify_by_command(ten, data)
    assert (broken.returncode, broken.stdout, broken.stderr) == (
        1,
        "",
        "error: record 10 of the audit log is missing\n",
    )
