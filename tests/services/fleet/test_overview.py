"""The fleet: found, sorted, paged and counted in the database, by staff only."""

from collections.abc import Callable

import pytest

from services.db.actor import Actor
from services.errors import Forbidden
from services.fleet import health_sweep, overview
from services.fleet.incidents import Kind
from services.fleet.overview import SessionFilter, StatusCounts
from tests.support.databases import Database
from tests.support.sessions import connected, insert_pairing


def test_it_finds_sorts_and_pages_in_the_database(
    staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    people = [new_actor(email=f"{chr(97 + number % 26)}{number}_x@example.com") for number in range(60)]
    connected(database, people[3])
    first, second = (overview.list_rows(staff, page=page) for page in (1, 2))
    assert (len(first.rows), len(second.rows), first.total) == (50, 10, 60)
    emails = [row.email for row in (*first.rows, *second.rows)]
    assert emails == sorted(emails)
    assert [row.user_id for row in overview.list_rows(staff, show=SessionFilter.CONNECTED).rows] == [people[3].user_id]
    assert overview.list_rows(staff, search="551199999").total == 1
    assert overview.list_rows(staff, search="d3_x").total == 1
    assert overview.list_rows(staff, search="%").total == 0, "what is typed is looked for as it is"
    assert overview.list_rows(staff, order="last_activity", descending=True).total == 60


def test_it_counts_what_is_unread_of_each(staff: Actor, new_actor: Callable[..., Actor], database: Database) -> None:
    busy, quiet = new_actor(email="a@example.com"), new_actor(email="b@example.com")
    session_id = connected(database, busy)
    database.execute(
        "insert into contacts (session_id, user_id, address, unread) select %s, %s, n || '@g.us', n"
        " from generate_series(0, 3) n",
        session_id, busy.user_id,
    )  # fmt: skip
    assert [row.unread for row in overview.list_rows(staff).rows] == [6, 0]
    assert quiet.user_id == overview.list_rows(staff).rows[1].user_id


def test_it_finds_what_somebody_should_look_at(
    staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    proved, stale, dead = (new_actor() for _ in range(3))
    for person in (proved, stale, dead):
        connected(database, person)
    database.execute("update whatsapp_sessions set last_proof_at = now() where user_id <> %s", stale.user_id)
    database.execute(
        "insert into incidents (session_id, user_id, kind) select id, user_id, 'zombie' from whatsapp_sessions"
        " where user_id = %s",
        dead.user_id,
    )
    assert [row.user_id for row in overview.list_rows(staff, show=SessionFilter.UNPROVEN).rows] == [stale.user_id]
    (troubled,) = overview.list_rows(staff, show=SessionFilter.TROUBLED).rows
    assert (troubled.user_id, troubled.incident) == (dead.user_id, Kind.ZOMBIE)
    assert overview.get_counts(staff) == StatusCounts(3, 0, 0, 1, 0)


def test_it_knows_servers_by_their_number(staff: Actor, user: Actor, database: Database) -> None:
    connected(database, user)
    assert overview.list_rows(staff, server=1).total == 0
    (row,) = overview.list_rows(staff).rows
    assert row.server is None


def test_it_is_closed_to_users(user: Actor) -> None:
    with pytest.raises(Forbidden):
        overview.list_rows(user)
    with pytest.raises(Forbidden):
        overview.get_row(user, user.user_id)  # type: ignore[arg-type]


def test_it_counts_what_the_actor_may_see(
    user: Actor, staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    connected(database, user)
    insert_pairing(database, new_actor())
    assert (overview.get_counts(staff).connected, overview.get_counts(staff).pairing) == (1, 1)
    assert (overview.get_counts(user).connected, overview.get_counts(user).pairing) == (1, 0)


def test_it_reads_the_last_day_back(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    health_sweep.write_sample()
    database.execute("insert into fleet_samples select sampled_at - interval '25 hours', figures from fleet_samples")
    (sample,) = overview.list_samples(staff)
    assert sample.figures == StatusCounts(1, 0, 0, 1, 0)
    assert overview.list_samples(user) == []
