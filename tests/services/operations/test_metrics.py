"""What Prometheus reads: counters of each process and figures of the tables; all that Grafana and the alerts name."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from services import counters
from services.db.actor import ANONYMOUS, Actor
from services.db.engine import transaction
from services.db.notify import Listener
from services.inbound import event_processing
from services.operations import metrics
from services.platform.worker_loop import WorkerLoop
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sessions import connected
from tests.support.waiting import wait_for

DEPLOY = Path(__file__).parents[3] / "deploy"


def scraped() -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(metrics.get_exposition().decode())}


def value(name: str, **labels: str) -> float | None:
    """The sample of that name which has these labels."""
    for family in scraped().values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def test_it_tells_what_the_tables_hold(database: Database, user: Actor, new_actor: Callable[..., Actor]) -> None:
    session_id = connected(database, user)
    database.execute("update lanes set due_at = now() - interval '90 seconds'")
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, run_at) select %s, %s, 'out', s, '5511', t"
        " from (values ('queued', now() - interval '90 seconds'), ('queued', now() + interval '1 day'),"
        " ('uncertain', now())) x (s, t)",
        session_id, user.user_id,
    )  # fmt: skip
    database.execute(
        "insert into events (session, kind, request_id, body, received_at) values ('x', 'onack', gen_random_uuid(),"
        " '{}', now() - interval '5 seconds')"
    )
    assert value("plushify_sessions", status="conectado") == 1
    assert value("plushify_sessions", status="pareando") == 0
    assert value("plushify_queue_depth") == 1
    assert 89 < (value("plushify_queue_age_seconds") or 0) < 120
    assert value("plushify_messages_open", state="uncertain") == 1
    assert value("plushify_inbox_depth") == 1
    assert 4 < (value("plushify_inbox_lag_seconds") or 0) < 60
    assert (value("plushify_report_lag_seconds") or 0) > 0
    assert value("plushify_database_up") == 1


def test_it_adds_up_to_what_each_process_counted(database: Database) -> None:
    counters.count_event("onack", "handled")
    counters.count_event("a kind that somebody made up", "handled")
    counters.get_counters().sends.labels("accepted").inc(3)
    metrics.save_counters("worker")
    forget_process_state()
    counters.get_counters().pages.labels("home").observe(0.2)
    metrics.save_counters("console", ANONYMOUS)
    assert value("plushify_sends_total", outcome="accepted", process="worker") == 3
    assert value("plushify_events_total", kind="onack", verdict="handled") == 1
    assert value("plushify_events_total", kind="other") == 1
    assert value("plushify_page_seconds_count", page="home", process="console") == 1
    assert value("plushify_processes", process="worker") == 1
    assert value("plushify_processes", process="webhook") == 0
    assert "made up" not in metrics.get_exposition().decode()


def test_it_leaves_out_a_process_that_was_killed(database: Database) -> None:
    counters.get_counters().sends.labels("accepted").inc()
    metrics.save_counters("worker")
    database.execute("update process_metrics set sampled_at = now() - interval '21 seconds'")
    assert value("plushify_sends_total") is None
    assert value("plushify_processes", process="worker") == 0


def test_it_shows_no_row_that_is_no_counter_of_ours(database: Database) -> None:
    """The console may write its row: a fault of a page must not put words of its own on the scrape."""
    forged = json.dumps({"plushify_forged": [["plushify_forged", {"who": "5511987654321"}, 1]]})
    with transaction(ANONYMOUS) as tx:
        tx.exec_driver_sql("select app.record_metrics('console', 'x', %s::jsonb)", (forged,))
    assert "forged" not in metrics.get_exposition().decode()


def test_it_says_that_the_database_is_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    forget_process_state()
    assert value("plushify_database_up") == 0


def test_it_counts_what_the_worker_does(database: Database) -> None:
    database.execute(
        "insert into events (session, kind, request_id, body) values ('x', 'nonsense', gen_random_uuid(), '{}')"
    )
    event_processing.process()
    failing = WorkerLoop("failing", lambda: 1 // 0).start()
    wait_for(lambda: failing.errors > 0)
    failing.stop()
    metrics.save_counters("worker")
    assert value("plushify_events_total", kind="other", verdict="unsupported") == 1
    assert (value("plushify_loop_errors_total", loop="failing") or 0) >= 1


def test_it_counts_a_listener_that_comes_back(database: Database) -> None:
    heard = threading.Event()
    listener = Listener(database.url, ("live",), lambda *_: None, heard.set).start()
    wait_for(heard.is_set)
    database.execute("select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%%'")
    wait_for(lambda: listener.reconnects > 0)
    listener.stop()
    metrics.save_counters("worker")
    assert (value("plushify_notify_reconnects_total") or 0) >= 1


# --- what the dashboard and the alerts ask for ------------------------------------------------------------------------


@pytest.fixture
def everything(database: Database, user: Actor) -> dict[str, set[str]]:
    """Every sample that can be scraped → its labels."""
    connected(database, user)
    found = counters.get_counters()
    counters.count_event("onack", "failed")
    found.deliveries.inc()
    found.sends.labels("accepted").inc()
    found.calls.labels("send-message", "ok").observe(1)
    found.reconnects.inc()
    found.loop_errors.labels("inbox").inc()
    found.pages.labels("home").observe(1)
    database.execute("insert into wpp_servers (url, healthy, latency_ms) values ('http://x', true, 5)")
    database.execute(
        "insert into incidents (session_id, user_id, kind) select id, user_id, 'zombie' from whatsapp_sessions"
    )
    metrics.save_counters("worker")
    return {sample.name: set(sample.labels) for family in scraped().values() for sample in family.samples}


def expressions() -> Iterator[tuple[str, str]]:
    """Where a query stands → the query."""
    dashboard = json.loads((DEPLOY / "grafana" / "plushify.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def unknown(query: str, samples: dict[str, set[str]]) -> set[str]:
    """Names of metrics and labels in a query that do not exist."""
    names = set(re.findall(r"plushify_\w+", query))
    labels = set(re.findall(r"(\w+)\s*=~?\s*\"", query))
    for grouped in re.findall(r"by \(([^)]*)\)", query):
        labels |= {one.strip() for one in grouped.split(",")}
    known = set().union(*(samples[name] for name in names & samples.keys()))
    return (names - samples.keys()) | (labels - known)


def test_it_has_every_metric_that_is_drawn_or_alerts(everything: dict[str, set[str]]) -> None:
    asked = list(expressions())
    assert len(asked) > 30
    for place, query in asked:
        assert unknown(query, everything) == set(), place
    drawn = " ".join(query for _place, query in asked)
    for name in everything:
        family = re.sub(r"_(total|bucket|sum|count)$", "", name)
        assert family in drawn, f"nobody looks at {name}"


def test_it_sees_a_query_for_what_does_not_exist(everything: dict[str, set[str]]) -> None:
    assert unknown("rate(plushify_gone_total[5m])", everything) == {"plushify_gone_total"}
    assert unknown('plushify_sessions{colour="red"}', everything) == {"colour"}


def test_it_says_in_each_alert_what_it_means_and_what_to_do() -> None:
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert len(rule["annotations"]["description"]) > 30


def test_it_asks_cheaply(database: Database) -> None:
    """A scrape every few seconds must not read whole tables."""
    plan = "\n".join(row[0] for row in psycopg_explained(database, metrics._FIGURES.text.replace(":limit", "1000")))
    assert "Seq Scan on messages" not in plan
    assert "Seq Scan on events" not in plan


def psycopg_explained(database: Database, query: str) -> list[tuple[str]]:
    with psycopg.connect(database.url) as connection:
        connection.execute("set enable_seqscan = off")
        return connection.execute(f"explain {query}").fetchall()
