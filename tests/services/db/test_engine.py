"""Actor-scoped transactions on a real PostgreSQL: the role and the claims, and that nothing of them stays behind."""

import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from services import settings
from services.db import engine
from services.db.actor import ANONYMOUS, SYSTEM, Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.engine import get_console_engine, get_system_engine, transaction
from services.errors import ConfigurationError, DatabaseUnavailable
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sessions import connected

WHO = "select session_user::text, current_user::text, current_setting('request.jwt.claims', true)"
THREADS = 8
TRANSACTIONS = 60


class Interrupted(BaseException):
    """What ends a Streamlit script or a process is no Exception either."""


def sessions_of(actor: Actor) -> int:
    with transaction(actor) as tx:
        return int(tx.execute(text("select count(*) from whatsapp_sessions")).scalar_one())


def note(tx: Any, actor: Actor) -> None:
    tx.execute(text("insert into security_events (kind, actor_id) values ('seen', :who)"), {"who": actor.user_id})


def noted(database: Database) -> int:
    return int(database.one("select count(*) from security_events where kind = 'seen'"))


# --- one transaction --------------------------------------------------------------------------------------------------


def test_it_runs_a_person_as_authenticated_with_their_claims(user: Actor) -> None:
    with transaction(user) as tx:
        login, role, claims = tx.execute(text(WHO)).one()
    assert (login, role) == ("plushify_console", "authenticated")
    assert json.loads(claims) == {
        "sub": str(user.user_id),
        "role": "authenticated",
        "app_metadata": {"role": "user"},
    }


def test_it_runs_the_system_as_service_role_and_nobody_as_the_login_itself(database: Database) -> None:
    with transaction(SYSTEM) as tx:
        assert tx.execute(text(WHO)).one()[:2] == ("plushify_system", "service_role")
    with transaction(ANONYMOUS) as tx:
        assert tx.execute(text(WHO)).one()[:2] == ("plushify_console", "plushify_console")


def test_it_commits_at_the_end_of_the_block(database: Database, user: Actor) -> None:
    with transaction(user) as tx:
        note(tx, user)
        assert noted(database) == 0
    assert noted(database) == 1


@pytest.mark.parametrize("error", [RuntimeError, Interrupted, KeyboardInterrupt])
def test_it_rolls_back_whatever_ends_the_block(database: Database, user: Actor, error: type[BaseException]) -> None:
    def work() -> None:
        with transaction(user) as tx:
            note(tx, user)
            raise error

    with pytest.raises(error):
        work()
    assert noted(database) == 0
    assert sessions_of(user) == 0


def test_it_rolls_back_on_an_error_of_the_database_and_passes_it_on(database: Database, user: Actor) -> None:
    def work(statement: str) -> None:
        with transaction(user) as tx:
            note(tx, user)
            tx.execute(text(statement), {"who": user.user_id})

    with pytest.raises(IntegrityError):
        work("insert into whatsapp_sessions (user_id, session_id, status) values (:who, 'x', 'desconectado')")
    with pytest.raises(ProgrammingError):
        work("select * from nowhere where id = :who")
    assert noted(database) == 0


def test_it_quotes_no_parameter_in_an_error(user: Actor) -> None:
    with pytest.raises(DBAPIError) as refused, transaction(user) as tx:
        tx.execute(text("select * from nowhere where body = :body"), {"body": "um segredo"})
    assert "um segredo" not in str(refused.value)


@pytest.mark.parametrize("kind", ["person", "system"])
@pytest.mark.parametrize("fails", [False, True])
def test_it_leaves_no_role_and_no_claims_on_the_connection(user: Actor, kind: str, fails: bool) -> None:
    actor, pool = (user, get_console_engine()) if kind == "person" else (SYSTEM, get_system_engine())
    for _ in range(3):
        try:
            with transaction(actor) as tx:
                backend = tx.execute(text("select pg_backend_pid()")).scalar_one()
                if fails:
                    raise RuntimeError
        except RuntimeError:
            pass
        assert left_on(pool) == [(backend, True, "")]


def left_on(pool: Engine) -> list[tuple[Any, ...]]:
    """Of the pooled connection: its backend, whether it is its login's own role again, and its claims."""
    raw = pool.raw_connection()
    try:
        return raw.driver_connection.execute(  # type: ignore[union-attr, no-any-return]
            "select pg_backend_pid(), current_user = session_user,"
            " coalesce(current_setting('request.jwt.claims', true), '')"
        ).fetchall()
    finally:
        raw.close()


@pytest.mark.parametrize("pool", [get_console_engine, get_system_engine])
def test_it_runs_no_statement_without_an_actor(database: Database, pool: Callable[[], Engine]) -> None:
    with pool().connect() as connection, pytest.raises(KeyError):
        connection.execute(text("select 1"))
    with pytest.raises(KeyError), pool().begin():
        pass


