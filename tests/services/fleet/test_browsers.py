"""One profile, one browser: whatever is asked meanwhile, no two starts meet on a session's profile."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.server import SandboxServer
from services.db.actor import Actor
from services.fleet import checks, commands, proof_of_life
from services.fleet.session import Session, Status
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import (
    announce,
    apply_report,
    check_until,
    get_server_status,
    insert_pairing,
    name_of,
    own_session,
    pair_by_asking,
    show_qr,
)
from tests.support.waiting import wait_for


def secret_of(database: Database) -> bytes:
    stored: bytes = database.one("select webhook_secret_hash from whatsapp_sessions")
    return stored


def test_it_never_goes_back_between_the_announcement_and_the_servers_word(
    user: Actor, slow_server: SandboxServer, database: Database
) -> None:
    control = SandboxControl(slow_server.url)
    announce(user, control, database)
    seen = set()

    def settled(session: Session) -> bool:
        seen.add((session.status, get_server_status(user, control)))
        return database.one("select settling_since from whatsapp_sessions") is None

    check_until(user, settled, database)
    assert seen == {(Status.CONNECTED, "QRCODE"), (Status.CONNECTED, "CONNECTED")}
    assert own_session(user).phone_number == "5511987654321"


def test_it_stays_connected_while_its_server_restarts(
    user: Actor, slow_server: SandboxServer, database: Database
) -> None:
    control = SandboxControl(slow_server.url)
    pair_by_asking(user, control, database)
    slow_server.stop()
    database.execute("update whatsapp_sessions set check_at = now()")
    checks.run_due_checks()
    assert own_session(user).status is Status.CONNECTED, "a server that is away says nothing of the session"
    slow_server.start()
    seen = set()

    def settled(session: Session) -> bool:
        seen.add(session.status)
        return get_server_status(user, control) == "CONNECTED"

    check_until(user, settled, database)
    assert seen == {Status.CONNECTED}


def test_a_session_that_comes_up_between_two_questions_is_not_lost(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    not_yet = {"status": False, "message": "Disconnected"}
    control.fault("other_answer", name_of(user), times=1, route="check-connection-session", body=not_yet)
    database.execute("update whatsapp_sessions set check_at = now()")
    assert checks.run_due_checks() == 1
    assert own_session(user).status is Status.CONNECTED
    control.fault("other_answer", name_of(user), times=1, route="check-connection-session", body=not_yet)
    assert proof_of_life.ask_server(server.url, name_of(user)) is proof_of_life.ProbeResult.ANSWERED


@pytest.mark.parametrize("crash", ["chrome_dies", "page_crashes"])
def test_a_session_whose_page_is_gone_is_found_and_can_be_connected_again(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database, crash: str
) -> None:
    pair_by_asking(user, control, database)
    control.fault(crash, name_of(user))
    session = check_until(user, lambda session: session.status is Status.DISCONNECTED, database)
    assert (session.failure, session.server_holds) == ("browser_closed", True)
    assert get_server_status(user, control) == "CONNECTED", "it says so for ever"
    commands.connect(user)
    assert check_until(user, lambda session: session.status is Status.CONNECTED, database).phone_number
    assert control.session(name_of(user))["browser"]  # type: ignore[index]


@pytest.mark.parametrize("crash", ["chrome_dies", "page_crashes"])
def test_it_disconnects_a_session_whose_page_is_gone(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database, crash: str
) -> None:
    pair_by_asking(user, control, database)
    control.fault(crash, name_of(user))
    session = commands.disconnect(user)
    assert (session.status, session.failure, session.server_holds) == (Status.DISCONNECTED, None, False)
    state = control.session(name_of(user))
    assert state is not None
    assert (state["status"], state["phone"], state["browser"]) == (None, None, False)


def test_it_asks_no_server_that_is_known_to_be_away(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.fault("page_crashes", name_of(user))
    database.execute("insert into incidents (server_url, kind, state) values (%s, 'server_down', 'open')", server.url)
    database.execute("update whatsapp_sessions set check_at = now()")
    assert checks.run_due_checks() == 1
    assert own_session(user).status is Status.CONNECTED
    assert (checks.next_check_in() or 0) > 5
    database.execute("update incidents set state = 'healed', ended_at = now()")
    check_until(user, lambda session: session.status is Status.DISCONNECTED, database)


def test_it_restarts_a_session_that_says_connected_and_is_not(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.kill(name_of(user))
    secret = secret_of(database)
    assert commands.reconnect(user).status is Status.PAIRING
    assert secret_of(database) != secret
    check_until(user, lambda session: session.status is Status.CONNECTED, database)
    state = control.session(name_of(user))
    assert state is not None
    assert not state["dead"]


def test_a_cancelled_pairing_goes_on_with_its_running_qr(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    shown = check_until(user, lambda session: session.qr, database).qr
    secret = secret_of(database)
    assert commands.disconnect(user).status is Status.DISCONNECTED
    assert get_server_status(user, control) == "QRCODE", "closing it would lock the profile"
    again = commands.connect(user).qr
    assert again is not None
    assert shown is not None
    assert again.urlcode == shown.urlcode
    assert secret_of(database) == secret, "what runs posts with the earlier one"
    control.scan(name_of(user), "5511987654321")
    check_until(user, lambda session: session.status is Status.CONNECTED, database)


def test_another_kind_of_code_waits_for_the_end_of_the_first(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    check_until(user, lambda session: session.qr, database)
    secret = secret_of(database)
    waiting = commands.connect(user, phone="(11) 98765-4321")
    assert waiting.waits_until is not None
    assert waiting.waits_until - datetime.now(UTC) <= timedelta(seconds=61)
    show_qr(user, "2@of the first start")
    apply_report(user, "browserClose")
    apply_report(user, "qrReadError")
    assert (own_session(user).status, own_session(user).qr) == (Status.PAIRING, None), "news of the first start"
    session = check_until(user, lambda _session: get_server_status(user, control) == "PHONECODE", database)
    assert (session.waits_until, session.pairing_phone) == (None, "5511987654321")
    assert secret_of(database) != secret


def test_a_start_after_a_logout_waits_for_the_profile(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.fault("late_after_logout", delay=25.0, qrcode=True, times=1)
    commands.disconnect(user)
    assert control.session(name_of(user))["browser"], "its browser is still there"  # type: ignore[index]
    assert commands.connect(user).waits_until is not None
    wait_for(lambda: not control.session(name_of(user))["browser"])  # type: ignore[index]
    apply_report(user, "browserClose", current=False)
    assert check_until(user, lambda session: session.qr, database).waits_until is None


def test_a_start_that_hangs_is_closed_once_no_browser_can_hold_it(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.fault("profile_locked", times=1)
    commands.connect(user)
    assert get_server_status(user, control) == "INITIALIZING"
    database.execute("update whatsapp_sessions set start_asked_at = now() - interval '30 s'")
    assert commands.reconnect(user).waits_until is not None, "its browser may still be starting"
    database.execute("update whatsapp_sessions set start_asked_at = now() - interval '62 s'")
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '11 s', start_at = now()")
    check_until(user, lambda session: session.qr, database)


def test_an_unscanned_code_is_said_to_be_just_that(user: Actor, database: Database) -> None:
    insert_pairing(database, user)
    show_qr(user, "2@first")
    apply_report(user, "browserClose")
    apply_report(user, "qrReadError")
    assert own_session(user).failure == "qr_not_scanned"


def test_an_unscanned_code_is_found_out_where_every_webhook_is_lost(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(user)
    check_until(user, lambda session: session.qr, database)
    database.execute("update whatsapp_sessions set start_asked_at = start_asked_at - interval '10 s'")
    session = check_until(user, lambda session: session.status is Status.DISCONNECTED, database)
    assert (session.failure, session.server_holds) == ("qr_not_scanned", False)


def test_a_closed_session_that_its_server_brings_back_is_closed_again(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    commands.close(user)
    server.stop()
    server.start()
    wait_for(
        lambda: get_server_status(user, control) == "CONNECTED", what="the server brings back what has a token file"
    )
    apply_report(user, "inChat")
    check_until(user, lambda session: get_server_status(user, control) != "CONNECTED", database)
    session = own_session(user)
    assert (session.status, session.failure) == (Status.DISCONNECTED, "closed")
    assert control.session(name_of(user))["phone"], "its phone stays paired"  # type: ignore[index]


def test_whoever_scans_a_cancelled_code_is_connected(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    check_until(user, lambda session: session.qr, database)
    commands.disconnect(user)
    control.scan(name_of(user), "5511987654321")
    apply_report(user, "qrReadSuccess")
    apply_report(user, "inChat")
    check_until(user, lambda session: session.status is Status.CONNECTED, database)
