"""Reports counted by hand, message by message, to hold the product's against."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg

from services.db.actor import Actor
from services.reporting.report_model import Measure, Report
from services.reporting.report_periods import Period
from tests.support.databases import Database

LEFT = ("sent", "delivered", "read")


@dataclass
class Told:
    """One message as a test tells it: times are seconds after `at`."""

    who: int
    at: datetime
    phone: str
    direction: str = "out"
    state: str = "read"
    failure: str | None = None
    template: UUID | None = None
    campaign: UUID | None = None
    delivery: int | None = None
    reading: int | None = None
    id: UUID = field(default_factory=uuid4)

    @property
    def moments(self) -> tuple[datetime | None, datetime | None, datetime | None]:
        """When it left, arrived and was read."""
        if self.direction == "in" or self.state == "queued":
            return None, None, None
        arrived = None if self.delivery is None else self.at + timedelta(seconds=self.delivery)
        read = None if arrived is None or self.reading is None else arrived + timedelta(seconds=self.reading)
        return self.at, arrived, read

    @property
    def is_answer(self) -> bool:
        return self.direction == "out" and self.campaign is None and self.state != "failed"


INSERT = """
insert into messages (id, session_id, user_id, direction, state, failure, phone, run_at, sending_at, delivered_at,
  read_at, template_id, campaign_id) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
CHANGE = """
update messages set state = %s, failure = %s, run_at = %s, sending_at = %s, delivered_at = %s, read_at = %s
 where id = %s
"""


def write_message(database: Database, people: Sequence[Actor], sessions: Sequence[UUID], told: Sequence[Told]) -> None:
    rows = [
        (one.id, sessions[one.who], people[one.who].user_id, one.direction, one.state, one.failure, one.phone,
         one.at, *one.moments, one.template, one.campaign)
        for one in told
    ]  # fmt: skip
    with psycopg.connect(database.url) as connection:
        connection.cursor().executemany(INSERT, rows)


def change_message(database: Database, told: Sequence[Told]) -> None:
    rows = [(one.state, one.failure, one.at, *one.moments, one.id) for one in told]
    with psycopg.connect(database.url) as connection:
        connection.cursor().executemany(CHANGE, rows)


@dataclass(frozen=True)
class Counted:
    """What the messages come to, counted one by one in Python."""

    figures: dict[str, int]
    times: dict[Measure, list[int]]
    points: Counter[tuple[datetime, str]]
    cells: Counter[tuple[int, int, str]]
    failures: Counter[str]
    templates: Counter[UUID]


def seconds(start: datetime | None, end: datetime | None) -> list[int]:
    return [] if start is None or end is None else [round((end - start).total_seconds())]


def responses(told: Sequence[Told]) -> dict[UUID, int]:
    """Message → seconds since the first inbound one of its chat that nobody had answered."""
    found: dict[UUID, int] = {}
    waiting: dict[tuple[int, str], datetime] = {}
    for one in sorted(told, key=lambda one: (one.at, told.index(one))):
        whom = (one.who, one.phone)
        if one.direction == "in":
            waiting.setdefault(whom, one.at)
        elif one.is_answer and whom in waiting:
            found[one.id] = round((one.at - waiting.pop(whom)).total_seconds())
    return found


def count(told: Sequence[Told], period: Period, who: int | None, grain: str) -> Counted:
    zone = ZoneInfo(period.zone)
    answered = responses(told)
    inside = [
        one for one in told if who in (None, one.who) and period.first <= one.at.astimezone(zone).date() <= period.last
    ]
    out = [one for one in inside if one.direction == "out"]
    points: Counter[tuple[datetime, str]] = Counter()
    cells: Counter[tuple[int, int, str]] = Counter()
    for one in inside:
        local = one.at.astimezone(zone).replace(tzinfo=None, fold=0)
        start = local.replace(minute=0, second=0, microsecond=0)
        start = start if grain == "hour" else start.replace(hour=0)
        what = "received" if one.direction == "in" else "sent" if one.state in LEFT else None
        if what:
            points[start, what] += 1
            cells[local.isoweekday(), local.hour, what] += 1
    return Counted(
        figures={
            "total": len(out),
            "waiting": sum(one.state in ("queued", "sending", "accepted") for one in out),
            "sent": sum(one.state in LEFT for one in out),
            "delivered": sum(one.state in ("delivered", "read") for one in out),
            "read": sum(one.state == "read" for one in out),
            "failed": sum(one.state == "failed" for one in out),
            "uncertain": sum(one.state == "uncertain" for one in out),
            "received": len(inside) - len(out),
        },
        times={
            Measure.DELIVERY: [s for one in out for s in seconds(one.moments[0], one.moments[1])],
            Measure.READING: [s for one in out for s in seconds(one.moments[1], one.moments[2])],
            Measure.RESPONSE: [answered[one.id] for one in out if one.id in answered],
        },
        points=points,
        cells=cells,
        failures=Counter(one.failure for one in out if one.failure and one.state in ("failed", "uncertain")),
        templates=Counter(one.template for one in out if one.template),
    )


def assert_same(found: Report, expected: Counted) -> None:
    assert {name: getattr(found.now, name) for name in expected.figures} == expected.figures
    for measure, taken in expected.times.items():
        timed = found.now.times[measure]
        assert (timed.count, round((timed.mean or 0) * timed.count)) == (len(taken), sum(taken))
        if taken:
            assert timed.median is not None
            assert timed.slow is not None
            low, high = sorted(taken)[(len(taken) - 1) // 2], sorted(taken)[len(taken) // 2]
            assert max(low, 0.001) / 1.5 <= timed.median <= max(high, 0.001) * 1.5
            assert timed.slow <= max(*taken, 0.001) * 1.5
    points = {(one.starts_at, what): getattr(one, what) for one in found.points for what in ("sent", "received")}
    assert {key: n for key, n in points.items() if n} == expected.points
    cells = {(one.weekday, one.hour, what): getattr(one, what) for one in found.cells for what in ("sent", "received")}
    assert {key: n for key, n in cells.items() if n} == expected.cells
    assert {one.code: one.messages for one in found.failures} == expected.failures
    assert {one.id: one.total for one in found.templates} in ({}, expected.templates)
