"""Fills an empty installation with a believable month, so that every page can be judged with data in it.

Each kind of data is one function of one or a few statements over whole sets. `FILL_STEPS` is their order. What
looks random comes from a fixed seed, so two demos differ only in their times, which end now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from demo.automation_history import create_automations, create_endpoints
from demo.campaigns_and_schedules import create_campaigns, create_schedules
from demo.message_history import create_annotations, create_messages
from demo.people import (
    ADMIN_EMAIL,
    DOMAIN,
    create_contacts,
    create_opt_outs,
    create_sessions,
    create_templates,
    create_users,
)
from demo.session_history import create_events, create_fleet_samples, create_incidents, create_outages, create_timelines
from demo.staff_history import create_api_keys, create_audit_log, create_retention_runs, create_security_events
from services import settings
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.errors import ConfigurationError, ServiceError
from services.reporting import rollups

log = structlog.get_logger(__name__)
SEED = 0.2026

# (kinds done, of how many, the one under way)
Progress = Callable[[int, int, str], None]


class DemoRefused(ServiceError):
    """`detail` is for whoever called the command line."""

    code = "demonstracao_recusada"
    http_status = 409
    message = "A demonstração só entra em uma instalação vazia."
    hint = "Use outra pasta de dados."


@dataclass(frozen=True)
class Demo:
    """What was made: rows by table, and with which e-mail to sign in. The password is `PASSWORD` for everybody."""

    rows: dict[str, int]
    email: str = ADMIN_EMAIL


def fill_installation(on_progress: Progress | None = None) -> Demo | None:
    """Fill an empty installation in one transaction, and count its figures; None where a demo is there already.

    Raises: DemoRefused where anybody real is in it, or its owner cannot write for others.
    """
    url = settings.get().database.url
    if url is None:
        raise ConfigurationError("DATABASE_URL is missing")
    conninfo = psycopg_url(url.get_secret_value())
    with psycopg.connect(conninfo, connect_timeout=CONNECT_TIMEOUT_SECONDS) as db:
        if not _is_empty(db):
            return None
        for number, (name, kind) in enumerate(FILL_STEPS.items()):
            (on_progress or _no_progress)(number, len(FILL_STEPS) + 1, name)
            db.execute("select setseed(%s)", [SEED])
            kind(db)
        rows = {name: _count_rows(db, name) for name in FILL_STEPS}
        # Where this ends here, the worker counts. In their order, so that everybody's quarter is summed once.
        db.execute(
            "insert into public.report_dirty_buckets (user_id, quarter)"
            " select distinct user_id, app.get_quarter(run_at) as quarter from public.messages order by quarter"
        )
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("analyze")  # the pages' plans hang on it
    (on_progress or _no_progress)(len(FILL_STEPS), len(FILL_STEPS) + 1, "report_buckets")
    while rollups.run_round():
        pass
    (on_progress or _no_progress)(len(FILL_STEPS) + 1, len(FILL_STEPS) + 1, "")
    log.info("demo_filled", **rows)
    return Demo(rows)


def _is_empty(db: psycopg.Connection) -> bool:
    """False where a demo fills it already."""
    known = db.execute(
        "select count(*), count(*) filter (where email like %s) from auth.users", [f"%@{DOMAIN}"]
    ).fetchone()
    assert known is not None
    if known[0] != known[1]:
        raise DemoRefused("there are real users in this installation; the demo wants one of its own (another DATA_DIR)")
    ours = db.execute(
        "select pg_has_role(c.relowner, 'member') and not (select bool_or(row_security_active(t.oid)) from pg_class t"
        " where t.relkind = 'r' and t.relnamespace = 'public'::regnamespace)"
        " from pg_class c where c.oid = 'auth.users'::regclass"
    ).fetchone()
    if ours != (True,):
        raise DemoRefused("the owner in DATABASE_URL may not write for everybody; use the embedded database")
    return bool(known[0] == 0)


# In the order in which they build on each other; each is named for the table that it fills.
FILL_STEPS: dict[str, Callable[[psycopg.Connection], None]] = {
    "auth.users": create_users,
    "whatsapp_sessions": create_sessions,
    "contacts": create_contacts,
    "opt_outs": create_opt_outs,
    "templates": create_templates,
    "campaigns": create_campaigns,
    "schedules": create_schedules,
    "messages": create_messages,
    "message_annotations": create_annotations,
    "automations": create_automations,
    "webhook_endpoints": create_endpoints,
    "outages": create_outages,
    "events": create_events,
    "session_timeline": create_timelines,
    "incidents": create_incidents,
    "fleet_samples": create_fleet_samples,
    "audit_log": create_audit_log,
    "security_events": create_security_events,
    "api_keys": create_api_keys,
    "cleanup_runs": create_retention_runs,
}


def _count_rows(db: psycopg.Connection, table: str) -> int:
    row: Any = db.execute(f"select count(*) from {table}").fetchone()  # a name of KINDS
    return int(row[0])


def _no_progress(_done: int, _of: int, _what: str) -> None:
    """Nobody watches."""
