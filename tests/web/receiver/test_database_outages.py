"""A database that is away, slow or broken: the receiver holds what comes, says so, and loses nothing."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import psycopg
import pytest
import structlog

from services import settings
from services.db.embedded import EmbeddedPostgres
from services.inbound import event_store
from tests.support.databases import Database, unreachable_database
from tests.support.waiting import wait_for
from tests.support.webhook_posts import Receiver, count_refusals, list_stored, make_message


def test_it_survives_lost_connections_and_loses_nothing(receiver: Receiver, session: str, database: Database) -> None:
    assert receiver.post(make_message(0), session).status_code == 200
    for number in range(1, 6):
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename = 'plushify_system' and datname = current_database()"
        )
        assert receiver.post(make_message(number), session).status_code == 200
    assert database.one("select count(distinct dedupe_key) from events where verdict = 'received'") == 6


def test_it_holds_a_delivery_while_the_database_is_away(
    database: Database, receiver: Receiver, session: str, cluster: EmbeddedPostgres
) -> None:
    assert receiver.post(make_message(0), session).status_code == 200
    name = database.url.rpartition("/")[2].partition("?")[0]
    ours = "from pg_stat_activity where usename = 'plushify_system' and datname = %s"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as owner, ThreadPoolExecutor(1) as pool:
        owner.execute(f"alter database {name} with allow_connections false")
        try:
            owner.execute(f"select pg_terminate_backend(pid) {ours}", (name,))
            held = pool.submit(receiver.post, make_message(1), session)
            wait_for(lambda: owner.execute(f"select count(*) = 0 {ours}", (name,)).fetchone() == (True,))
            assert not held.done()
        finally:
            owner.execute(f"alter database {name} with allow_connections true")
        assert held.result(20).status_code == 200
    assert len(list_stored(database)) == 2


def test_it_says_503_when_the_database_stays_away_for_too_long(
    database: Database,
    receiver: Receiver,
    session: str,
    cluster: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert receiver.post(make_message(0), session).status_code == 200
    monkeypatch.setattr(event_store, "HOLD_SECONDS", 0.3)
    name = database.url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as owner:
        owner.execute(f"alter database {name} with allow_connections false")
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'plushify_system' and datname = %s",
            (name,),
        )
        try:
            assert receiver.post(make_message(1), session).status_code == 503
            health = httpx.get(f"{receiver.url}/healthz", timeout=20)
            assert (health.status_code, health.json()["parts"]["database"]["ok"]) == (503, False)
        finally:
            owner.execute(f"alter database {name} with allow_connections true")
    wait_for(lambda: len(list_stored(database)) == 2, what="what was refused is stored all the same")


def test_it_says_503_where_it_cannot_ask_for_a_sessions_secret(
    database: Database,
    receiver: Receiver,
    session: str,
    cluster: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_store, "HOLD_SECONDS", 0.3)
    with unreachable_database(cluster, database.one("select current_database()")):
        assert receiver.post(make_message(), session).status_code == 503
    assert receiver.post(make_message(), session).status_code == 200
    assert len(list_stored(database)) == 1


def test_it_tells_the_log_of_an_attempt_once_however_long_it_cannot_be_stored(
    database: Database, cluster: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_store, "SECURITY_FLUSH_SECONDS", 0.02)

    async def attempts() -> None:
        into = event_store.Inbox(settings.get().database.system_url.get_secret_value())
        await into.start()
        with unreachable_database(cluster, database.one("select current_database()")):
            for times, lines_then in ((2, 1), (3, 2)):
                for _time in range(times):
                    into.security_event("webhook_refused", "somebody", "192.0.2.1")
                await asyncio.to_thread(wait_for, partial(_has, told, lines_then))
        await asyncio.to_thread(wait_for, lambda: count_refusals(database) == 5)
        await into.stop()

    with structlog.testing.capture_logs() as lines:

        def told() -> list[int]:
            return [line["count"] for line in lines if line["event"] == "security_event"]

        asyncio.run(attempts())
        assert told() == [2, 3]


def _has(told: Callable[[], list[int]], count: int) -> bool:
    return len(told()) == count


def test_it_says_503_when_the_database_hangs_and_stores_it_afterwards(
    database: Database, receiver: Receiver, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert receiver.post(make_message(0), session).status_code == 200
    monkeypatch.setattr(event_store, "HOLD_SECONDS", 0.3)
    with psycopg.connect(database.url) as owner:
        owner.execute("lock table events in access exclusive mode")
        assert receiver.post(make_message(1), session).status_code == 503
    wait_for(lambda: len(list_stored(database)) == 2)


def test_healthz_names_each_part(receiver: Receiver, database: Database) -> None:
    answer = httpx.get(f"{receiver.url}/healthz")
    parts = answer.json()["parts"]
    assert answer.status_code == 503
    assert {name for name, part in parts.items() if not part["ok"]} == {"worker"}
    database.execute("insert into heartbeats (process, instance) values ('worker', 'here')")
    assert httpx.get(f"{receiver.url}/healthz").status_code == 200
