"""Questions to WhatsApp: about whom, how seldom, who is asked at once, and what an answer proves."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import incidents, probes, proof_of_life, proof_schedule
from services.fleet.incidents import Kind
from services.fleet.proof_of_life import ProbeResult
from services.fleet.proof_schedule import Reason
from services.fleet.session import Proof
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected, name_of, own_session, pair_by_asking, wrote_to

FLEET = 30
PACE = timedelta(days=1) / (3 * FLEET)
NOBODY = "http://127.0.0.1:9"


def fleet(database: Database, size: int = FLEET, server: str = NOBODY) -> None:
    """Sessions that are up and quiet, the last proof of each a moment after that of the one before."""
    database.execute(
        "insert into auth.users (id, email) select gen_random_uuid(), n || %s from generate_series(1, %s) n",
        f"@{server}",
        size,
    )
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, phone_number, last_proof_at,"
        " connected_at) select id, 'user_' || id, 'conectado', %s, '5511' || (900000000 + row_number() over ()),"
        " clock_timestamp() - interval '20 hours' + row_number() over () * interval '1 second',"
        " clock_timestamp() - interval '2 days' from auth.users where email like %s",
        server,
        f"%@{server}",
    )


def later(database: Database, after: timedelta) -> None:
    """As if so much time had passed."""
    for table, columns in (
        ("whatsapp_sessions", ("last_proof_at", "questioned_at", "connected_at")),
        ("proof_questions", ("asked_at", "answered_at")),
        ("incidents", ("detected_at", "ended_at")),
    ):
        database.execute(
            f"update {table} set " + ", ".join(f"{c} = {c} - %s" for c in columns), *[after] * len(columns)
        )


def ask(sight: ProbeResult = ProbeResult.ALIVE) -> list[proof_schedule.Question]:
    """Whoever is due is asked, and all of it comes to `sight`."""
    asked = proof_schedule.claim_due()
    with transaction(SYSTEM) as tx:
        proof_of_life.record_answers(tx, [(one, sight) for one in asked])
    return asked


def found_dead(session_id: UUID) -> None:
    with transaction(SYSTEM) as tx:
        incidents.open_incidents(tx, Kind.ZOMBIE, [session_id])


def first(database: Database) -> UUID:
    session_id: UUID = database.one("select id from whatsapp_sessions order by last_proof_at limit 1")
    return session_id


# --- how seldom -------------------------------------------------------------------------------------------------------


def test_it_asks_a_quiet_fleet_three_times_a_day_evenly(database: Database) -> None:
    fleet(database)
    rounds = []
    for _ in range(3 * FLEET):
        later(database, PACE + timedelta(milliseconds=100))
        rounds.append(ask())
    assert [len(asked) for asked in rounds] == [1] * (3 * FLEET)
    each = [one.session_id for asked in rounds for one in asked]
    assert {each.count(session_id) for session_id in each} == {3}
    assert {one.reason for asked in rounds for one in asked} == {Reason.QUIET}
    assert proof_schedule.claim_due() == []


def test_it_knows_when_the_next_quiet_question_has_its_turn(database: Database) -> None:
    assert proof_schedule.next_due_in() is None
    fleet(database)
    ask()
    due = proof_schedule.next_due_in()
    assert due is not None
    assert 280 < due <= PACE.total_seconds()


def test_it_asks_no_server_of_which_something_is_heard(database: Database) -> None:
    fleet(database)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '5 hours'")
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() where id = %s", first(database))
    assert proof_schedule.claim_due() == []
    later(database, PACE)
    assert len(proof_schedule.claim_due()) == 1


def test_it_may_be_told_to_ask_nobody(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_ASKS_PER_DAY", "0")
    forget_process_state()
    fleet(database)
    assert proof_schedule.claim_due() == []
    assert proof_schedule.next_due_in() is None


# --- about whom -------------------------------------------------------------------------------------------------------


def test_it_asks_about_another_session_and_never_about_the_same_number_soon_again(database: Database) -> None:
    fleet(database, 3)
    session_id = first(database)
    mine = database.one("select phone_number from whatsapp_sessions where id = %s", session_id)
    asked = []
    for _ in range(3):
        question = proof_schedule.claim_session(session_id)
        assert question is not None
        asked.append(question.phone)
        with transaction(SYSTEM) as tx:
            proof_of_life.record_answers(tx, [(question, ProbeResult.ALIVE)])
    assert mine not in asked
    assert len(set(asked[:2])) == 2
    assert asked[2] is None


def test_it_asks_about_nobody_whom_the_session_has_talked_with(database: Database) -> None:
    fleet(database, 2)
    session_id = first(database)
    database.execute(
        "insert into contacts (session_id, user_id, address, phone) select s.id, s.user_id, o.phone_number || '@c.us',"
        " o.phone_number from whatsapp_sessions s, whatsapp_sessions o where s.id = %s and o.id <> s.id",
        session_id,
    )
    question = proof_schedule.claim_session(session_id)
    assert question is not None
    assert question.phone is None


def test_it_asks_about_the_operator_s_own_numbers_first(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_NUMBERS", "+55 (11) 98888-0001")
    forget_process_state()
    fleet(database, 3)
    question = proof_schedule.claim_session(first(database))
    assert question is not None
    assert (question.phone, question.certain) == ("5511988880001", True)


def test_it_takes_the_answer_for_a_possible_contact_for_no_proof(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    wrote_to(database, user.user_id, "5511977776666")
    control.address_book(name_of(user), "5511977776666")
    control.whatsapp_away(name_of(user))
    assert probes.ask_whatsapp() == 1
    assert own_session(user).last_proof_at is None
    assert incidents.list_incidents(staff).incidents == []


def test_it_convicts_by_the_silence_about_a_possible_contact_and_then_asks_about_that_number(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    wrote_to(database, user.user_id, "5511977776666")
    control.whatsapp_away(name_of(user))
    probes.ask_whatsapp()
    assert [one.kind for one in incidents.list_incidents(staff).incidents] == [Kind.ZOMBIE]
    control.whatsapp_away(name_of(user), away=False)
    later(database, timedelta(minutes=15))
    probes.ask_whatsapp()
    assert own_session(user).last_proof_kind == Proof.QUESTION


# --- who is asked at once ---------------------------------------------------------------------------------------------


def queued(database: Database, session_id: UUID, values: str) -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, phone, state, sending_at, uncertain_at, accepted_at)"
        f" select id, user_id, 'out', '5511966665555', {values} from whatsapp_sessions where id = %s",
        session_id,
    )


HUNG = "'uncertain', clock_timestamp() - interval '35 s', clock_timestamp() - interval '5 s', null"
UNACKED = "'accepted', null, null, clock_timestamp() - interval '3 minutes'"


@pytest.mark.parametrize("values", [HUNG, UNACKED])
def test_it_asks_at_once_where_a_send_hangs(database: Database, values: str) -> None:
    fleet(database, 2)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '4 minutes'")
    session_id = first(database)
    queued(database, session_id, values)
    assert [(one.session_id, one.reason) for one in ask()] == [(session_id, Reason.SUSPECT)]
    queued(database, session_id, values)
    assert proof_schedule.claim_due() == []


def test_it_asks_at_once_where_a_number_check_hangs(database: Database) -> None:
    fleet(database, 2)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '4 minutes'")
    database.execute(
        "insert into number_checks (session_id, user_id, phone, asked_at) select id, user_id, '5511966665555',"
        " clock_timestamp() - interval '20 seconds' from whatsapp_sessions where id = %s",
        first(database),
    )
    assert [one.reason for one in proof_schedule.claim_due()] == [Reason.SUSPECT]


def test_it_asks_about_the_number_whose_check_hangs_where_there_is_no_other(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.whatsapp_away(name_of(user))
    database.execute(
        "insert into number_checks (session_id, user_id, phone, asked_at)"
        " select id, user_id, '5511966664444', clock_timestamp() - interval '20 s' from whatsapp_sessions"
    )
    assert probes.ask_whatsapp() == 1
    assert [one.kind for one in incidents.list_incidents(staff).incidents] == [Kind.ZOMBIE]


def test_it_takes_a_send_that_hung_before_the_last_proof_for_nothing(database: Database) -> None:
    fleet(database, 2)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp()")
    queued(database, first(database), HUNG)
    assert proof_schedule.claim_due() == []


def test_it_believes_two_hung_sends_where_nobody_can_be_asked_about(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.whatsapp_away(name_of(user))
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '4 minutes'")
    queued(database, first(database), HUNG)
    probes.ask_whatsapp()
    assert incidents.list_incidents(staff).incidents == []
    queued(database, first(database), HUNG)
    later(database, timedelta(seconds=61))
    database.execute("update messages set uncertain_at = clock_timestamp()")
    probes.ask_whatsapp()
    assert [one.kind for one in incidents.list_incidents(staff).incidents] == [Kind.ZOMBIE]


def test_it_asks_the_neighbours_of_a_dead_session_until_three_answer(database: Database) -> None:
    fleet(database, 20)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '4 minutes'")
    found_dead(first(database))
    asked = ask()
    assert [one.reason for one in asked] == [Reason.NEIGHBOUR] * 3
    assert proof_schedule.claim_due() == []


def test_it_asks_ever_more_neighbours_while_none_answers(database: Database) -> None:
    fleet(database, 20)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '4 minutes'")
    found_dead(first(database))
    assert [len(ask(ProbeResult.DEAD)) for _ in range(4)] == [3, 4, 8, 4]
    assert database.one("select count(*) from incidents") == 20


def test_it_asks_a_dead_session_ever_more_seldom(database: Database) -> None:
    fleet(database, 1)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() - interval '4 minutes'")
    found_dead(first(database))
    hours = []
    for minute in range(24 * 6):
        later(database, timedelta(minutes=10))
        hours += [minute // 6 for one in ask(ProbeResult.DEAD) if one.reason is Reason.AGAIN]
    assert hours.count(0) >= 4
    assert len(hours) <= 22


def test_it_asks_the_other_dead_ones_once_one_has_come_back(database: Database) -> None:
    fleet(database, 4)
    for (session_id,) in database.execute("select id from whatsapp_sessions"):
        found_dead(session_id)
    database.execute("update whatsapp_sessions set questioned_at = clock_timestamp() - interval '1 minute'")
    assert proof_schedule.claim_due() == []
    database.execute(
        "update incidents set state = 'healed', ended_at = clock_timestamp() where session_id = %s", first(database)
    )
    asked = proof_schedule.claim_due()
    assert [one.reason for one in asked if one.session_id != first(database)] == [Reason.AGAIN] * 3


def test_it_leaves_the_sessions_of_a_lost_server_alone(database: Database, new_actor: Callable[..., Actor]) -> None:
    connected(database, new_actor())
    database.execute("update whatsapp_sessions set connected_at = now()")
    with transaction(SYSTEM) as tx:
        incidents.open_server_down(tx, NOBODY)
    assert proof_schedule.claim_due() == []
