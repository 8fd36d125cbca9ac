"""The pairing state machine: a status moves on evidence only."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import (
    ConfigurationError,
    Forbidden,
    InvalidPhone,
    NotFound,
    WppOutcomeUnknown,
    WppUnauthorized,
    WppUnreachable,
)
from services.fleet import checks, commands, proof_of_life, timeline, transitions, webhook_secrets
from services.fleet import session as fleet_session
from services.fleet.session import Session, Status
from services.fleet.timing import FIRST_QR_LIFETIME, NEXT_QR_LIFETIME
from services.fleet.transitions import ENDINGS, UP_REPORTS
from tests.conftest import Database, connected, forget_process_state
from tests.services.conftest import SECRET
from tests.support.installation import SandboxControl, wait_for


def own(actor: Actor) -> Session:
    found = fleet_session.get(actor)
    assert found is not None
    return found


def name_of(actor: Actor) -> str:
    return f"user_{actor.user_id}"


def pairing(database: Database, actor: Actor) -> None:
    """A session that was started and whose worker asks nobody."""
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, pairing_started_at)"
        " values (%s, %s, 'pareando', 'http://127.0.0.1:9', clock_timestamp())",
        actor.user_id,
        name_of(actor),
    )


def report(actor: Actor, value: str, *, current: bool = True, at: datetime | None = None) -> None:
    with transaction(SYSTEM) as tx:
        transitions.apply_report(tx, name_of(actor), value, at or datetime.now(UTC), current=current)


def qr(actor: Actor, urlcode: str, at: datetime | None = None) -> None:
    with transaction(SYSTEM) as tx:
        transitions.show_qr(tx, name_of(actor), urlcode, None, at or datetime.now(UTC))


def tend_until(actor: Actor, condition: Callable[[Session], Any], database: Database) -> Session:
    """Let the worker ask, without waiting for the moment when it would."""

    def look() -> bool:
        database.execute("update whatsapp_sessions set check_at = now() where check_at is not null")
        checks.run_due_checks()
        return bool(condition(own(actor)))

    wait_for(look)
    return own(actor)


def pair(actor: Actor, control: SandboxControl, database: Database) -> Session:
    """Connect and scan, with every webhook lost."""
    commands.connect(actor)
    tend_until(actor, lambda found: found.qr, database)
    control.scan(name_of(actor), "5511987654321")
    return tend_until(actor, lambda found: found.status is Status.CONNECTED, database)


def announce(actor: Actor, control: SandboxControl, database: Database) -> None:
    """Connect and scan, up to the announcement; the server itself says CONNECTED only later."""
    commands.connect(actor)
    tend_until(actor, lambda session: session.qr, database)
    control.scan(name_of(actor), "5511987654321")
    report(actor, "qrReadSuccess")
    report(actor, "inChat")


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
    session = tend_until(user, lambda found: found.qr, database)
    assert session.qr is not None
    assert (session.qr.urlcode or "").startswith("2@")


def test_it_becomes_connected_by_asking_where_the_webhook_is_lost_and_takes_that_for_no_proof(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    session = pair(user, control, database)
    assert (session.phone_number, session.last_proof_kind) == ("5511987654321", None)
    assert session.qr is None
    assert (checks.next_check_in() or 0) > 5, "only its page is looked at from now on"


def test_it_pairs_by_phone_code(user: Actor, server: SandboxServer, database: Database) -> None:
    commands.connect(user, phone="(11) 98765-4321")
    session = tend_until(user, lambda found: found.phone_code, database)
    assert session.pairing_phone == "5511987654321"


def test_it_takes_a_start_by_code_over_with_its_code(user: Actor, server: SandboxServer, database: Database) -> None:
    """Its server tells a code only once."""
    commands.connect(user, phone="(11) 98765-4321")
    first = tend_until(user, lambda found: found.phone_code, database)
    again = commands.reconnect(user)
    assert (again.phone_code, again.qr, again.waits_until) == (first.phone_code, None, None)
    assert database.one("select qr_expires_at from whatsapp_sessions") is None


def test_it_shows_no_code_of_an_earlier_start_while_another_kind_waits(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(user)
    tend_until(user, lambda found: found.qr, database)
    waiting = commands.connect(user, phone="(11) 98765-4321")
    assert (waiting.qr, waiting.phone_code) == (None, None)
    assert waiting.waits_until is not None
    assert database.one("select qr_urlcode is null and qr_expires_at is null from whatsapp_sessions")


def test_it_starts_anew_on_the_server_where_a_start_was_still_under_way(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    tend_until(user, lambda found: found.qr, database)
    commands.connect(user)
    started = [post for post in control.state()["sessions"] if post["name"] == name_of(user)]
    assert len(started) == 1
    session = tend_until(user, lambda found: found.qr, database)
    assert session.status is Status.PAIRING


def test_it_leaves_a_session_that_is_up_as_it_is(user: Actor, database: Database) -> None:
    connected(database, user)
    assert commands.connect(user).status is Status.CONNECTED


def test_it_says_desconectado_with_the_reason_where_the_server_is_away(user: Actor, server: SandboxServer) -> None:
    server.stop()
    with pytest.raises(WppUnreachable):
        commands.connect(user)
    session = own(user)
    assert (session.status, session.failure) == (Status.DISCONNECTED, "server_unreachable")


def test_it_says_desconectado_with_the_reason_where_the_server_refuses_our_token(
    user: Actor, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WPP_SERVER_TOKEN", "another-secret-than-the-server-has")
    forget_process_state()
    with pytest.raises(WppUnauthorized):
        commands.connect(user)
    assert own(user).failure == "server_refused"


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
    session = tend_until(user, lambda found: found.status is Status.DISCONNECTED, database)
    assert session.failure == "no_answer"
    wait_for(lambda: (state := control.session(name_of(user))) is None or state["status"] != "INITIALIZING")


def test_it_gives_up_codes_that_nobody_reads_and_stops_the_server_making_more(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.fault("qr_loop")
    commands.connect(user)
    tend_until(user, lambda found: found.qr, database)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 hour'")
    session = tend_until(user, lambda found: found.status is Status.DISCONNECTED, database)
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
    pairing(database, user)
    qr(user, "2@first")
    first = own(user).qr
    assert first is not None
    assert first.expires_at - first.received_at == FIRST_QR_LIFETIME
    qr(user, "2@second")
    second = own(user).qr
    assert second is not None
    assert (second.urlcode, second.number) == ("2@second", 2)
    assert second.expires_at - second.received_at == NEXT_QR_LIFETIME


@pytest.mark.parametrize("late", [FIRST_QR_LIFETIME, timedelta(minutes=10)])
def test_it_never_shows_a_stale_qr(user: Actor, database: Database, late: timedelta) -> None:
    pairing(database, user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 hour'")
    qr(user, "2@stale", datetime.now(UTC) - late)
    assert own(user).qr is None


def test_it_never_shows_an_older_qr_over_a_newer_one(user: Actor, database: Database) -> None:
    pairing(database, user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '1 minute'")
    qr(user, "2@newer")
    qr(user, "2@older", datetime.now(UTC) - timedelta(seconds=5))
    shown = own(user).qr
    assert shown is not None
    assert shown.urlcode == "2@newer"


def test_it_hides_the_qr_once_it_was_read(user: Actor, database: Database) -> None:
    pairing(database, user)
    qr(user, "2@first")
    report(user, "qrReadSuccess")
    qr(user, "2@late")
    session = own(user)
    assert session.qr is None
    assert session.scanned_at is not None


def test_a_late_qr_read_success_never_undoes_a_connection(user: Actor, database: Database) -> None:
    pairing(database, user)
    report(user, "inChat")
    report(user, "qrReadSuccess")
    report(user, "isLogged")
    assert own(user).status is Status.CONNECTED


@pytest.mark.parametrize(("value", "failure"), sorted((ENDINGS | {"browserClose": "no_answer"}).items()))
def test_an_ending_names_its_reason(user: Actor, database: Database, value: str, failure: str) -> None:
    pairing(database, user)
    report(user, value)
    session = own(user)
    assert (session.status, session.failure) == (Status.DISCONNECTED, failure)


@pytest.mark.parametrize("value", ["autocloseCalled", "qrReadFail", "notLogged", "phoneNotConnected", "somethingNew"])
def test_what_proves_nothing_makes_the_worker_ask(user: Actor, database: Database, value: str) -> None:
    connected(database, user)
    report(user, value)
    assert own(user).status is Status.CONNECTED
    assert checks.next_check_in() == 0


@pytest.mark.parametrize("value", ["browserClose", "logoutsession", "inChat"])
def test_news_of_an_earlier_attempt_moves_nothing(user: Actor, database: Database, value: str) -> None:
    pairing(database, user)
    report(user, value, current=False)
    assert own(user).status is Status.PAIRING
    assert checks.next_check_in() == 0


def test_news_of_life_after_an_end_is_asked_about_first(user: Actor, server: SandboxServer, database: Database) -> None:
    connected(database, user, server.url)
    report(user, "serverClose")
    report(user, "inChat")
    assert own(user).status is Status.DISCONNECTED
    checks.run_due_checks()
    assert own(user).status is Status.DISCONNECTED, "the server knows of no such session"


def test_it_finds_out_that_a_connected_session_is_dead(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    control.phone_logout(name_of(user))
    report(user, "notLogged")
    session = tend_until(user, lambda found: found.status is Status.DISCONNECTED, database)
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
    pairing(database, user)
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '2 minutes'")
    scanned = up = False
    for number, (value, current, late) in enumerate(events):
        before = own(user)
        at = datetime.now(UTC) - timedelta(seconds=late)
        if value == "qr":
            qr(user, f"2@{number}", at)
        else:
            report(user, value, current=current, at=at)
        after = own(user)
        up = up or (value in UP_REPORTS and current)
        scanned = scanned or value == "qrReadSuccess"
        assert after.qr is None or (after.status is Status.PAIRING and after.qr.expires_at > datetime.now(UTC))
        assert after.qr is None or not scanned
        assert after.status is not Status.CONNECTED or up
        if before.status is Status.CONNECTED and after.status is not Status.CONNECTED:
            assert value in ENDINGS
            assert current
        assert after.status is not Status.PAIRING or before.status is Status.PAIRING, "only a person starts a pairing"


# --- one profile, one browser -----------------------------------------------------------------------------------------


def state_of(actor: Actor, control: SandboxControl) -> str | None:
    """What the server says of the session."""
    state = control.session(name_of(actor))
    return state["status"] if state else None


def secret_of(database: Database) -> bytes:
    stored: bytes = database.one("select webhook_secret_hash from whatsapp_sessions")
    return stored


@pytest.fixture
def slow_server(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxServer]:
    """A server that announces a session one second before it says CONNECTED."""
    config = Config(secret=SECRET, clock_scale=0.02, settle_delay=50.0)
    with running_sandbox(config) as made:
        monkeypatch.setenv("WPP_SERVER_TOKEN", SECRET)
        monkeypatch.setenv("SANDBOX_PORT", made.url.rpartition(":")[2])
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
        forget_process_state()
        yield made


def test_it_never_goes_back_between_the_announcement_and_the_servers_word(
    user: Actor, slow_server: SandboxServer, database: Database
) -> None:
    control = SandboxControl(slow_server.url)
    announce(user, control, database)
    seen = set()

    def settled(session: Session) -> bool:
        seen.add((session.status, state_of(user, control)))
        return database.one("select settling_since from whatsapp_sessions") is None

    tend_until(user, settled, database)
    assert seen == {(Status.CONNECTED, "QRCODE"), (Status.CONNECTED, "CONNECTED")}
    assert own(user).phone_number == "5511987654321"


def test_it_stays_connected_while_its_server_restarts(
    user: Actor, slow_server: SandboxServer, database: Database
) -> None:
    control = SandboxControl(slow_server.url)
    pair(user, control, database)
    slow_server.stop()
    database.execute("update whatsapp_sessions set check_at = now()")
    checks.run_due_checks()
    assert own(user).status is Status.CONNECTED, "a server that is away says nothing of the session"
    slow_server.start()
    seen = set()

    def settled(session: Session) -> bool:
        seen.add(session.status)
        return state_of(user, control) == "CONNECTED"

    tend_until(user, settled, database)
    assert seen == {Status.CONNECTED}


def test_a_session_that_comes_up_between_two_questions_is_not_lost(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    not_yet = {"status": False, "message": "Disconnected"}
    control.fault("other_answer", name_of(user), times=1, route="check-connection-session", body=not_yet)
    database.execute("update whatsapp_sessions set check_at = now()")
    assert checks.run_due_checks() == 1
    assert own(user).status is Status.CONNECTED
    control.fault("other_answer", name_of(user), times=1, route="check-connection-session", body=not_yet)
    assert proof_of_life.ask_server(server.url, name_of(user)) is proof_of_life.ProbeResult.ANSWERED


@pytest.mark.parametrize("crash", ["chrome_dies", "page_crashes"])
def test_a_session_whose_page_is_gone_is_found_and_can_be_connected_again(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database, crash: str
) -> None:
    pair(user, control, database)
    control.fault(crash, name_of(user))
    session = tend_until(user, lambda session: session.status is Status.DISCONNECTED, database)
    assert (session.failure, session.server_holds) == ("browser_closed", True)
    assert state_of(user, control) == "CONNECTED", "it says so for ever"
    commands.connect(user)
    assert tend_until(user, lambda session: session.status is Status.CONNECTED, database).phone_number
    assert control.session(name_of(user))["browser"]  # type: ignore[index]


@pytest.mark.parametrize("crash", ["chrome_dies", "page_crashes"])
def test_it_disconnects_a_session_whose_page_is_gone(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database, crash: str
) -> None:
    pair(user, control, database)
    control.fault(crash, name_of(user))
    session = commands.disconnect(user)
    assert (session.status, session.failure, session.server_holds) == (Status.DISCONNECTED, None, False)
    state = control.session(name_of(user))
    assert state is not None
    assert (state["status"], state["phone"], state["browser"]) == (None, None, False)


def test_it_asks_no_server_that_is_known_to_be_away(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    control.fault("page_crashes", name_of(user))
    database.execute("insert into incidents (server_url, kind, state) values (%s, 'server_down', 'open')", server.url)
    database.execute("update whatsapp_sessions set check_at = now()")
    assert checks.run_due_checks() == 1
    assert own(user).status is Status.CONNECTED
    assert (checks.next_check_in() or 0) > 5
    database.execute("update incidents set state = 'healed', ended_at = now()")
    tend_until(user, lambda session: session.status is Status.DISCONNECTED, database)


def test_it_restarts_a_session_that_says_connected_and_is_not(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    control.kill(name_of(user))
    secret = secret_of(database)
    assert commands.reconnect(user).status is Status.PAIRING
    assert secret_of(database) != secret
    tend_until(user, lambda session: session.status is Status.CONNECTED, database)
    state = control.session(name_of(user))
    assert state is not None
    assert not state["dead"]


def test_a_cancelled_pairing_goes_on_with_its_running_qr(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    shown = tend_until(user, lambda session: session.qr, database).qr
    secret = secret_of(database)
    assert commands.disconnect(user).status is Status.DISCONNECTED
    assert state_of(user, control) == "QRCODE", "closing it would lock the profile"
    again = commands.connect(user).qr
    assert again is not None
    assert shown is not None
    assert again.urlcode == shown.urlcode
    assert secret_of(database) == secret, "what runs posts with the earlier one"
    control.scan(name_of(user), "5511987654321")
    tend_until(user, lambda session: session.status is Status.CONNECTED, database)


def test_another_kind_of_code_waits_for_the_end_of_the_first(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    tend_until(user, lambda session: session.qr, database)
    secret = secret_of(database)
    waiting = commands.connect(user, phone="(11) 98765-4321")
    assert waiting.waits_until is not None
    assert waiting.waits_until - datetime.now(UTC) <= timedelta(seconds=61)
    qr(user, "2@of the first start")
    report(user, "browserClose")
    report(user, "qrReadError")
    assert (own(user).status, own(user).qr) == (Status.PAIRING, None), "news of the first start"
    session = tend_until(user, lambda _session: state_of(user, control) == "PHONECODE", database)
    assert (session.waits_until, session.pairing_phone) == (None, "5511987654321")
    assert secret_of(database) != secret


def test_a_start_after_a_logout_waits_for_the_profile(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    control.fault("late_after_logout", delay=25.0, qrcode=True, times=1)
    commands.disconnect(user)
    assert control.session(name_of(user))["browser"], "its browser is still there"  # type: ignore[index]
    assert commands.connect(user).waits_until is not None
    wait_for(lambda: not control.session(name_of(user))["browser"])  # type: ignore[index]
    report(user, "browserClose", current=False)
    assert tend_until(user, lambda session: session.qr, database).waits_until is None


def test_a_start_that_hangs_is_closed_once_no_browser_can_hold_it(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.fault("profile_locked", times=1)
    commands.connect(user)
    assert state_of(user, control) == "INITIALIZING"
    database.execute("update whatsapp_sessions set start_asked_at = now() - interval '30 s'")
    assert commands.reconnect(user).waits_until is not None, "its browser may still be starting"
    database.execute("update whatsapp_sessions set start_asked_at = now() - interval '62 s'")
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '11 s', start_at = now()")
    tend_until(user, lambda session: session.qr, database)


def test_an_unscanned_code_is_said_to_be_just_that(user: Actor, database: Database) -> None:
    pairing(database, user)
    qr(user, "2@first")
    report(user, "browserClose")
    report(user, "qrReadError")
    assert own(user).failure == "qr_not_scanned"


def test_an_unscanned_code_is_found_out_where_every_webhook_is_lost(
    user: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(user)
    tend_until(user, lambda session: session.qr, database)
    database.execute("update whatsapp_sessions set start_asked_at = start_asked_at - interval '10 s'")
    session = tend_until(user, lambda session: session.status is Status.DISCONNECTED, database)
    assert (session.failure, session.server_holds) == ("qr_not_scanned", False)


def test_a_closed_session_that_its_server_brings_back_is_closed_again(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    commands.close(user)
    server.stop()
    server.start()
    wait_for(lambda: state_of(user, control) == "CONNECTED", what="the server brings back what has a token file")
    report(user, "inChat")
    tend_until(user, lambda session: state_of(user, control) != "CONNECTED", database)
    session = own(user)
    assert (session.status, session.failure) == (Status.DISCONNECTED, "closed")
    assert control.session(name_of(user))["phone"], "its phone stays paired"  # type: ignore[index]


def test_whoever_scans_a_cancelled_code_is_connected(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    tend_until(user, lambda session: session.qr, database)
    commands.disconnect(user)
    control.scan(name_of(user), "5511987654321")
    report(user, "qrReadSuccess")
    report(user, "inChat")
    tend_until(user, lambda session: session.status is Status.CONNECTED, database)


# --- disconnecting ------------------------------------------------------------------------------------------------


def test_it_disconnects_and_checks_that_it_did(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
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
    report(user, value)
    assert database.execute("select status, failure from whatsapp_sessions") == [("desconectado", said)]


def test_it_does_not_call_a_session_ended_that_the_server_reports_as_up(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    control.fault("close_half_works")
    with pytest.raises(WppOutcomeUnknown):
        commands.disconnect(user)
    assert own(user).status is Status.CONNECTED


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
    assert own(user).status is Status.CONNECTED


def test_it_has_nothing_to_disconnect_before_the_first_connect(user: Actor) -> None:
    with pytest.raises(NotFound):
        commands.disconnect(user)


# --- staff --------------------------------------------------------------------------------------------------------


def test_staff_act_for_a_user_on_the_record_and_never_see_the_codes(
    user: Actor, staff: Actor, server: SandboxServer, database: Database
) -> None:
    commands.connect(staff, user.user_id)
    tend_until(user, lambda found: found.qr, database)
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


# --- closing and moving -----------------------------------------------------------------------------------------------


def test_it_closes_a_session_that_then_stays_closed(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    assert commands.close(staff, user.user_id).status is Status.DISCONNECTED
    assert own(user).failure == "closed"
    assert own(user).server_holds, "its phone is still paired there"
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
    assert (commands.close(user).status, state_of(user, control)) == (Status.DISCONNECTED, "QRCODE")
    tend_until(user, lambda session: state_of(user, control) not in ("QRCODE", "CONNECTED"), database)
    assert own(user).failure == "closed"
    commands.connect(user)
    tend_until(user, lambda session: session.status is Status.CONNECTED, database)
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
        report(user, word, at=moment)
        assert own(user).status is Status.PAIRING
        assert checks.next_check_in() == 0, "it is asked about"
    report(user, word, at=asked + timedelta(seconds=7))
    assert own(user).status is Status.DISCONNECTED


def test_it_does_not_call_closed_what_is_still_up(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair(user, control, database)
    control.fault("close_half_works", name_of(user))
    with pytest.raises(WppOutcomeUnknown):
        commands.close(user)
    assert own(user).status is Status.CONNECTED


def test_it_moves_a_session_to_another_server(
    user: Actor, staff: Actor, two_servers: tuple[SandboxServer, SandboxServer], database: Database
) -> None:
    first, second = two_servers
    control = SandboxControl(first.url)
    pair(user, control, database)
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
    pair(user, control, database)
    control.close()
    first.stop()
    assert commands.move_to_server(staff, second.url, user.user_id).status is Status.PAIRING


def test_it_moves_to_configured_servers_only(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    with pytest.raises(ConfigurationError):
        commands.move_to_server(staff, "http://169.254.169.254", user.user_id)
    assert own(user).status is Status.CONNECTED
