"""Sign-in, lock-out and tokens, against a real database."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import bcrypt
import jwt
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services import settings
from services.accounts import cookie_tokens, provisioning
from services.accounts import sign_in as identity
from services.accounts.cookie_tokens import TokenKind
from services.accounts.sign_in import SignInLocked, SignInRefused
from services.db.actor import Actor, Role, person
from services.db.engine import transaction
from services.errors import DatabaseUnavailable, Forbidden, Unauthenticated
from tests.support.accounts import EMAIL, PASSWORD, WRONG_PASSWORD, count_refusals
from tests.support.databases import Database
from tests.support.process_state import point_at_database


def test_it_signs_in_whatever_the_case_of_the_email(ana: UUID) -> None:
    account = identity.get_account(identity.sign_in(" ANA@Example.com ", PASSWORD))
    assert account is not None
    assert account.actor == person(ana, Role.USER, EMAIL)
    assert account.name == "Ana Lima"


def test_it_answers_an_unknown_name_as_a_wrong_password(ana: UUID) -> None:
    answers = []
    for email in (EMAIL, "nobody@example.com", "", "não é e-mail", "\0", "x" * 5000):
        with pytest.raises(SignInRefused) as caught:
            identity.sign_in(email, WRONG_PASSWORD)
        answers.append((caught.value.message, caught.value.hint, caught.value.detail, caught.value.params))
    assert len({repr(answer) for answer in answers}) == 1


@pytest.mark.usefixtures("real_password_hashing")
def test_it_takes_as_long_for_unknown_inactive_and_cheaply_hashed_users(database: Database, ana: UUID) -> None:
    supabase = provisioning.create_user("supabase@example.com", PASSWORD, Role.USER)
    fast_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10, prefix=b"2a")).decode()
    database.execute("update auth.users set encrypted_password = %s where id = %s", fast_hash, supabase)
    gone = provisioning.create_user("gone@example.com", PASSWORD, Role.USER)
    database.execute("update public.accounts set active = false where user_id = %s", gone)
    no_password = provisioning.create_user("sso@example.com", PASSWORD, Role.USER)
    database.execute("update auth.users set encrypted_password = '' where id = %s", no_password)
    names = (EMAIL, "supabase@example.com", "gone@example.com", "sso@example.com", "nobody@example.com")
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(4):
        for name in names:
            started = time.thread_time()  # processor time: what else the machine does is not counted
            with pytest.raises(SignInRefused):
                identity.sign_in(name, WRONG_PASSWORD)
            spent[name].append(time.thread_time() - started)
    times = {name: median(found[1:]) for name, found in spent.items()}
    assert max(times.values()) < 1.3 * min(times.values()), times
    assert identity.get_account(identity.sign_in("supabase@example.com", PASSWORD))


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
def test_it_locks_after_five_failures_whether_the_name_exists_or_not(ana: UUID, email: str) -> None:
    assert count_refusals(7, email) == {"SignInRefused": 5, "SignInLocked": 2}
    with pytest.raises(SignInLocked) as caught:
        identity.sign_in(email, PASSWORD)
    assert 14 <= caught.value.params["minutes"] <= 15


def test_it_unlocks_fifteen_minutes_after_the_last_failure(database: Database, ana: UUID) -> None:
    count_refusals(5)
    database.execute("update public.sign_in_attempts set occurred_at = occurred_at - interval '14 minutes 50 seconds'")
    count_refusals(1)  # refused without being counted, or the name would stay locked for ever
    database.execute("update public.sign_in_attempts set occurred_at = occurred_at - interval '11 seconds'")
    assert identity.sign_in(EMAIL, PASSWORD)


def test_it_stays_locked_although_the_first_failures_are_older_than_the_window(database: Database, ana: UUID) -> None:
    count_refusals(3)
    database.execute("update public.sign_in_attempts set occurred_at = occurred_at - interval '10 minutes'")
    count_refusals(2)
    database.execute("update public.sign_in_attempts set occurred_at = occurred_at - interval '10 minutes'")
    with pytest.raises(SignInLocked) as caught:
        identity.sign_in(EMAIL, PASSWORD)
    assert 4 <= caught.value.params["minutes"] <= 5


def test_it_forgets_failures_after_a_success(ana: UUID) -> None:
    count_refusals(4)
    identity.sign_in(EMAIL, PASSWORD)
    assert count_refusals(6) == {"SignInRefused": 5, "SignInLocked": 1}


def test_it_lets_no_more_than_five_guesses_through_at_once(ana: UUID) -> None:
    def guess(number: int) -> str:
        try:
            identity.sign_in(EMAIL, f"palpite número {number}")
        except (SignInRefused, SignInLocked) as error:
            return type(error).__name__
        return "signed in"

    with ThreadPoolExecutor(12) as pool:
        assert Counter(pool.map(guess, range(24))) == {"SignInRefused": 5, "SignInLocked": 19}


def test_it_locks_a_public_address_after_thirty_failures_over_many_names(database: Database, ana: UUID) -> None:
    for ip in ("203.0.113.9", "10.1.2.3"):
        database.execute(
            "insert into public.sign_in_attempts (key, ip)"
            " select app.email_key(%s || n), %s from generate_series(1, 30) n",
            ip,
            ip,
        )
    with pytest.raises(SignInLocked):
        identity.sign_in(EMAIL, PASSWORD, "203.0.113.9")
    assert identity.sign_in(EMAIL, PASSWORD, "203.0.113.10")
    assert identity.sign_in(EMAIL, PASSWORD, "10.1.2.3"), "a private address may be the proxy's, and so everybody's"


def test_it_records_security_events_without_what_was_typed(database: Database, ana: UUID) -> None:
    count_refusals(5, "minha-senha-no-campo-errado", "203.0.113.9")
    identity.sign_in(EMAIL, PASSWORD, "203.0.113.9")
    rows = database.execute("select kind, subject, ip from public.security_events order by id")
    assert [row[0] for row in rows] == ["sign_in_failed"] * 4 + ["sign_in_locked", "sign_in"]
    assert rows[-1][1:] == (str(ana), "203.0.113.9")
    everything = database.one("select string_agg(e::text, ' ') from public.security_events e")
    everything += database.one("select string_agg(a::text, ' ') from public.sign_in_attempts a")
    assert "minha-senha" not in everything
    assert WRONG_PASSWORD not in everything


SHUT = {
    "inactive": "update public.accounts set active = false where user_id = %s",
    "banned": "update auth.users set banned_until = now() + interval '1 hour' where id = %s",
    "soft-deleted": "update auth.users set deleted_at = now() where id = %s",
    "deleted": "delete from auth.users where id = %s",
}


@pytest.mark.parametrize("how", SHUT)
def test_it_shuts_out_at_once_whoever_may_no_longer_come_in(database: Database, ana: UUID, how: str) -> None:
    sign_in = identity.sign_in(EMAIL, PASSWORD)
    assert cookie_tokens.verify_token(cookie_tokens.encode_token(sign_in))
    database.execute(SHUT[how], ana)
    assert identity.get_account(sign_in) is None
    assert cookie_tokens.verify_token(cookie_tokens.encode_token(sign_in)) is None
    with pytest.raises(SignInRefused):
        identity.sign_in(EMAIL, PASSWORD)
    with pytest.raises(Unauthenticated):
        identity.open_sign_in(ana)


def test_it_lets_a_user_in_again_whose_ban_is_over(database: Database, ana: UUID) -> None:
    database.execute("update auth.users set banned_until = now() - interval '1 second' where id = %s", ana)
    assert identity.get_account(identity.sign_in(EMAIL, PASSWORD))


@pytest.mark.parametrize(
    ("stored", "role"),
    [
        ('{"role": "admin"}', "admin"),
        ('{"role": "operator"}', "operator"),
        ('{"role": "root"}', "user"),
        ("{}", "user"),
    ],
)
def test_it_takes_the_role_of_now_from_the_database(database: Database, ana: UUID, stored: str, role: str) -> None:
    token = cookie_tokens.encode_token(identity.sign_in(EMAIL, PASSWORD))
    database.execute("update auth.users set raw_app_meta_data = %s::jsonb where id = %s", stored, ana)
    actor = cookie_tokens.verify_token(token)
    assert actor is not None
    assert actor.role == role


def forged(**changes: object) -> str:
    claims = {
        "sub": str(uuid4()),
        "jti": str(uuid4()),
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
        "aud": "cookie",
        "token_version": 1,
    }
    claims |= changes
    key = settings.get().auth.cookie_key.get_secret_value()
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm="HS256")


def test_it_refuses_every_malformed_token_without_an_error(ana: UUID) -> None:
    good = cookie_tokens.issue_token(person(ana, Role.USER))
    header, payload, signature = good.split(".")
    bad = [
        "",
        ".",
        "..",
        "a.b.c",
        "\0",
        "ção",
        "x" * 100_000,
        good[:-2],
        f"{header}.{payload}.",
        f"{header}.{payload[:-4]}AAAA.{signature}",
        jwt.encode({"sub": str(ana)}, "", algorithm="none"),
        jwt.encode({"sub": str(ana), "aud": "cookie"}, "another key of at least thirty-two bytes", algorithm="HS256"),
        forged(sub=str(ana), exp=int(time.time()) - 1),
        forged(sub=str(ana), exp=None),
        forged(sub=str(ana), aud=None),
        forged(sub=str(ana), token_version=None),
        forged(sub=str(ana), token_version="x"),
        forged(sub=str(ana), token_version=2),
        forged(sub="not a uuid"),
        forged(sub=str(ana), jti="not a uuid"),
        forged(),
    ]
    assert [token for token in bad if cookie_tokens.verify_token(token) is not None] == []
    assert cookie_tokens.verify_token(forged(sub=str(ana))), "the forger's hand is sure: only the change was refused"
    assert cookie_tokens.verify_token(good) == person(ana, Role.USER, EMAIL)


def test_it_gives_a_token_seven_days(ana: UUID) -> None:
    claims = jwt.decode(cookie_tokens.issue_token(person(ana, Role.USER)), options={"verify_signature": False})
    assert abs(claims["exp"] - time.time() - 7 * 24 * 3600) < 10
    assert claims["sub"] == str(ana)


def test_it_trades_a_fresh_ticket_for_a_cookie_and_takes_neither_for_the_other(ana: UUID) -> None:
    sign_in = identity.sign_in(EMAIL, PASSWORD)
    ticket, token = cookie_tokens.encode_token(sign_in, TokenKind.TICKET), cookie_tokens.encode_token(sign_in)
    assert cookie_tokens.verify_token(ticket) is None
    assert cookie_tokens.redeem_ticket(token) is None
    assert cookie_tokens.redeem_ticket(forged(sub=str(ana), aud="ticket", exp=int(time.time()) - 1)) is None
    redeemed = cookie_tokens.redeem_ticket(ticket)
    assert redeemed is not None
    read = cookie_tokens.decode_token(redeemed)
    assert read is not None
    assert (read.user_id, read.sign_in_id) == (ana, sign_in.sign_in_id)
    assert abs(read.expires_at - sign_in.expires_at) < 5
    identity.sign_out(sign_in)
    assert cookie_tokens.redeem_ticket(ticket) is None


def days_later(sign_in: identity.SignIn, days: float) -> identity.SignIn:
    """The sign-in as it is that much later."""
    seconds = int(days * 86400)
    return replace(sign_in, expires_at=sign_in.expires_at - seconds, began=sign_in.began - seconds)


def test_it_keeps_whoever_comes_back_signed_in_and_asks_again_after_thirty_days(ana: UUID) -> None:
    fresh = identity.sign_in(EMAIL, PASSWORD)
    assert identity.renew(days_later(fresh, 0.9)) is None
    longer = identity.renew(days_later(fresh, 2))
    assert longer is not None
    assert (longer.sign_in_id, longer.began) == (fresh.sign_in_id, fresh.began - 2 * 86400)
    assert abs(longer.expires_at - time.time() - identity.SIGN_IN_SECONDS) < 5
    cookie = cookie_tokens.redeem_ticket(cookie_tokens.encode_token(longer, TokenKind.TICKET))
    read = cookie_tokens.decode_token(cookie or "")
    assert read is not None
    assert read.began == longer.began
    assert abs(read.expires_at - longer.expires_at) < 5
    late = replace(fresh, expires_at=fresh.expires_at - 6 * 86400, began=fresh.began - 28 * 86400)
    last = identity.renew(late)
    assert last is not None
    assert last.expires_at == late.began + identity.MAX_SIGN_IN_SECONDS
    read = cookie_tokens.decode_token(
        cookie_tokens.redeem_ticket(cookie_tokens.encode_token(last, TokenKind.TICKET)) or ""
    )
    assert read is not None
    assert abs(read.expires_at - last.expires_at) < 5
    assert identity.renew(read) is None


def test_it_ends_a_renewed_sign_in_from_a_tab_that_does_not_know_of_it(ana: UUID, database: Database) -> None:
    older = days_later(identity.sign_in(EMAIL, PASSWORD), 5)
    newer = identity.renew(older)
    assert newer is not None
    identity.sign_out(older)
    database.execute("delete from signed_out where expires_at < now() + interval '8 days'")
    assert identity.get_account(newer) is None


def test_it_ends_one_sign_in_with_all_copies_of_its_token_and_no_other(ana: UUID) -> None:
    here, there = identity.sign_in(EMAIL, PASSWORD), identity.sign_in(EMAIL, PASSWORD)
    copy = cookie_tokens.encode_token(here)
    identity.sign_out(here)
    identity.sign_out(here)
    assert identity.get_account(here) is None
    assert cookie_tokens.verify_token(copy) is None
    assert identity.get_account(there)


def test_it_signs_out_everywhere_and_lets_the_person_in_again(ana: UUID) -> None:
    first, second = identity.sign_in(EMAIL, PASSWORD), identity.sign_in(EMAIL, PASSWORD)
    for _ in range(2):
        identity.sign_out_everywhere(person(ana, Role.USER))
        assert identity.get_account(first) is None
        assert identity.get_account(second) is None
        first = second = identity.sign_in(EMAIL, PASSWORD)
        assert identity.get_account(first)


def test_it_signs_others_out_only_for_staff(ana: UUID, user: Actor, staff: Actor) -> None:
    sign_in = identity.sign_in(EMAIL, PASSWORD)
    with pytest.raises(Forbidden):
        identity.sign_out_everywhere(user, ana)
    with pytest.raises(ProgrammingError, match="only for oneself"), transaction(user) as tx:
        tx.execute(text("select app.revoke_tokens(:id)"), {"id": ana})
    assert identity.get_account(sign_in)
    identity.sign_out_everywhere(staff, ana)
    assert identity.get_account(sign_in) is None


def test_it_rings_open_pages_when_an_account_is_shut(database: Database, ana: UUID) -> None:
    with psycopg.connect(database.url, autocommit=True) as listener:
        listener.execute("listen live")
        database.execute(SHUT["inactive"], ana)
        notes = [note.payload for note in listener.notifies(timeout=5, stop_after=1)]
    assert notes == [f"account:{ana}"]


def test_it_says_that_the_database_is_down(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = forged()
    point_at_database(monkeypatch, f"postgresql://nobody@/none?host={tmp_path}", tmp_path / "data")
    monkeypatch.setenv("AUTH_COOKIE_KEY", "k" * 32)
    token = forged()
    for call in (
        lambda: identity.sign_in(EMAIL, PASSWORD),
        lambda: cookie_tokens.verify_token(token),
        lambda: provisioning.create_user(EMAIL, PASSWORD, Role.USER),
        lambda: provisioning.create_first_admin(settings.get()),
        lambda: identity.sign_out_everywhere(person(uuid4(), Role.USER)),
    ):
        with pytest.raises(DatabaseUnavailable):
            call()
    assert cookie_tokens.verify_token("garbage") is None, "what we did not sign needs no database"