def test_it_needs_a_database_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    forget_process_state()
    with pytest.raises(ConfigurationError, match="DATABASE_URL"), transaction(SYSTEM):
        pass
    forget_process_state()


# --- many at once -----------------------------------------------------------------------------------------------------


def test_it_mixes_nobody_up_under_load(
    database: Database, new_actor: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few connections, many people, and a third of the transactions fails in one way or another."""
    monkeypatch.setattr(engine, "POOL_SIZE", 2)
    people = [new_actor() for _ in range(5)]
    for actor in people:
        connected(database, actor)
    staff = new_actor(Role.ADMIN)
    leaks: list[str] = []
    done: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(TRANSACTIONS):
            actor = chance.choice([*people, staff, SYSTEM, ANONYMOUS])
            try:
                leaks.extend(_look_around(actor, chance.random()))
            except (RuntimeError, ProgrammingError, DatabaseUnavailable) as error:
                done.append(type(error).__name__)
            else:
                done.append("committed")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert leaks == []
    assert len(done) == THREADS * TRANSACTIONS
    assert {"committed", "RuntimeError", "ProgrammingError", "DatabaseUnavailable"} <= set(done)
    assert get_console_engine().pool.checkedout() == 0


def _look_around(actor: Actor, fate: float) -> list[str]:
    """What an actor's transaction sees that it should not; then it ends as `fate` has it."""
    leaks = []
    with transaction(actor) as tx:
        _login, role, claims = tx.execute(text(WHO)).one()
        expected = {"anonymous": "plushify_console", "person": "authenticated", "system": "service_role"}[actor.kind]
        if role != expected or json.loads(claims) != actor.claims():
            leaks.append(f"{actor.kind} ran as {role} with {claims}")
        if actor.role is Role.USER:
            owners = tx.execute(text("select user_id from whatsapp_sessions")).scalars().all()
            if owners != [actor.user_id]:
                leaks.append(f"{actor.user_id} sees {owners}")
        if fate < 0.1:
            raise RuntimeError
        if fate < 0.2:
            tx.execute(text("select * from nowhere"))
        if fate < 0.25:
            tx.execute(text("select pg_terminate_backend(pg_backend_pid())"))
    return leaks


def test_it_says_that_the_database_is_unavailable_when_no_connection_comes_free(
    user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_SIZE", 1)
    monkeypatch.setattr(engine, "POOL_TIMEOUT_SECONDS", 0.2)
    with transaction(user), transaction(user), pytest.raises(DatabaseUnavailable), transaction(user):
        pass
    assert sessions_of(user) == 0


def test_it_gives_the_connection_back_when_the_role_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_SIZE", 1)
    monkeypatch.setattr(engine, "POOL_TIMEOUT_SECONDS", 0.2)
    stranger = Actor(SYSTEM.kind)
    monkeypatch.setattr(Actor, "database_role", "no_such_role")
    kept = []
    for _ in range(5):
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refused, transaction(stranger):
            pass
        kept.append(refused.value)
    assert get_system_engine().pool.checkedout() == 0


# --- a database that goes away ----------------------------------------------------------------------------------------


def test_it_says_so_when_the_connection_is_cut_under_a_transaction(database: Database, user: Actor) -> None:
    def work() -> None:
        with transaction(user) as tx:
            note(tx, user)
            backend = tx.execute(text("select pg_backend_pid()")).scalar_one()
            database.execute("select pg_terminate_backend(%s)", backend)
            tx.execute(text("select 1"))

    with pytest.raises(DatabaseUnavailable):
        work()
    assert noted(database) == 0
    assert sessions_of(user) == 0


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server that may be stopped without hurting the other tests."""
    binaries = os.environ.get("PLUSHIFY_TEST_PG_BIN")
    folder = Path(tempfile.mkdtemp(prefix="plushify-engine-"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder, Path(binaries) if binaries else None) as running:
        yield running
    shutil.rmtree(folder)


def test_it_recovers_from_a_restart_of_the_database(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYSTEM_DATABASE_URL", server.url())
    monkeypatch.setenv("DATABASE_URL", server.url())
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    forget_process_state()

    def ask() -> int:
        with transaction(SYSTEM) as tx:
            return int(tx.execute(text("select 1")).scalar_one())

    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute("create role service_role")
    assert ask() == 1
    server.stop()
    before = time.monotonic()
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable) as refused:
            ask()
        assert refused.value.safe_to_retry
    assert time.monotonic() - before < 10
    server.start()
    assert ask() == 1
    forget_process_state()


def test_it_gives_staff_no_more_than_their_claim(staff: Actor, user: Actor, database: Database) -> None:
    connected(database, user)
    assert sessions_of(staff) == 1
    assert sessions_of(person(uuid4(), Role.USER)) == 0
