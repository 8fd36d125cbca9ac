"""How the page "Relatórios" grows from 10,000 messages to 1,000,000, and how soon a message is in its figures.

The page is that of staff: everybody's last week with the ranking. The lag is from a message's commit to the commit
of its figure, with a running worker.
"""

import random
import time
from uuid import UUID

import psycopg

from bench.installation import BenchInstallation, figure, open_installation
from bench.page import drawn_in
from services.accounts import cookie_tokens, provisioning, sign_in
from services.db.actor import Role
from services.reporting import rollups

PEOPLE = 50
SMALL, LARGE = 10_000, 1_000_000
MESSAGES = 60
POLL_SECONDS = 0.002
LATEST_SECONDS = 30.0


def run() -> None:
    """The growth of the page, then the lag."""
    with open_installation() as installation:
        chief = provisioning.create_user("chefe@example.com", "uma senha longa", Role.ADMIN)
        token = cookie_tokens.encode_token(sign_in.open_sign_in(chief))
        people = [installation.session()[0] for _ in range(PEOPLE)]
        with installation.running("console"):
            small = _measured(installation, token, SMALL)
            large = _measured(installation, token, LARGE)
        figure("report_small_ms", small * 1000, "ms")
        figure("report_large_ms", large * 1000, "ms")
        figure("report_growth", large / small, "ratio")
        with installation.running("worker"):
            lags = sorted(_lag(installation, people[0]) for _ in range(MESSAGES))
        figure("rollup_lag_ms_p50", lags[len(lags) // 2] * 1000, "ms")
        figure("rollup_lag_ms_p95", lags[int(len(lags) * 0.95)] * 1000, "ms")


def _measured(installation: BenchInstallation, token: str, messages: int) -> float:
    _insert_rows(installation, messages)
    installation.execute("analyze")
    started = time.perf_counter()
    quarters = rollups.rebuild()
    figure(f"report_rebuild_of_{messages}_s", time.perf_counter() - started, f"s for {quarters} quarters")
    installation.execute("analyze")
    return drawn_in(installation, token, "reports")


def _insert_rows(installation: BenchInstallation, messages: int) -> None:
    """Grow the messages of the last week to this number; what the triggers would note is counted by a rebuild."""
    with psycopg.connect(installation.url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "insert into messages (session_id, user_id, direction, state, phone, body, run_at, sending_at, sent_at,"
            " delivered_at, read_at) select s.id, s.user_id, case when n %% 4 = 0 then 'in' else 'out' end,"
            " case when n %% 4 = 0 then 'received' else 'read' end, '55119' || lpad((n %% 1000)::text, 8, '0'), 'x',"
            " occurred_at, occurred_at, occurred_at, occurred_at + interval '3 seconds',"
            " occurred_at + interval '5 minutes'"
            " from (select id, user_id, row_number() over () as number from whatsapp_sessions) s"
            " join generate_series((select count(*) from messages) + 1, %s) n on n %% %s = s.number - 1,"
            " lateral (select now() - random() * interval '7 days' - n * interval '0 seconds') x (occurred_at)",
            (messages, PEOPLE),
        )


def _lag(installation: BenchInstallation, user_id: UUID) -> float:
    """Seconds from a message's commit to its figure, at a moment of chance."""
    time.sleep(random.uniform(0, 1.5))
    with psycopg.connect(installation.url, autocommit=True) as connection:
        before = _total(connection, user_id)
        connection.execute(
            "insert into messages (session_id, user_id, direction, state, phone)"
            " select id, user_id, 'out', 'accepted', '5511987654321' from whatsapp_sessions where user_id = %s",
            (user_id,),
        )
        committed = time.perf_counter()
        while _total(connection, user_id) == before:
            if time.perf_counter() - committed > LATEST_SECONDS:
                raise TimeoutError("the message never came into its figure")
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - committed


def _total(connection: psycopg.Connection, user_id: UUID) -> int:
    found = connection.execute(
        "select coalesce(sum(total), 0) from report_buckets where span = 'quarter' and user_id = %s"
        " and starts_at > now() - interval '1 hour'",
        (user_id,),
    ).fetchone()
    return int(found[0]) if found else 0


if __name__ == "__main__":
    run()
