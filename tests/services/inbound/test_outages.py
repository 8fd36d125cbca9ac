"""When somebody was away: what is noted, by whom, and who sees it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from services.db.actor import Actor
from services.errors import Forbidden
from services.inbound import outages
from services.inbound.outages import HeartbeatMonitor, OutageReason, OutageState
from tests.support.databases import Database
from tests.support.sessions import connected


def rows(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("select reason, state, to_at - from_at from outages order by created_at")


def test_it_notes_what_a_receiver_missed_while_it_was_not_there(user: Actor, database: Database) -> None:
    connected(database, user)
    HeartbeatMonitor().beat()
    assert rows(database) == [], "nobody knows of a time before the first"
    database.execute("update heartbeats set beat_at = now() - interval '7 minutes', instance = 'earlier:1'")
    pulse = HeartbeatMonitor()
    pulse.beat()
    ((reason, state, length),) = rows(database)
    assert (reason, state) == ("receiver", "waiting")
    assert timedelta(minutes=7) <= length < timedelta(minutes=8)
    pulse.beat()
    assert len(rows(database)) == 1, "one that beats has missed nothing"


def test_it_notes_even_a_short_absence(user: Actor, database: Database) -> None:
    connected(database, user)
    HeartbeatMonitor().beat()
    HeartbeatMonitor().beat()
    assert len(rows(database)) == 1


def test_it_knows_from_the_newest_event_where_the_heartbeats_are_gone(user: Actor, database: Database) -> None:
    connected(database, user)
    database.execute(
        "insert into events (kind, request_id, body, received_at)"
        " values ('onack', gen_random_uuid(), '{}', now() - interval '3 days')"
    )
    HeartbeatMonitor().beat()
    assert rows(database)[0][2] >= timedelta(days=3)


def test_it_notes_when_nothing_could_be_put_down(user: Actor, database: Database) -> None:
    connected(database, user)
    pulse = HeartbeatMonitor()
    pulse.beat()
    database.execute("update heartbeats set beat_at = now() - interval '40 seconds'")
    pulse.beat()
    assert rows(database)[0][0] == "database"


def test_it_notes_for_sessions_that_are_up_only(
    user: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    connected(database, user)
    connected(database, new_actor())
    database.execute("alter table whatsapp_sessions disable trigger record_outage")
    database.execute("update whatsapp_sessions set status = 'desconectado' where user_id = %s", user.user_id)
    HeartbeatMonitor().beat()
    HeartbeatMonitor().beat()
    assert len(rows(database)) == 1
    assert outages.list_own(user) == []


def test_it_makes_one_of_two_that_wait(user: Actor, database: Database) -> None:
    connected(database, user)
    for began, ended in (("40 minutes", "30 minutes"), ("20 minutes", "10 minutes")):
        database.execute(
            "select app.record_outage('receiver', now() - %s::interval, now() - %s::interval, null, null)", began, ended
        )
    ((_reason, _state, length),) = rows(database)
    assert timedelta(minutes=30) <= length < timedelta(minutes=31)


def test_it_notes_what_a_session_missed_once_it_is_back(user: Actor, database: Database) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set last_proof_at = now() - interval '2 hours'")
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    assert rows(database)[0][:2] == ("session", "open")
    assert outages.list_own(user) == [], "it lasts"
    database.execute("update whatsapp_sessions set status = 'pareando'")
    database.execute("update whatsapp_sessions set status = 'conectado'")
    ((reason, state, length),) = rows(database)
    assert (reason, state) == ("session", "waiting")
    assert length >= timedelta(hours=2), "since it was last proved to be there"


def test_it_notes_nothing_for_the_first_pairing(user: Actor, database: Database) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'; delete from outages")
    database.execute("update whatsapp_sessions set status = 'conectado'")
    assert rows(database) == []


def test_it_notes_what_the_sessions_of_a_server_missed(
    user: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    connected(database, user, "http://127.0.0.1:9")
    connected(database, new_actor(), "http://127.0.0.1:10")
    database.execute("insert into wpp_servers (url, healthy, state_since) values ('http://127.0.0.1:9', true, now())")
    database.execute("update wpp_servers set healthy = false, state_since = now() - interval '5 minutes'")
    assert rows(database) == []
    database.execute("update wpp_servers set healthy = true, state_since = now()")
    ((reason, _state, length),) = rows(database)
    assert reason == "server"
    assert length >= timedelta(minutes=5)
    assert len(outages.list_own(user)) == 1


def test_it_shows_staff_everybodys_gaps_but_no_chat(
    user: Actor, staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    connected(database, user)
    database.execute("select app.record_outage('receiver', now() - interval '1 hour', now(), null, null)")
    database.execute(
        "update outages set state = 'done', failed = 1;"
        "insert into outage_chats (outage_id, address, user_id, state, failure)"
        " select id, '5511987654321@c.us', user_id, 'failed', 'too_deep' from outages"
    )
    (outage,) = outages.list_outages(staff)
    assert (outage.sessions, outage.unread, outage.given_up, outage.failed) == (1, 0, 0, 1)
    (gap,) = outages.list_session_outages(staff, outage)
    assert (gap.email, gap.reason, gap.state, gap.failed) == (user.email, OutageReason.RECEIVER, OutageState.DONE, 1)
    assert outages.list_lost_chats(staff, gap.id) == []
    assert [one.failure for one in outages.list_lost_chats(user, gap.id)] == ["too_deep"]
    assert outages.list_own(new_actor()) == []
    for ask in (outages.list_outages, lambda actor: outages.list_session_outages(actor, outage)):
        with pytest.raises(Forbidden):
            ask(user)


def test_it_makes_one_outage_of_what_all_missed_at_one_time(
    staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    for _ in range(3):
        connected(database, new_actor())
    database.execute("select app.record_outage('receiver', now() - interval '2 hours', now(), null, null)")
    database.execute(
        "update outages set state = case n when 1 then 'done' when 2 then 'failed' else 'reading' end, recovered = n"
        " from (select id, row_number() over (order by id) n from outages) k where k.id = outages.id"
    )
    connected(database, new_actor())
    database.execute("select app.record_outage('database', now() - interval '1 hour', now(), null, null)")
    later, earlier = outages.list_outages(staff)
    assert (later.reason, later.sessions, later.unread) == (OutageReason.DATABASE, 4, 4)
    assert (earlier.reason, earlier.sessions, earlier.unread, earlier.given_up, earlier.recovered) == (
        OutageReason.RECEIVER, 3, 1, 1, 6,
    )  # fmt: skip
    assert [one.state for one in outages.list_session_outages(staff, earlier)][-1] == OutageState.DONE
    assert len(outages.list_session_outages(staff, later)) == 4


def test_it_drops_what_is_long_over(user: Actor, database: Database) -> None:
    connected(database, user)
    database.execute("select app.record_outage('receiver', now(), now(), null, null)")
    database.execute("update outages set state = 'done', done_at = now() - interval '91 days'")
    outages.purge_expired()
    assert rows(database) == []
