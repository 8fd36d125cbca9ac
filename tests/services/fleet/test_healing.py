"""Rounds over the fleet: what is wrong is found from evidence and healed by a ladder, or said to whom it needs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import checks, commands, healing, health_sweep, incidents, probes, timeline, transitions
from services.fleet.incidents import Incident, Kind, State
from services.fleet.session import Status
from services.wppconnect.shared import get_client
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected, name_of, own_session, pair_by_asking
from tests.support.waiting import wait_for

AGO = "clock_timestamp() - interval '1 hour'"


LONG_AGO = "clock_timestamp() - interval '9 hours'"


@pytest.fixture(autouse=True)
def own_numbers(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough numbers to ask about, none of them twice."""
    monkeypatch.setenv("HEALTH_NUMBERS", ",".join(f"55119000000{n}" for n in range(10, 50)))
    forget_process_state()


def stale(database: Database) -> None:
    """Nobody has proved or asked anything for so long that everybody's turn has come."""
    database.execute(
        "update whatsapp_sessions set probed_at = null,"
        f" last_proof_at = {LONG_AGO}, questioned_at = {LONG_AGO}, updated_at = {LONG_AGO}, connected_at = {LONG_AGO}"
    )


def round_(database: Database, *, due: bool = True) -> None:
    """One round, with every step `due`, and the questions that it causes."""
    if due:
        database.execute("update incidents set due_at = clock_timestamp() where state = 'open'")
    health_sweep.sweep()
    database.execute("update whatsapp_sessions set check_at = now() where check_at is not null")
    checks.run_due_checks()


def rounds_until(database: Database, condition: Callable[[], bool], *, due: bool = True) -> None:
    """Rounds, each of which takes a step; where none is `due`, each only looks at what the last step came to."""

    def look() -> bool:
        round_(database, due=due)
        return condition()

    wait_for(look)


def open_findings(actor: Actor) -> list[tuple[Kind, State]]:
    return [(one.kind, one.state) for one in incidents.list_incidents(actor).incidents]


def last(actor: Actor, user: Actor) -> Incident:
    return incidents.list_incidents(actor, user_id=user.user_id, ended=True).incidents[0]


def steps(actor: Actor, user: Actor) -> list[str]:
    """What the worker did, oldest first."""
    assert user.user_id is not None
    told = reversed(timeline.list_entries(actor, user.user_id).entries)
    return [f"{entry.what} {entry.outcome}" for entry in told if entry.what.startswith("step.")]


# --- asking -----------------------------------------------------------------------------------------------------------


