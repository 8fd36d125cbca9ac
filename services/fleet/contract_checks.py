"""Contract checks: whether a server does everything that this console relies on.

A check covers what can be seen without a phone (`wppconnect.check`). It takes up to two minutes, so it runs in a thread
and writes its progress into its row. A row that is still unfinished long after that belongs to a process that ended.
The newest result of each version is kept.
"""

import contextlib
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, func, update
from sqlalchemy.dialects import postgresql

from services import settings
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_object, read_row
from services.db.tables.base import Record
from services.db.tables.fleet import server_checks
from services.errors import N_, Conflict, DatabaseUnavailable
from services.fleet.server_registry import change_server, get_number
from services.security import audit_log
from services.wppconnect import check as contract_check
from services.wppconnect import contract_facts
from services.wppconnect.contract_facts import Fact, Outcome, Report
from services.wppconnect.errors import WppError, WppUnreachable

log = structlog.get_logger(__name__)
# A check takes two minutes; one that is older and not finished is one of a process that ended.
CHECK_TIMEOUT = timedelta(minutes=5)


class CheckUnderWay(Conflict):
    """The server is being held against the contract already."""

    code = "conferencia_em_andamento"
    permanent = False
    message = N_("Este servidor já está sendo conferido.")
    hint = N_("Espere a conferência terminar; ela leva até dois minutos.")


@dataclass(frozen=True)
class ContractCheck:
    """One check of a server. `finished_at` None: it runs, or with `cut_off` the process that ran it has ended.

    `error`: the code of what kept the server from being looked at; then there are no `facts`.
    """

    started_at: datetime
    finished_at: datetime | None
    done: int
    steps: int
    version: str | None
    error: str | None
    facts: tuple[Fact, ...]

    @property
    def cut_off(self) -> bool:
        return self.finished_at is None and datetime.now(UTC) - self.started_at > CHECK_TIMEOUT

    def of(self, outcome: Outcome) -> list[Fact]:
        """The facts of that outcome."""
        return [fact for fact in self.facts if fact.outcome is outcome]


def start_check(actor: Actor, url: str, *, clock: float = 1.0) -> None:
    """Begin to hold a server against the contract, for admins, on the record; `list_servers` says how far it is.

    The facts about webhooks are checked for a server on this machine only: nobody knows where another would reach this
    process. `clock`: how many seconds a second of a stand-in's takes.

    Raises: Forbidden, NotFound for a server that is not configured, and CheckUnderWay.
    """
    with transaction(actor) as tx:
        change_server(tx, actor, url)
        lost = server_checks.c.started_at < func.now() - CHECK_TIMEOUT
        tx.execute(delete(server_checks).where(server_checks.c.url == url, server_checks.c.finished_at.is_(None), lost))
        begun = (
            postgresql.insert(server_checks).values(url=url, steps=len(contract_facts.FACTS)).on_conflict_do_nothing()
        )
        check_id = tx.execute(begun.returning(server_checks.c.id)).scalar_one_or_none()
        if check_id is None:
            raise CheckUnderWay("one is not finished")
        audit_log.record(tx, actor, "server.check", get_number(tx, url))
    threading.Thread(target=_run_check, args=(actor, url, check_id, clock), name="check", daemon=True).start()


def _run_check(actor: Actor, url: str, check_id: int, clock: float) -> None:
    report, error = Report(None, ()), None
    secret, where = settings.get().wppconnect.servers()[url], contract_check.get_default_listen(url)
    try:
        report = contract_check.check_server(
            url, secret, where, lambda done, _of: _record_progress(actor, check_id, done), clock
        )
    except WppError as failure:
        error = failure.code
    except OSError:  # this process has no port left
        error = WppUnreachable.code
    try:
        _record_result(actor, url, check_id, report, error)
    except DatabaseUnavailable:
        log.warning("check_lost", done=len(report.facts))  # its row says so: it is never finished


def _record_progress(actor: Actor, check_id: int, done: int) -> None:
    # A database that is away for a moment costs the screen a step and must not cost the check its tidying up.
    with contextlib.suppress(DatabaseUnavailable), transaction(actor) as tx:
        tx.execute(update(server_checks).where(server_checks.c.id == check_id).values(done=done))


def _record_result(actor: Actor, url: str, check_id: int, report: Report, error: str | None) -> None:
    facts = [
        {"name": one.name, "outcome": one.outcome, "expected": one.expected, "answered": one.answered}
        for one in report.facts
    ]
    with transaction(actor) as tx:
        same = server_checks.c.version.is_not_distinct_from(report.version)
        earlier = server_checks.c.finished_at.is_not(None)
        tx.execute(delete(server_checks).where(server_checks.c.url == url, earlier, same))
        tx.execute(
            update(server_checks)
            .where(server_checks.c.id == check_id)
            .values(finished_at=func.now(), version=report.version, error=error, facts=facts)
        )


def build_check(row: Record) -> ContractCheck:
    """The check of a row of `server_checks`."""
    # The differences are not kept.
    facts = [read_object(Fact, fact, differences=()) for fact in row.facts]
    return read_row(ContractCheck, row, facts=facts)
