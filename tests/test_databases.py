"""The databases that tests share one after another: nobody may notice that somebody was there before."""

from collections.abc import Iterator

import psycopg
import pytest

from services.db.embedded import EmbeddedPostgres
from tests.support.databases import Database, DatabasePool

AN_EVENT = "insert into events (kind, verdict, request_id, body) values ('onack', 'handled', gen_random_uuid(), '')"
TABLES = """
select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""


@pytest.fixture
def pool(cluster: EmbeddedPostgres, template: str) -> Iterator[DatabasePool]:
    made = DatabasePool(cluster, template)
    yield made
    made.close()


@pytest.fixture
def used(pool: DatabasePool, cluster: EmbeddedPostgres) -> Database:
    return Database(cluster.url(pool.take()))


def name_of(database: Database) -> str:
    return str(database.one("select current_database()"))


def contents(database: Database) -> dict[str, object]:
    return {table: database.execute(f"select to_jsonb(t) from {table} t") for (table,) in database.execute(TABLES)}


def oid_of(database: Database) -> int:
    return int(database.one("select oid::bigint from pg_database where datname = current_database()"))


def next_one(pool: DatabasePool, cluster: EmbeddedPostgres, used: Database) -> Database:
    pool.give_back(name_of(used))
    return Database(cluster.url(pool.take()))


def test_it_empties_what_a_test_wrote_and_counts_from_one_again(
    pool: DatabasePool, cluster: EmbeddedPostgres, used: Database
) -> None:
    fresh = contents(used)
    number = used.one(f"{AN_EVENT} returning id")
    used.execute("insert into audit_log (actor_role, action) values ('user', 'session.connect')")
    changed = contents(used)
    assert {table for table in fresh if fresh[table] != changed[table]} == {"events", "audit_log", "audit_head"}
    oid, following = oid_of(used), next_one(pool, cluster, used)
    assert oid_of(following) == oid
    assert contents(following) == fresh
    assert following.one(f"{AN_EVENT} returning id") == number


def test_it_cuts_off_a_table_that_has_grown(pool: DatabasePool, cluster: EmbeddedPostgres, used: Database) -> None:
    used.execute(f"{AN_EVENT.replace('values (', 'select ').rstrip(')')} from generate_series(1, 2000)")
    following = next_one(pool, cluster, used)
    assert following.one("select pg_relation_size('events')") == 0
    oid, again = oid_of(following), next_one(pool, cluster, following)
    assert oid_of(again) == oid


@pytest.mark.parametrize(
    "change",
    [
        "alter table events disable row level security",
        "alter table events add careless text",
        "create policy careless on events using (true)",
        "grant select on events to anon",
        "create table left_behind ()",
        "create function app.left_behind() returns int language sql as 'select 1'",
        "alter function app.is_staff() volatile",
        "do $$ begin execute format('alter database %I set work_mem to 1024', current_database()); end $$",
        f"{AN_EVENT}; analyze events",
    ],
)
def test_it_drops_one_that_is_not_as_the_migrations_left_it(
    pool: DatabasePool, cluster: EmbeddedPostgres, used: Database, change: str
) -> None:
    for statement in change.split("; ", 1) if "analyze" in change else [change]:
        used.execute(statement)
    oid = oid_of(used)
    assert oid_of(next_one(pool, cluster, used)) != oid


def test_it_cuts_off_who_still_holds_a_connection(
    pool: DatabasePool, cluster: EmbeddedPostgres, used: Database
) -> None:
    with psycopg.connect(used.url) as forgotten:
        forgotten.execute(AN_EVENT)  # an open transaction with locks
        following = next_one(pool, cluster, used)
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(used.url)
    assert following.one("select count(*) from events") == 0
