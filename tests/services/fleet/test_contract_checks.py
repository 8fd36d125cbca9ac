"""Checks of a server against the contract: kept by server and version, one at a time."""

import pytest

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.errors import Forbidden, NotFound
from services.fleet import contract_checks, server_health
from services.fleet.contract_checks import CheckUnderWay, ContractCheck
from services.fleet.servers import Server
from services.wppconnect import contract_facts
from services.wppconnect.contract_facts import Outcome
from tests.support.databases import Database
from tests.support.servers import ServerPair, get_server, switch_fault
from tests.support.waiting import wait_for

CLOCK = 0.02


def checked(actor: Actor, server: SandboxServer) -> ContractCheck:
    """What came of a check."""
    contract_checks.start_check(actor, server.url, clock=CLOCK)
    wait_for(lambda: get_server(server).running_check is None, seconds=60)
    return get_server(server).checks[0]


def differing(check: ContractCheck) -> set[str]:
    return {fact.name for fact in check.of(Outcome.DIFFERS)}


def test_a_check_is_kept_by_server_and_version(server_pair: ServerPair, admin: Actor, database: Database) -> None:
    first = checked(admin, server_pair[0])
    assert (first.version, first.error, first.done) == ("2.10.4", None, first.steps)
    assert differing(first) == set()
    assert {fact.name for fact in first.facts} == set(contract_facts.FACTS)
    assert not first.of(Outcome.UNCHECKED), "a server on this machine reaches this process"
    again = checked(admin, server_pair[0])
    assert get_server(server_pair[0]).checks == (again,), "the newest of that version"
    assert get_server(server_pair[0]).last_check == again
    switch_fault(server_pair[0], "old_version", version="2.11.0")
    switch_fault(server_pair[0], "other_answer", route="check-connection-session", body={"connected": True})
    newer = checked(admin, server_pair[0])
    assert get_server(server_pair[0]).checks == (newer, again)
    assert "never started: check-connection" in differing(newer)
    assert get_server(server_pair[1]).checks == ()
    assert (
        database.execute("select action, subject from audit_log")
        == [("server.check", str(get_server(server_pair[0]).number))] * 3
    )


def test_it_warns_when_another_version_runs_than_was_checked(
    server_pair: ServerPair, admin: Actor, database: Database
) -> None:
    def runs(version: str) -> Server:
        database.execute("update wpp_servers set version = %s where url = %s", version, server_pair[0].url)
        return get_server(server_pair[0])

    server_health.update_health(SYSTEM)
    assert runs("2.10.4").changed_from is None, "nothing was checked yet"
    finished(database, server_pair[0].url, "2.10.4")
    assert runs("2.10.4").changed_from is None
    assert runs("2.11.0").changed_from == "2.10.4"
    finished(database, server_pair[0].url, "2.11.0")
    assert runs("2.11.0").changed_from is None
    back = runs("2.10.4")
    assert back.changed_from is None, "that one was checked too"
    assert back.last_check is not None
    assert back.last_check.version == "2.10.4"


def finished(database: Database, url: str, version: str | None, error: str | None = None) -> None:
    database.execute(
        "insert into server_checks (url, steps, done, finished_at, version, error) values (%s, 31, 31, now(), %s, %s)",
        url,
        version,
        error,
    )


def test_a_check_that_cannot_look_says_why_and_keeps_the_last_result(
    server_pair: ServerPair, admin: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    finished(database, server_pair[0].url, "2.10.4")
    switch_fault(server_pair[0], "server_down")
    failed = checked(admin, server_pair[0])
    assert (failed.error, failed.version, failed.facts) == ("wppconnect_inacessivel", None, ())
    assert get_server(server_pair[0]).failed_check == failed
    last = get_server(server_pair[0]).last_check
    assert last is not None
    assert last.version == "2.10.4"


def test_one_check_of_a_server_runs_at_a_time_and_one_that_was_cut_off_makes_room(
    server_pair: ServerPair, admin: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    database.execute("insert into server_checks (url, steps) values (%s, 31)", server_pair[0].url)
    with pytest.raises(CheckUnderWay):
        contract_checks.start_check(admin, server_pair[0].url, clock=CLOCK)
    assert database.one("select count(*) from audit_log") == 0
    database.execute("update server_checks set started_at = now() - interval '6 minutes'")
    running = get_server(server_pair[0]).running_check
    assert running is not None
    assert running.cut_off
    assert checked(admin, server_pair[0]).error is None
    assert database.one("select count(*) from server_checks") == 1


def test_a_check_is_an_admins_and_of_a_configured_server(
    server_pair: ServerPair, admin: Actor, staff: Actor, user: Actor, database: Database
) -> None:
    for actor in (staff, user):
        with pytest.raises(Forbidden):
            contract_checks.start_check(actor, server_pair[0].url)
    with pytest.raises(NotFound):
        contract_checks.start_check(admin, "http://127.0.0.1:9")
    assert database.one("select count(*) from server_checks") == 0
