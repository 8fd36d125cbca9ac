"""The pairing state machine: a status moves on evidence only."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import checks, commands, webhook_secrets
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.fleet.timing import FIRST_QR_LIFETIME, NEXT_QR_LIFETIME
from services.fleet.transitions import ENDINGS, UP_REPORTS
from services.wppconnect.errors import InvalidPhone, WppUnauthorized, WppUnreachable
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import (
    apply_report,
    check_until,
    connected,
    insert_pairing,
    name_of,
    own_session,
    pair_by_asking,
    show_qr,
)
from tests.support.waiting import wait_for

# --- connecting ---------------------------------------------------------------------------------------------------


def test_it_commits_the_intent_and_registers_its_own_webhook(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    session = commands.connect(user)
    assert session.status is Status.PAIRING
    stored = database.one("select webhook_secret_hash from whatsapp_sessions")
    assert len(stored) == 32


def test_it_gets_the_qr_by_asking_where_the_webhook_is_lost(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(user)
    session = check_until(user, lambda found: found.qr, database)
    assert session.qr is not None
    assert (session.qr.urlcode or "").startswith("2@")


def test_it_becomes_connected_by_asking_where_the_webhook_is_lost_and_takes_that_for_no_proof(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    session = pair_by_asking(user, control, database)
    assert (session.phone_number, session.last_proof_kind) == ("5511987654321", None)
    assert session.qr is None
    assert (checks.next_check_in() or 0) > 5, "only its page is looked at from now on"


def test_it_pairs_by_phone_code(user: Actor, server: SandboxServer, database: Database) -> None:
    commands.connect(user, phone="(11) 98765-4321")
    session = check_until(user, lambda found: found.phone_code, database)
    assert session.pairing_phone == "5511987654321"


@pytest.mark.parametrize("typed", ["+55 31 8765-0032", "+55 31 98765-0032"])
def test_a_code_is_asked_for_with_the_number_as_it_was_typed(
    user: Actor, server: SandboxServer, database: Database, typed: str
) -> None:
    commands.connect(user, phone=typed)
    session = check_until(user, lambda found: found.phone_code, database)
    digits = "".join(sign for sign in typed if sign.isdecimal())
    assert session.pairing_phone == database.one("select start_phone from whatsapp_sessions") == digits
    assert re.fullmatch(r"[A-Z0-9]{4}-[A-Z0-9]{4}", session.phone_code or "")


def test_it_takes_a_start_by_code_over_with_its_code(user: Actor, server: SandboxServer, database: Database) -> None:
    """Its server tells a code only once."""
    commands.connect(user, phone="(11) 98765-4321")
    first = check_until(user, lambda found: found.phone_code, database)
    again = commands.reconnect(user)
    assert (again.phone_code, again.qr, again.waits_until) == (first.phone_code, None, None)
    assert database.one("select qr_expires_at from whatsapp_sessions") is None


def test_it_shows_no_code_of_an_earlier_start_while_another_kind_waits(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(user)
    check_until(user, lambda found: found.qr, database)
    waiting = commands.connect(user, phone="(11) 98765-4321")
    assert (waiting.qr, waiting.phone_code) == (None, None)
    assert waiting.waits_until is not None
    assert database.one("select qr_urlcode is null and qr_expires_at is null from whatsapp_sessions")


def test_it_starts_anew_on_the_server_where_a_start_was_still_under_way(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    check_until(user, lambda found: found.qr, database)
    commands.connect(user)
    started = [post for post in control.state()["sessions"] if post["name"] == name_of(user)]
    assert len(started) == 1
    session = check_until(user, lambda found: found.qr, database)
    assert session.status is Status.PAIRING


def test_it_leaves_a_session_that_is_up_as_it_is(user: Actor, database: Database) -> None:
    connected(database, user)
    assert commands.connect(user).status is Status.CONNECTED


def test_it_says_desconectado_with_the_reason_where_the_server_is_away(user: Actor, server: SandboxServer) -> None:
    server.stop()
    with pytest.raises(WppUnreachable):
        commands.connect(user)
    session = own_session(user)
    assert (session.status, session.failure) == (Status.DISCONNECTED, "server_unreachable")


def test_it_says_desconectado_with_the_reason_where_the_server_refuses_our_token(
    user: Actor, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WPP_SERVER_TOKEN", "another-secret-than-the-server-has")
    forget_process_state()
    with pytest.raises(WppUnauthorized):
        commands.connect(user)
    assert own_session(user).failure == "server_refused"


def test_it_refuses_a_bad_number_before_anything_is_written(user: Actor, server: SandboxServer) -> None:
    with pytest.raises(InvalidPhone):
        commands.connect(user, phone="123")
    assert fleet_session.get(user) is None


def test_it_gives_up_a_pairing_that_shows_no_sign_of_life(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.fault("stuck_initializing")
    commands.connect(user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 hour'")
    session = check_until(user, lambda found: found.status is Status.DISCONNECTED, database)
    assert session.failure == "no_answer"
    wait_for(lambda: (state := control.session(name_of(user))) is None or state["status"] != "INITIALIZING")


def test_it_gives_up_codes_that_nobody_reads_and_stops_the_server_making_more(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.fault("qr_loop")
    commands.connect(user)
    check_until(user, lambda found: found.qr, database)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 hour'")
    session = check_until(user, lambda found: found.status is Status.DISCONNECTED, database)
    assert session.failure == "qr_not_scanned"
    wait_for(lambda: (state := control.session(name_of(user))) is None or state["status"] != "QRCODE")


def test_it_keeps_the_older_webhook_secret_until_the_newer_one_is_used(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    def hashes() -> tuple[Any, ...]:
        (row,) = database.execute("select webhook_secret_hash, webhook_secret_previous_hash from whatsapp_sessions")
        return row

    commands.connect(user)
    first, _none = hashes()
    with transaction(SYSTEM) as tx:
        webhook_secrets.mark_secret_used(tx, name_of(user))
    for secret in (b"second", b"third"):
        database.execute("update whatsapp_sessions set webhook_secret_hash = %s", secret)
        assert hashes() == (secret, first), "nobody has used a newer one, so the server still posts with the first"


def test_it_keeps_the_webhook_secret_of_a_start_that_was_never_asked_for(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(user)
    first = database.one("select webhook_secret_hash from whatsapp_sessions")
    server.stop()
    with pytest.raises(WppUnreachable):
        commands.connect(user)
    assert database.one("select webhook_secret_hash from whatsapp_sessions") == first


# --- what the server reports --------------------------------------------------------------------------------------


def test_it_shows_a_qr_for_its_lifetime_and_the_next_for_a_shorter_one(user: Actor, database: Database) -> None:
    insert_pairing(database, user)
    show_qr(user, "2@first")
    first = own_session(user).qr
    assert first is not None
    assert first.expires_at - first.received_at == FIRST_QR_LIFETIME
    show_qr(user, "2@second")
    second = own_session(user).qr
    assert second is not None
    assert (second.urlcode, second.number) == ("2@second", 2)
    assert second.expires_at - second.received_at == NEXT_QR_LIFETIME


@pytest.mark.parametrize("late", [FIRST_QR_LIFETIME, timedelta(minutes=10)])
def test_it_never_shows_a_stale_qr(user: Actor, database: Database, late: timedelta) -> None:
    insert_pairing(database, user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 hour'")
    show_qr(user, "2@stale", datetime.now(UTC) - late)
    assert own_session(user).qr is None


def test_it_never_shows_an_older_qr_over_a_newer_one(user: Actor, database: Database) -> None:
    insert_pairing(database, user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 minute'")
    show_qr(user, "2@newer")
    show_qr(user, "2@older", datetime.now(UTC) - timedelta(seconds=5))
    shown = own_session(user).qr
    assert shown is not None
    assert shown.urlcode == "2@newer"


def test_it_hides_the_qr_once_it_was_read(user: Actor, database: Database) -> None:
    insert_pairing(database, user)
    show_qr(user, "2@first")
    apply_report(user, "qrReadSuccess")
    show_qr(user, "2@late")
    session = own_session(user)
    assert session.qr is None
    assert session.scanned_at is not None


def test_a_late_qr_read_success_never_undoes_a_connection(user: Actor, database: Database) -> None:
    insert_pairing(database, user)
    apply_report(user, "inChat")
    apply_report(user, "qrReadSuccess")
    apply_report(user, "isLogged")
    assert own_session(user).status is Status.CONNECTED


@pytest.mark.parametrize(("value", "failure"), sorted((ENDINGS | {"browserClose": "no_answer"}).items()))
def test_an_ending_names_its_reason(user: Actor, database: Database, value: str, failure: str) -> None:
    insert_pairing(database, user)
    apply_report(user, value)
    session = own_session(user)
    assert (session.status, session.failure) == (Status.DISCONNECTED, failure)


@pytest.mark.parametrize("value", ["autocloseCalled", "qrReadFail", "notLogged", "phoneNotConnected", "somethingNew"])
def test_what_proves_nothing_makes_the_worker_ask(user: Actor, database: Database, value: str) -> None:
    connected(database, user)
    apply_report(user, value)
    assert own_session(user).status is Status.CONNECTED
    assert checks.next_check_in() == 0


@pytest.mark.parametrize("value", ["browserClose", "logoutsession", "inChat"])
def test_news_of_an_earlier_attempt_moves_nothing(user: Actor, database: Database, value: str) -> None:
    insert_pairing(database, user)
    apply_report(user, value, current=False)
    assert own_session(user).status is Status.PAIRING
    assert checks.next_check_in() == 0


def test_news_of_life_after_an_end_is_asked_about_first(user: Actor, server: SandboxServer, database: Database) -> None:
    connected(database, user, server.url)
    apply_report(user, "serverClose")
    apply_report(user, "inChat")
    assert own_session(user).status is Status.DISCONNECTED
    checks.run_due_checks()
    assert own_session(user).status is Status.DISCONNECTED, "the server knows of no such session"


def test_it_finds_out_that_a_connected_session_is_dead(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.phone_logout(name_of(user))
    apply_report(user, "notLogged")
    session = check_until(user, lambda found: found.status is Status.DISCONNECTED, database)
    assert session.failure == "lost"


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["qr", *sorted(ENDINGS), *sorted(UP_REPORTS), "qrReadSuccess", "notLogged", "phoneNotConnected"]
        ),
        st.booleans(),  # through the newest URL, or an earlier one's
        st.integers(0, 90),  # seconds late
    ),
    max_size=12,
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(events=EVENTS)
def test_no_order_of_events_shows_what_is_not_true(
    database: Database, user: Actor, events: list[tuple[str, bool, int]]
) -> None:
    database.execute("delete from whatsapp_sessions")
    insert_pairing(database, user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '2 minutes'")
    scanned = up = False
    for number, (value, current, late) in enumerate(events):
        before = own_session(user)
        at = datetime.now(UTC) - timedelta(seconds=late)
        if value == "qr":
            show_qr(user, f"2@{number}", at)
        else:
            apply_report(user, value, current=current, at=at)
        after = own_session(user)
        up = up or (value in UP_REPORTS and current)
        scanned = scanned or value == "qrReadSuccess"
        assert after.qr is None or (after.status is Status.PAIRING and after.qr.expires_at > datetime.now(UTC))
        assert after.qr is None or not scanned
        assert after.status is not Status.CONNECTED or up
        if before.status is Status.CONNECTED and after.status is not Status.CONNECTED:
            assert value in ENDINGS
            assert current
        assert after.status is not Status.PAIRING or before.status is Status.PAIRING, "only a person starts a pairing"
