"""`/metrics`: the counters of every process of the installation, and figures read from the tables when asked.

Each process writes its counters into its own row (`process_metrics`) every few seconds, and any receiver that is
asked shows all rows. So there is one address to scrape, wherever and however many the processes are. Files shared
between processes (prometheus-client's own way) would mean one machine, and would mix up containers that all call
themselves process 1; a port for each process would have to be found and guarded. A process that is killed loses at
most the last seconds; its row stands still and is soon left out. Counters begin at 0 again under the new process's
`instance`, which is what Prometheus expects of a restart.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text

from services import counters
from services.db import queries
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import DatabaseUnavailable
from services.fleet.session import Status
from services.platform import heartbeats
from services.platform.worker_loop import WorkerLoop

_QUERIES = queries.load(__file__)

SAVE_SECONDS = 2.0
# A row that stood still this long is of a process that is gone, or has nothing to say that is still true.
FRESH_SECONDS = 20.0
# Counting goes no further than this: that there is more changes no alert.
COUNT_LIMIT = 50_000


def save_counters(process: str, actor: Actor = SYSTEM) -> None:
    """Write this process's counters into its row. `actor` is ANONYMOUS where the process is the console."""
    with transaction(actor) as tx:
        tx.execute(
            _SAVE_COUNTERS,
            {
                "process": process,
                "instance": heartbeats.instance_name(),
                "samples": _counters_as_json(counters.get_counters().registry),
            },
        )


@contextmanager
def saving_counters(process: str, actor: Actor = SYSTEM) -> Iterator[None]:
    """Note this process's counters every two seconds for as long as the block lasts; `actor` as for `save_counters`."""
    loop = WorkerLoop("metrics", lambda: save_counters(process, actor), lambda: SAVE_SECONDS).start()
    try:
        yield
    finally:
        loop.stop()


def get_exposition() -> bytes:
    """Everything in Prometheus' text format. A database that is away is itself a figure (`plushify_database_up 0`)."""
    registry = CollectorRegistry()
    registry.register(_InstallationCollector())
    return generate_latest(registry)


class _InstallationCollector(Collector):
    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("plushify_database_up", "1 while the database answers")
        try:
            with transaction(SYSTEM) as tx:
                figures: dict[str, Any] = tx.execute(_FIGURES, {"limit": COUNT_LIMIT}).scalar_one()
                rows = tx.execute(_FRESH_ROWS, {"fresh": FRESH_SECONDS}).all()
        except DatabaseUnavailable:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _gauge_metrics(figures)
        yield from _counter_metrics([(row.process, row.instance, row.samples) for row in rows])


# Name, help, where in the answer, its label (None: one number), and the values that are always shown.
_GAUGES: tuple[tuple[str, str, str, str | None, tuple[str, ...]], ...] = (
    ("plushify_sessions", "Sessions by status", "sessions", "status", tuple(Status)),
    ("plushify_incidents", "Open incidents by kind", "incidents", "kind", ()),
    ("plushify_queue_depth", "Messages due and not sent yet", "queue_depth", None, ()),
    ("plushify_queue_age_seconds", "How long the first due message waits", "queue_age", None, ()),
    ("plushify_messages_open", "Messages under way by state", "messages", "state", ("sending", "uncertain")),
    ("plushify_inbox_depth", "Events waiting to be handled", "inbox_depth", None, ()),
    ("plushify_inbox_lag_seconds", "How long the oldest event waits", "inbox_lag", None, ()),
    ("plushify_events_failed", "Events that were given up", "events_failed", None, ()),
    ("plushify_report_lag_seconds", "How old the oldest change is that no report knows", "report_lag", None, ()),
    ("plushify_processes", "Processes that are alive", "processes", "process", ("webhook", "worker", "console")),
    ("plushify_server_up", "1 while a WPPConnect server answers, by its number", "servers", "server", ()),
    ("plushify_server_latency_seconds", "How fast it answers", "latencies", "server", ()),
)  # fmt: skip


def _gauge_metrics(figures: dict[str, Any]) -> Iterator[Metric]:
    for name, words, key, label, always in _GAUGES:
        family = GaugeMetricFamily(name, words, labels=[label] if label else None)
        if label is None:
            family.add_metric([], float(figures[key] or 0))
        else:
            for value, number in {**dict.fromkeys(map(str, always), 0), **(figures[key] or {})}.items():
                family.add_metric([value], float(number))
        yield family


def _counters_as_json(registry: CollectorRegistry) -> str:
    """The counters as they go into a row. When each began is left out: Prometheus sees a restart by itself."""
    return json.dumps(
        {
            family.name: [
                [one.name, one.labels, one.value] for one in family.samples if not _is_creation_time(one.name)
            ]
            for family in registry.collect()
        }
    )


def _is_creation_time(sample: str) -> bool:
    return sample.endswith("_created")


def _counter_metrics(rows: Iterable[tuple[str, str, dict[str, Any]]]) -> Iterator[Metric]:
    """The processes' counters, each sample with whose it is. Of a row only counters that we know are shown."""
    for known in counters.get_counters().registry.collect():
        family = Metric(known.name, known.documentation, known.type)
        for process, whose, dumped in rows:
            for sample, labels, value in dumped.get(known.name, ()):
                family.add_sample(sample, {**labels, "process": process, "instance": whose}, float(value))
        yield family


_SAVE_COUNTERS = text("select app.record_metrics(:process, :instance, cast(:samples as jsonb))")

_FRESH_ROWS = _QUERIES["fresh_rows"]
_FIGURES = _QUERIES["figures"]
