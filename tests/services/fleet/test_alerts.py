"""Alerts: posted once in a while, retried while the address is away, and never with a secret."""

from typing import Any

import pytest

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import alerts, incidents
from services.fleet.incidents import Kind
from tests.support.alert_receiver import AlertReceiver
from tests.support.databases import Database
from tests.support.sessions import connected


def zombie(database: Database, user: Actor) -> None:
    session_id = connected(database, user)
    with transaction(SYSTEM) as tx:
        incidents.open_incidents(tx, Kind.ZOMBIE, [session_id])


def test_it_posts_what_was_found_once(alert_receiver: AlertReceiver, user: Actor, database: Database) -> None:
    zombie(database, user)
    assert alerts.send_alerts() == 1
    assert alerts.send_alerts() == 0
    (heard,) = alert_receiver.heard
    assert heard["text"] == f"{incidents.DESCRIPTIONS[Kind.ZOMBIE][0]}: user_{user.user_id}"
    assert heard["incidents"][0]["kind"] == "zombie"
    assert "5511999990000" not in str(heard)


def test_it_does_not_repeat_itself_within_the_cool_down(
    alert_receiver: AlertReceiver, user: Actor, database: Database
) -> None:
    zombie(database, user)
    alerts.send_alerts()
    again = (
        "update incidents set state = 'healed', ended_at = now();"
        "insert into incidents (session_id, user_id, server_url, kind) select session_id, user_id, server_url, kind"
        " from incidents"
    )
    database.execute(again)
    assert alerts.send_alerts() == 0
    database.execute(
        "update incidents set notified_at = now() - interval '16 minutes'; delete from incidents where id = 2"
    )
    database.execute(again)
    assert alerts.send_alerts() == 1


def test_it_tries_again_while_the_address_is_away(
    alert_receiver: AlertReceiver, user: Actor, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    zombie(database, user)
    alert_receiver.status = 500
    assert alerts.send_alerts() == 0
    alert_receiver.status = 200
    assert alerts.send_alerts() == 1
    assert "a-secret-token" not in "".join(capsys.readouterr())


def test_it_says_once_more_that_a_person_is_needed(
    alert_receiver: AlertReceiver, user: Actor, database: Database
) -> None:
    zombie(database, user)
    alerts.send_alerts()
    database.execute("update incidents set state = 'needs_person', notified_at = null")
    assert alerts.send_alerts() == 1
    assert "precisa de alguém da equipe" in alert_receiver.heard[-1]["text"]


def test_it_names_a_server_by_its_sessions_and_never_by_its_address(
    alert_receiver: AlertReceiver, user: Actor, database: Database
) -> None:
    connected(database, user)
    with transaction(SYSTEM) as tx:
        incidents.open_server_down(tx, "http://127.0.0.1:9")
    alerts.send_alerts()
    assert "servidor com 1 sessões" in alert_receiver.heard[0]["text"]
    assert "127.0.0.1" not in str(alert_receiver.heard)


def test_it_shortens_a_long_list(alert_receiver: AlertReceiver, database: Database, new_actor: Any) -> None:
    ids = [connected(database, new_actor()) for _ in range(13)]
    with transaction(SYSTEM) as tx:
        incidents.open_incidents(tx, Kind.ZOMBIE, ids)
    assert alerts.send_alerts() == 13
    assert alert_receiver.heard[0]["text"].endswith("… e mais 3")


def test_it_keeps_still_where_no_address_is_set(user: Actor, database: Database) -> None:
    zombie(database, user)
    assert alerts.send_alerts() == 0
    assert database.one("select notified_at is not null from incidents")