def test_it_asks_nobody_whose_proof_is_fresh(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    probes.ask_whatsapp()
    assert (probes.probe_servers(), probes.ask_whatsapp()) == (0, 0)
    stale(database)
    assert (probes.probe_servers(), probes.ask_whatsapp()) == (1, 1)
    assert (probes.probe_servers(), probes.ask_whatsapp()) == (0, 0)


def test_it_proves_a_session_that_answers(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    assert own_session(user).last_proof_kind is None
    stale(database)
    health_sweep.sweep()
    assert database.one("select last_proof_at > clock_timestamp() - interval '1 minute' from whatsapp_sessions")
    assert own_session(user).last_proof_kind == "question"
    assert open_findings(staff) == []


def test_it_takes_a_page_that_answers_out_of_its_storage_for_no_proof(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.whatsapp_away(name_of(user))
    database.execute("update whatsapp_sessions set probed_at = null, check_at = now()")
    assert probes.probe_servers() == 1
    checks.run_due_checks()
    assert own_session(user).last_proof_at is None


def test_it_asks_each_session_once_however_many_workers_there_are(
    user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    stale(database)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: probes.probe_servers(), range(4))) == 1


# --- finding and healing ----------------------------------------------------------------------------------------------


def test_it_heals_a_zombie_by_a_restart(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    stale(database)
    control.kill(name_of(user))
    probes.ask_whatsapp()
    assert open_findings(staff) == [(Kind.ZOMBIE, State.OPEN)]
    rounds_until(database, lambda: len(steps(staff, user)) == 2)
    rounds_until(database, lambda: last(staff, user).state is State.HEALED, due=False)
    assert own_session(user).status is Status.CONNECTED
    assert steps(staff, user) == ["step.ask failed", "step.restart ok"]


def test_it_calls_a_person_once_the_ladder_is_at_its_end(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    stale(database)
    control.fault("zombie", name_of(user))
    rounds_until(database, lambda: last(staff, user).state is State.NEEDS_PERSON)
    assert len(steps(staff, user)) == len(healing.LADDERS[Kind.ZOMBIE])
    before = steps(staff, user)
    round_(database)
    assert steps(staff, user) == before


def test_it_starts_again_what_fell_by_itself(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    get_client().close_session(server.url, name_of(user))
    stale(database)
    probes.probe_servers()
    assert own_session(user).failure == "lost"
    stale(database)
    round_(database)
    rounds_until(database, lambda: own_session(user).status is Status.CONNECTED, due=False)
    rounds_until(database, lambda: last(staff, user).state is State.HEALED, due=False)
    assert last(staff, user).kind is Kind.DROPPED
    assert steps(staff, user) == ["step.start ok"]


def test_it_leaves_alone_what_its_owner_ended(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    commands.disconnect(user)
    stale(database)
    round_(database)
    assert incidents.list_incidents(staff, ended=True).total == 0
    assert own_session(user).status is Status.DISCONNECTED


def test_it_says_what_only_the_phone_can_mend(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    control.phone_logout(name_of(user))
    with transaction(SYSTEM) as tx:
        now = database.one("select clock_timestamp()")
        transitions.apply_report(tx, name_of(user), "disconnectedMobile", now, current=True)
    round_(database)
    assert open_findings(staff) == [(Kind.LOGGED_OUT, State.NEEDS_PHONE)]
    assert steps(staff, user) == []
    pair_by_asking(user, control, database)
    round_(database)
    assert open_findings(staff) == []


def test_it_frees_a_start_that_shows_no_code(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    control.fault("stuck_initializing", name_of(user))
    commands.connect(user)
    round_(database)
    assert open_findings(staff) == []
    database.execute(f"update whatsapp_sessions set pairing_started_at = {AGO}, start_asked_at = {AGO}")
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
    assert open_findings(staff) == [(Kind.STUCK, State.OPEN)]
    control.clear_faults()
    wait_for(lambda: not control.session(name_of(user))["browser"])  # type: ignore[index]
    round_(database)
    # What shows nothing is closed only when it has had time to show something.
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '11 s', start_at = now()")
    rounds_until(database, lambda: last(staff, user).state is State.HEALED, due=False)
    assert own_session(user).qr is not None
    assert steps(staff, user) == ["step.restart ok"]


def test_a_start_that_waits_for_another_one_is_not_stuck(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user)
    wait_for(lambda: control.session(name_of(user))["scannable"])  # type: ignore[index]
    assert commands.connect(user, phone="11987654321").waits_until is not None
    database.execute(f"update whatsapp_sessions set pairing_started_at = {AGO}")
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
    assert open_findings(staff) == []


def test_it_starts_a_stuck_code_pairing_by_code_again(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    commands.connect(user, phone="11987654321")
    commands.reconnect(SYSTEM, user.user_id)
    assert own_session(user).pairing_phone == "5511987654321"


def usual(database: Database, user: Actor, days: int) -> None:
    """It spoke at this hour on each of the last `days`."""
    database.execute(
        "insert into session_hours (session, hour, events, last_at)"
        " select %s, date_trunc('hour', clock_timestamp() - interval '30 minutes' - make_interval(days => d)), 9,"
        " clock_timestamp() - make_interval(days => d) from generate_series(1, %s) d",
        name_of(user),
        days,
    )


def test_it_holds_silence_against_the_session_s_own_hours(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    database.execute(
        f"update whatsapp_sessions set connected_at = {AGO} - interval '1 day', last_proof_at = clock_timestamp()"
    )
    usual(database, user, 4)
    round_(database)
    assert open_findings(staff) == []
    database.execute("delete from session_hours")
    usual(database, user, 7)
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
    assert open_findings(staff) == [(Kind.SILENT, State.OPEN)]


def test_it_hears_that_a_silence_is_over(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    usual(database, user, 7)
    stale(database)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp()")
    rounds_until(database, lambda: bool(steps(staff, user)))
    assert last(staff, user).kind is Kind.SILENT
    assert steps(staff, user) == ["step.restart ok"]
    database.execute("insert into session_hours values (%s, now(), 1, clock_timestamp())", name_of(user))
    with transaction(SYSTEM) as tx:
        incidents.update_states(tx)
    assert last(staff, user).state is State.HEALED


def test_it_reports_what_whatsapp_never_acknowledged(user: Actor, staff: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp()")
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, accepted_at)"
        f" values (%s, %s, 'out', 'accepted', '5511987654321', {AGO})",
        session_id,
        user.user_id,
    )
    round_(database)
    assert open_findings(staff) == [(Kind.UNACKED, State.NEEDS_PERSON)]
    database.execute("update messages set state = 'sent', sent_at = now()")
    round_(database)
    assert open_findings(staff) == []


def test_it_tells_a_server_from_its_sessions(
    user: Actor, staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    stale(database)
    control.fault("server_down")
    round_(database)
    assert open_findings(staff) == [(Kind.SERVER_DOWN, State.NEEDS_PERSON)]
    assert incidents.list_incidents(user).incidents == []
    stale(database)
    assert probes.probe_servers() == 0
    control.clear_faults()
    rounds_until(database, lambda: open_findings(staff) == [])
    assert own_session(user).status is Status.CONNECTED
    assert steps(staff, user) == []


def test_it_may_be_told_to_find_and_not_to_heal(
    user: Actor,
    staff: Actor,
    server: SandboxServer,
    control: SandboxControl,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEALTH_HEAL", "false")
    forget_process_state()
    pair_by_asking(user, control, database)
    stale(database)
    control.kill(name_of(user))
    round_(database)
    round_(database)
    assert open_findings(staff) == [(Kind.ZOMBIE, State.OPEN)]
    assert steps(staff, user) == []


# --- caps -------------------------------------------------------------------------------------------------------------


def fallen(database: Database, new_actor: Callable[..., Actor], count: int) -> list[UUID]:
    """Sessions that fell by themselves, on a server where nobody listens."""
    ids = [connected(database, new_actor()) for _ in range(count)]
    database.execute(
        f"update whatsapp_sessions set status = 'desconectado', desired_connected = true, failure = 'lost',"
        f" updated_at = {AGO}"
    )
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
    return ids


def claim(cap: int = 3) -> list[int]:
    with transaction(SYSTEM) as tx:
        rows = tx.execute(healing._CLAIM_INCIDENTS, {"limit": 20, "lease": 90, "step": 60, "cap": cap}).all()
    return [row.id for row in rows]


def test_it_brings_the_sessions_of_one_server_back_in_waves(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    fallen(database, new_actor, 8)
    first = claim()
    assert len(first) == 3
    database.execute(
        "update incidents set acted_at = clock_timestamp(), due_at = clock_timestamp() + interval '1 minute'"
        " where id = any(%s)",
        first,
    )
    assert claim() == []
    database.execute("update incidents set state = 'healed', ended_at = now() where id = any(%s)", first)
    assert len(claim()) == 3


def test_it_tries_one_at_a_time_where_a_whole_server_is_out_of_whatsapp_s_reach(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    ids = [connected(database, new_actor()) for _ in range(5)]
    with transaction(SYSTEM) as tx:
        incidents.open_incidents(tx, Kind.ZOMBIE, ids[:4])
    assert len(claim()) == 1
    database.execute("update incidents set due_at = clock_timestamp()")
    database.execute("update whatsapp_sessions set last_proof_at = clock_timestamp() where id = %s", ids[4])
    assert len(claim()) == 3


def test_it_takes_each_step_once_however_many_workers_there_are(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    fallen(database, new_actor, 6)
    with ThreadPoolExecutor(4) as pool:
        taken = [one for mine in pool.map(lambda _: claim(100), range(4)) for one in mine]
    assert len(taken) == len(set(taken)) == 6


def test_it_heals_nobody_all_day(database: Database, user: Actor, staff: Actor) -> None:
    session_id = connected(database, user)
    database.execute(
        f"update whatsapp_sessions set status = 'desconectado', desired_connected = true, failure = 'lost',"
        f" updated_at = {AGO}"
    )
    database.execute(
        "insert into incidents (session_id, user_id, server_url, kind, state, steps, ended_at)"
        " values (%s, %s, 'http://127.0.0.1:9', 'dropped', 'healed', 10, now())",
        session_id,
        user.user_id,
    )
    round_(database)
    assert open_findings(staff) == [(Kind.DROPPED, State.NEEDS_PERSON)]
    assert steps(staff, user) == []


# --- figures ----------------------------------------------------------------------------------------------------------


def test_it_writes_the_figures_down_once_in_a_while(user: Actor, database: Database) -> None:
    connected(database, user)
    health_sweep.write_sample()
    health_sweep.write_sample()
    figures = database.one("select figures from fleet_samples")
    assert figures == {"conectado": 1, "pareando": 0, "desconectado": 0, "unproven": 1, "silent": 0}


def test_it_forgets_what_nobody_looks_at(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute("insert into fleet_samples values (now() - interval '32 days', '{}'), (now(), '{}')")
    database.execute(
        "insert into session_hours values ('a', now() - interval '16 days', 1, now()), ('a', now(), 1, now())"
    )
    database.execute(
        "insert into incidents (session_id, user_id, kind, state, ended_at)"
        " select %s, %s, 'dropped', 'healed', now() - make_interval(days => d) from (values (1), (366)) as x (d)",
        session_id,
        user.user_id,
    )
    health_sweep.purge_expired()
    for table in ("fleet_samples", "session_hours", "incidents"):
        assert database.one(f"select count(*) from {table}") == 1


def test_it_finds_who_is_due_by_an_index(user: Actor, database: Database) -> None:
    database.execute(
        "insert into auth.users (id, email)"
        " select gen_random_uuid(), n || '@example.com' from generate_series(1, 3000) n"
    )
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, last_proof_at)"
        " select id, 'user_' || id, 'conectado', 'http://127.0.0.1:9', now() from auth.users on conflict do nothing"
    )
    database.execute("analyze whatsapp_sessions")
    with transaction(SYSTEM) as tx:
        tx.execute(text("set local enable_seqscan = off"))
        statement = "explain " + probes._CLAIM_DUE.text
        plan = tx.execute(text(statement), {"proof": 300, "limit": 200}).scalars().all()
    assert "whatsapp_sessions_probe" in str(plan)
