"""Sessions that are disconnected, closed or moved, by their owner or by staff."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sandbox.server import SandboxServer
from services.db.actor import Actor
from services.errors import ConfigurationError, Forbidden, NotFound
from services.fleet import checks, commands, timeline
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.wppconnect.errors import WppOutcomeUnknown, WppUnreachable
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import (
    announce,
    apply_report,
    check_until,
    connected,
    get_server_status,
    name_of,
    own_session,
    pair_by_asking,
)


def test_it_disconnects_and_checks_that_it_did(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    for _twice in range(2):
        session = commands.disconnect(user)
        assert (session.status, session.failure, session.qr) == (Status.DISCONNECTED, None, None)
    state = control.session(name_of(user))
    assert state is None or state["status"] != "CONNECTED"


@pytest.mark.parametrize(
    ("found", "value", "said"),
    [
        ("lost", "disconnectedMobile", "phone_logged_out"),
        ("browser_closed", "disconnectedMobile", "phone_logged_out"),
        ("lost", "autocloseCalled", "lost"),
        ("closed", "disconnectedMobile", "closed"),
    ],
)
def test_it_takes_the_servers_word_for_why_a_loss_came(
    database: Database, user: Actor, found: str, value: str, said: str
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'desconectado', failure = %s", found)
    apply_report(user, value)
    assert database.execute("select status, failure from whatsapp_sessions") == [("desconectado", said)]


def test_it_does_not_call_a_session_ended_that_the_server_reports_as_up(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.fault("close_half_works")
    with pytest.raises(WppOutcomeUnknown):
        commands.disconnect(user)
    assert own_session(user).status is Status.CONNECTED


def test_it_cancels_a_pairing_also_where_the_server_is_away(user: Actor, server: SandboxServer) -> None:
    commands.connect(user)
    server.stop()
    assert commands.disconnect(user).status is Status.DISCONNECTED


def test_it_keeps_a_connected_session_where_the_server_is_away(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    connected(database, user, server.url)
    server.stop()
    with pytest.raises(WppUnreachable):
        commands.disconnect(user)
    assert own_session(user).status is Status.CONNECTED


def test_it_has_nothing_to_disconnect_before_the_first_connect(user: Actor) -> None:
    with pytest.raises(NotFound):
        commands.disconnect(user)


def test_staff_act_for_a_user_on_the_record_and_never_see_the_codes(
    user: Actor, staff: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(staff, user.user_id)
    check_until(user, lambda found: found.qr, database)
    seen = fleet_session.get(staff, user.user_id)
    assert seen is not None
    assert (seen.status, seen.qr, seen.phone_code) == (Status.PAIRING, None, None)
    commands.disconnect(staff, user.user_id)
    actions = database.execute("select action, subject from audit_log where actor_id = %s order by id", staff.user_id)
    assert actions == [("session.connect", name_of(user)), ("session.disconnect", name_of(user))]


@pytest.mark.parametrize(
    "act", [fleet_session.get, commands.connect, commands.disconnect, commands.reconnect, commands.close]
)
def test_a_user_cannot_act_for_another(
    user: Actor, new_actor: Callable[..., Actor], act: Callable[..., Any], database: Database
) -> None:
    other = new_actor()
    connected(database, other)
    with pytest.raises(Forbidden):
        act(user, other.user_id)


def test_it_closes_a_session_that_then_stays_closed(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    assert commands.close(staff, user.user_id).status is Status.DISCONNECTED
    assert own_session(user).failure == "closed"
    assert own_session(user).server_holds, "its phone is still paired there"
    assert database.one("select desired_connected from whatsapp_sessions") is False
    found = control.session(name_of(user))
    assert found is not None
    assert found["status"] != "CONNECTED"
    assert commands.connect(user).status is Status.PAIRING


def test_a_session_that_is_closed_while_it_comes_up_leaves_no_browser_on_its_profile(
    user: Actor, slow_server: SandboxServer, database: Database
) -> None:
    control = SandboxControl(slow_server.url)
    announce(user, control, database)
    assert (commands.close(user).status, get_server_status(user, control)) == (Status.DISCONNECTED, "QRCODE")
    check_until(user, lambda session: get_server_status(user, control) not in ("QRCODE", "CONNECTED"), database)
    assert own_session(user).failure == "closed"
    commands.connect(user)
    check_until(user, lambda session: session.status is Status.CONNECTED, database)
    assert control.state()["locked_starts"] == 0


@pytest.mark.parametrize("word", ["closesession", "browserClose"])
def test_it_takes_no_end_for_a_starts_that_was_told_before_the_start(
    user: Actor, server: SandboxServer, database: Database, word: str
) -> None:
    """What a start closes first says so through the URL that is the newest until the start is asked for, and that the
    receiver takes for the newest a moment longer."""
    commands.connect(user)
    asked: datetime = database.one("select start_asked_at from whatsapp_sessions")
    for moment in (asked - timedelta(milliseconds=50), asked + timedelta(seconds=5)):
        apply_report(user, word, at=moment)
        assert own_session(user).status is Status.PAIRING
        assert checks.next_check_in() == 0, "it is asked about"
    apply_report(user, word, at=asked + timedelta(seconds=7))
    assert own_session(user).status is Status.DISCONNECTED


def test_it_does_not_call_closed_what_is_still_up(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.fault("close_half_works", name_of(user))
    with pytest.raises(WppOutcomeUnknown):
        commands.close(user)
    assert own_session(user).status is Status.CONNECTED


def test_it_moves_a_session_to_another_server(
    user: Actor, staff: Actor, two_servers: tuple[SandboxServer, SandboxServer], database: Database
) -> None:
    first, second = two_servers
    control = SandboxControl(first.url)
    pair_by_asking(user, control, database)
    moved = commands.move_to_server(staff, second.url, user.user_id)
    assert moved.status is Status.PAIRING
    assert database.one("select server_url from whatsapp_sessions") == second.url
    found = control.session(name_of(user))
    assert found is None or found["status"] != "CONNECTED"
    control.close()
    told = [entry.what for entry in timeline.list_entries(staff, moved.user_id).entries]
    assert {"session.move", "moved"} <= set(told)


def test_it_moves_off_a_server_that_is_down(
    user: Actor, staff: Actor, two_servers: tuple[SandboxServer, SandboxServer], database: Database
) -> None:
    first, second = two_servers
    control = SandboxControl(first.url)
    pair_by_asking(user, control, database)
    control.close()
    first.stop()
    assert commands.move_to_server(staff, second.url, user.user_id).status is Status.PAIRING


def test_it_moves_to_configured_servers_only(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    with pytest.raises(ConfigurationError):
        commands.move_to_server(staff, "http://169.254.169.254", user.user_id)
    assert own_session(user).status is Status.CONNECTED
