"""The isolation test on the running database: a user who owns nothing tries to reach the data of all others.

Everything is done with the console's own login. Each attempt is one transaction, which is always rolled back and
stopped after two seconds. The attempts are built from the database's catalogue, so a table that is added later is tried
without being named here. Only a refusal where there was something to refuse counts as proof.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

import structlog
from psycopg import sql
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from services.db import queries
from services.db.actor import ANONYMOUS, Actor, Role, person
from services.db.engine import get_sqlstate, transaction
from services.db.rows import read_row, read_rows
from services.db.tables.security import audit_log
from services.errors import ServiceError
from services.security import audit_log as audit

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)

TIMEOUT_MS = 2_000
LOCK_TIMEOUT_MS = 500
PROVE_ACTION = "isolation.prove"
# As PostgreSQL's appendix A has them.
REFUSED_SQLSTATE = "42501"
INTEGRITY_SQLSTATE_CLASS = "23"
# Functions with their owner's rights that signed-in people may call; each asks for itself whom it serves.
FUNCTIONS_FOR_USERS = frozenset(
    f"app.{name}"
    for name in (
        *("has_break_glass", "revoke_tokens", "tenant_tables", "count_expired", "manages_users"),
        *("get_session_facts", "get_message_facts", "list_message_acks"),
        *("choose_server", "register_servers", "record_server_check", "record_server_scan"),
        *("list_break_glass_users", "search_messages", "count_unread", "count_uncertain"),
        *("add_opt_out", "end_opt_out"),
        *("count_number_questions", "count_number_usage", "get_line_of_user"),
    )
)

_CATALOGUE = _QUERIES["catalogue"]
_FUNCTIONS = _QUERIES["functions"]


class Operation(StrEnum):
    """What is tried."""

    READ = "read"
    INSERT = "insert"  # a row in somebody else's name
    UPDATE = "update"
    DELETE = "delete"
    BECOME = "become"  # another database role
    CALL = "call"  # a function that is not for people


class Outcome(StrEnum):
    """What came of it."""

    REFUSED = "refused"  # by an error, or because no row was within reach though there were some
    UNPROVABLE = "unprovable"  # nothing to refuse, or something else stood in the way
    LEAK = "leak"  # it worked, or only a constraint prevented it


@dataclass(frozen=True)
class Attempt:
    """One attempt: `target` is a table, role or function; `rows` how many of others there are, up to 1,000.

    `proof` is what the database answered: an SQLSTATE, or how many rows were reached.
    """

    target: str
    operation: Operation
    outcome: Outcome
    rows: int | None
    proof: str


@dataclass(frozen=True)
class Report:
    """All attempts of one run."""

    attempts: list[Attempt]

    def of(self, outcome: Outcome) -> list[Attempt]:
        """Those that came out so."""
        return [one for one in self.attempts if one.outcome is outcome]


@dataclass(frozen=True)
class Run:
    """When it was last proved, by whom (an e-mail is not kept: an id), and what came out."""

    at: datetime
    refused: int
    leaks: int


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str
    insertable: bool
    updatable: bool


@dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    is_view: bool
    filled: int
    columns: tuple[_Column, ...]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class _Plan:
    """One attempt to come: `count` says that the statement answers a number of rows instead of touching them."""

    target: str
    operation: Operation
    rows: int | None
    statement: sql.Composable
    as_login: bool = False
    count: bool = False


def run_isolation_test(actor: Actor, on_progress: Callable[[int, int], None] | None = None) -> Report:
    """Try everything and say what came of it; nothing is committed but the record of the run and of each leak.

    `on_progress(done, of)` is called after each attempt.

    Raises: Forbidden for anybody but staff.
    """
    actor.require_staff("isolation")
    stranger, victim = person(uuid4(), Role.USER), uuid4()
    with transaction(actor) as tx:
        plans = list(_plan_attempts(tx, victim))
    attempts = []
    for number, plan in enumerate(plans, 1):
        attempts.append(_make_attempt(ANONYMOUS if plan.as_login else stranger, plan))
        if on_progress is not None:
            on_progress(number, len(plans))
    report = Report(attempts)
    _record_run(actor, report)
    return report


def get_last_run(actor: Actor) -> Run | None:
    """The newest run, or None.

    Raises: Forbidden for anybody but staff.
    """
    actor.require_staff("isolation")
    counts = (audit_log.c.detail[name].as_integer().label(name) for name in ("refused", "leaks"))
    runs = select(audit_log.c.occurred_at.label("at"), *counts).where(audit_log.c.action == PROVE_ACTION)
    with transaction(actor) as tx:
        row = tx.execute(runs.order_by(audit_log.c.occurred_at.desc(), audit_log.c.seq.desc()).limit(1)).one_or_none()
    return read_row(Run, row) if row else None


# --- what is tried ----------------------------------------------------------------------------------------------------


def _plan_attempts(tx: Connection, victim: UUID) -> Iterator[_Plan]:
    for table in read_rows(_Table, tx.execute(_CATALOGUE)):
        yield _Plan(table.full_name, Operation.READ, table.filled, _read_statement(table.identifier), count=True)
        if not table.is_view:
            yield _Plan(table.full_name, Operation.INSERT, None, _insert_statement(table, victim))
            yield _Plan(table.full_name, Operation.UPDATE, table.filled, _update_statement(table))
            yield _Plan(table.full_name, Operation.DELETE, table.filled, _delete_statement(table))
    users = sql.Identifier("auth", "users")
    become = sql.SQL("set local role service_role")
    for as_login in (False, True):
        yield _Plan("auth.users", Operation.READ, None, _read_statement(users), as_login=as_login, count=True)
        yield _Plan("service_role", Operation.BECOME, None, become, as_login=as_login)
    for function in tx.execute(_FUNCTIONS).all():
        if function.name not in FUNCTIONS_FOR_USERS:
            yield _Plan(function.name, Operation.CALL, None, _call_statement(function.name, function.arguments))
    revoke = sql.SQL("select app.revoke_tokens({})").format(sql.Literal(str(victim)))
    yield _Plan("app.revoke_tokens", Operation.CALL, None, revoke)
    yield _Plan("app.tenant_tables", Operation.CALL, None, sql.SQL("select from app.tenant_tables()"))


def _read_statement(table: sql.Identifier) -> sql.Composed:
    return sql.SQL("select count(*) from (select from {} limit 1000) x").format(table)


def _insert_statement(table: _Table, victim: UUID) -> sql.Composed:
    """Whatever can name a person names somebody else; where no column is open, any will do to be refused."""
    open_to = [one for one in table.columns if one.insertable]
    named = {one.name: value for one in open_to or table.columns if (value := _victim_value(one, victim)) is not None}
    if not named:
        return sql.SQL("insert into {} default values").format(table.identifier)
    return sql.SQL("insert into {} ({}) values ({})").format(
        table.identifier,
        sql.SQL(", ").join(map(sql.Identifier, named)),
        sql.SQL(", ").join(map(sql.Literal, named.values())),
    )


def _victim_value(column: _Column, victim: UUID) -> str | None:
    if column.kind == "uuid" and column.name != "id":
        return str(victim)
    return f"user_{victim}" if column.name in ("session", "session_id") and column.kind == "text" else None


def _update_statement(table: _Table) -> sql.Composed:
    """To nothing, without naming a row: so only the policy for updates stands in the way, not the one for reading."""
    column = next((one for one in table.columns if one.updatable), table.columns[0] if table.columns else None)
    name = column.name if column else "id"
    return sql.SQL("update {} set {} = null").format(table.identifier, sql.Identifier(name))


def _delete_statement(table: _Table) -> sql.Composed:
    return sql.SQL("delete from {}").format(table.identifier)


def _call_statement(name: str, arguments: list[str]) -> sql.Composed:
    # The types are PostgreSQL's own spelling, out of its catalogue.
    given = sql.SQL(", ").join(sql.SQL("null::{}").format(sql.SQL(kind)) for kind in arguments)
    return sql.SQL("select {}({})").format(sql.Identifier(*name.split(".")), given)


# --- trying it --------------------------------------------------------------------------------------------------------


def _make_attempt(actor: Actor, plan: _Plan) -> Attempt:
    try:
        outcome, proof = _execute(actor, plan)
    except ServiceError as error:
        outcome, proof = Outcome.UNPROVABLE, error.code
    return Attempt(plan.target, plan.operation, outcome, plan.rows, proof)


def _execute(actor: Actor, plan: _Plan) -> tuple[Outcome, str]:
    with transaction(actor) as tx:
        try:
            tx.exec_driver_sql(f"set local statement_timeout = {TIMEOUT_MS}")
            tx.exec_driver_sql(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
            result = tx.exec_driver_sql(plan.statement.as_string())
            reached = int(result.scalar_one()) if plan.count else result.rowcount
        except DBAPIError as error:
            return _judge_error(plan, get_sqlstate(error) or type(error.orig).__name__)
        finally:
            tx.rollback()
    return _judge(plan, reached)


def _judge_error(plan: _Plan, state: str) -> tuple[Outcome, str]:
    if state == REFUSED_SQLSTATE:
        return Outcome.REFUSED, state
    # The row got past the policies: that a constraint stopped it is luck.
    past_the_policies = state.startswith(INTEGRITY_SQLSTATE_CLASS) and plan.operation is not Operation.CALL
    return (Outcome.LEAK if past_the_policies else Outcome.UNPROVABLE), state


def _judge(plan: _Plan, reached: int) -> tuple[Outcome, str]:
    if plan.operation in (Operation.BECOME, Operation.CALL) or reached > 0:
        return Outcome.LEAK, str(max(reached, 0))
    if plan.operation is Operation.READ and plan.rows is None:
        return Outcome.LEAK, "0"  # not even an empty look is allowed
    return (Outcome.REFUSED if plan.rows else Outcome.UNPROVABLE), "0"


def _record_run(actor: Actor, report: Report) -> None:
    counts = {f"{one}": len(report.of(one)) for one in (Outcome.REFUSED, Outcome.UNPROVABLE)}
    with transaction(actor) as tx:
        for one in report.of(Outcome.LEAK):
            log.error("isolation_leak", target=one.target, operation=str(one.operation), proof=one.proof)
            audit.record_security_event(
                tx, "isolation_leak", f"{one.target}:{one.operation}", None, proof=one.proof, rows=one.rows
            )
        audit.record(tx, actor, PROVE_ACTION, None, **counts, leaks=len(report.of(Outcome.LEAK)))
