"""The counters of a process. Only `services.operations.metrics` reads them.

There is one registry a process, made on first use. Labels are only words of our own: never a name, a number, a text or
what somebody sent.
"""

import functools
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

# From what the server knows by itself to the longest time-out of a call, in seconds.
CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
PAGE_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Kinds of webhook events that a server of the field sends; any other is counted as `other`.
EVENT_KINDS = frozenset(
    {
        "qrcode", "phoneCode", "status-find", "closesession", "logoutsession", "onmessage", "onack", "onselfmessage",
        "unreadmessages", "onreactionmessage", "onrevokedmessage", "onpollresponse", "onpresencechanged",
        "onparticipantschanged", "onupdatelabel", "incomingcall", "location",
    }
)  # fmt: skip
OTHER_KIND = "other"


@dataclass(frozen=True)
class ProcessCounters:
    """The counters of one process."""

    registry: CollectorRegistry
    events: Counter  # handled by the worker, by kind and verdict
    deliveries: Counter  # stored by the receiver
    sends: Counter  # by outcome
    calls: Histogram  # of WPPConnect servers, by route and outcome
    reconnects: Counter  # of the listener
    loop_errors: Counter  # by loop of the worker
    pages: Histogram  # runs of the console's pages, by page


@functools.cache
def get_counters() -> ProcessCounters:
    """This process's counters."""
    registry = CollectorRegistry()
    return ProcessCounters(
        registry,
        Counter("plushify_events", "Webhook events handled", ["kind", "verdict"], registry=registry),
        Counter("plushify_deliveries", "Webhook deliveries stored", registry=registry),
        Counter("plushify_sends", "Deliveries of messages to WPPConnect", ["outcome"], registry=registry),
        Histogram(
            "plushify_wpp_call_seconds",
            "Calls of WPPConnect servers",
            ["route", "outcome"],
            buckets=CALL_BUCKETS,
            registry=registry,
        ),
        Counter("plushify_notify_reconnects", "Times that the listener lost the database", registry=registry),
        Counter("plushify_loop_errors", "Rounds of the worker that failed", ["loop"], registry=registry),
        Histogram("plushify_page_seconds", "Runs of pages", ["page"], buckets=PAGE_BUCKETS, registry=registry),
    )


def count_event(kind: str, verdict: str) -> None:
    """Count one handled event. A kind is what a sender wrote: only known ones become labels."""
    get_counters().events.labels(kind if kind in EVENT_KINDS else OTHER_KIND, verdict).inc()
