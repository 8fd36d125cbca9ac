"""What WhatsApp knows of a number: asked once, believed for a while, and never asked beyond the hour's budget."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from sandbox.server import SandboxServer
from services.contacts import number_checks
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import NotFound
from services.messaging import acknowledgements, attempt, delivery, outbox
from services.messaging.pace import Pace
from services.wppconnect.errors import WppDisconnected, WppUnreachable
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected, own_session, pair_by_asking

ANA, BIA, CAIO = "5511988887777", "5511977776666", "5511966665555"


@pytest.fixture
def line(user: Actor, server: SandboxServer, control: SandboxControl, database: Database) -> UUID:
    """The session of a user who is connected to the sandbox."""
    pair_by_asking(user, control, database)
    return own_session(user).id


def test_it_asks_once_and_remembers_the_address_that_whatsapp_uses(
    user: Actor, line: UUID, control: SandboxControl
) -> None:
    control.number(ANA, ninth_digit=False)
    control.number(BIA, exists=False)
    steps: list[tuple[int, int]] = []
    number_checks.check_numbers(user, line, [ANA, BIA, ANA], lambda done, of: steps.append((done, of)))
    assert steps == [(1, 2), (2, 2)]
    found = number_checks.get_known(user, line, [ANA, BIA, CAIO])
    assert {phone: (one.on_whatsapp, one.address) for phone, one in found.items()} == {
        ANA: (True, "551188887777@c.us"),
        BIA: (False, None),
    }
    with transaction(SYSTEM) as tx:
        assert number_checks.get_known(tx, line, [ANA]) == {ANA: found[ANA]}


def test_it_believes_a_yes_for_long_and_a_no_for_a_day(
    user: Actor, line: UUID, control: SandboxControl, database: Database
) -> None:
    control.number(BIA, exists=False)
    number_checks.check_numbers(user, line, [ANA, BIA])
    database.execute("update number_checks set fresh_until = fresh_until - interval '25 hours'")
    assert list(number_checks.get_known(user, line, [ANA, BIA])) == [ANA]
    database.execute("update number_checks set fresh_until = fresh_until - interval '29 days'")
    assert number_checks.get_known(user, line, [ANA, BIA]) == {}


def test_it_asks_no_more_than_the_hours_budget(
    user: Actor, line: UUID, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER_CHECKS_PER_HOUR", "2")
    forget_process_state()
    assert number_checks.remaining_budget(user, line) == 2
    assert list(number_checks.check_numbers(user, line, [ANA, BIA, CAIO])) == [ANA, BIA]
    assert number_checks.check_numbers(user, line, [CAIO]) == {}
    assert number_checks.remaining_budget(user, line) == 0
    database.execute("update number_checks set asked_at = asked_at - interval '61 minutes'")
    assert list(number_checks.check_numbers(user, line, [CAIO])) == [CAIO]


def test_it_raises_what_the_client_raises_and_keeps_what_was_answered(
    user: Actor, line: UUID, server: SandboxServer, control: SandboxControl
) -> None:
    def unplug(done: int, _of: int) -> None:
        if done == 1:
            control.phone_logout(f"user_{user.user_id}")

    with pytest.raises(WppDisconnected):
        number_checks.check_numbers(user, line, [ANA, BIA], unplug)
    assert list(number_checks.get_known(user, line, [ANA, BIA])) == [ANA]


def test_it_says_that_the_server_is_away(user: Actor, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WPP_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WPP_SERVER_TOKEN", "nobody")
    forget_process_state()
    with pytest.raises(WppUnreachable):
        number_checks.check_numbers(user, connected(database, user), [ANA])


def test_it_is_closed_to_others(line: UUID, user: Actor, new_actor: Callable[..., Actor]) -> None:
    number_checks.check_numbers(user, line, [ANA])
    other = new_actor()
    assert number_checks.get_known(other, line, [ANA]) == {}
    with pytest.raises(NotFound):
        number_checks.check_numbers(other, line, [BIA])


def test_an_acknowledgement_renews_what_is_believed(
    user: Actor, line: UUID, control: SandboxControl, database: Database
) -> None:
    control.number(ANA, ninth_digit=False)
    number_checks.check_numbers(user, line, [ANA])
    outbox.queue(user, ANA, "Olá!", "key")
    (claimed,), _lanes = delivery.claim_lanes(1)
    delivery.finish(claimed, attempt.deliver(claimed), Pace(0))
    wpp_id = database.one("select wpp_id from messages")
    # The answer to the send brought the first ack with it, and one a day is enough.
    database.execute(
        "update number_checks set fresh_until = now() + interval '1 minute', confirmed_at = now() - interval '2 days'"
    )
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, line, wpp_id, 2, datetime.now(UTC))
    confirmed = number_checks.get_known(user, line, [ANA])[ANA]
    assert confirmed.confirmed_at is not None
    assert datetime.now(UTC) - confirmed.confirmed_at < timedelta(minutes=5)
    assert confirmed.address == "551188887777@c.us"
    assert database.one("select fresh_until > now() + interval '29 days' from number_checks")


def test_it_reads_the_primary_key_and_counts_by_an_index(user: Actor, database: Database) -> None:
    line = connected(database, user)
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, checked_at, fresh_until, asked_at)"
        " select %s, %s, '55119' || (80000000 + n), true, now(), now() + interval '1 day', now() - n * interval '1 s'"
        "   from generate_series(1, 20000) n",
        line, user.user_id,
    )  # fmt: skip
    database.execute("analyze number_checks")
    with transaction(SYSTEM) as tx:
        read = tx.execute(
            text(
                "explain select * from number_checks where session_id = :line and phone = any(:phones)"
                " and fresh_until > now()"
            ),
            {"line": line, "phones": [ANA]},
        ).scalars()
        assert "number_checks_pkey" in "\n".join(read)
        counted = tx.execute(
            text(
                "explain select count(*) from number_checks"
                " where session_id = :line and asked_at > now() - interval '1 minute'"
            ),
            {"line": line},
        ).scalars()
        assert "number_checks_asked" in "\n".join(counted)
