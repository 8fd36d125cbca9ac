"""Reports by the API: a period beside the one before, with the figures of the page."""

from datetime import date

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.reporting import reports
from services.reporting.report_model import (
    Availability,
    BreakdownRow,
    ChartPoint,
    FailureCount,
    Grain,
    Totals,
    WeekdayHour,
)
from services.reporting.report_periods import Period
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import Input

REPORTS = "/functions/v1/relatorios-whatsapp"


class ReportQuery(Input):
    first: date = Field(ge=date(2000, 1, 1), le=date(2100, 1, 1), description="`2026-11-01`: the first day.")
    last: date = Field(ge=date(2000, 1, 1), le=date(2100, 1, 1), description="The last day, included.")
    zone: str = Field("America/Sao_Paulo", max_length=64, description="Whose days they are.")


class ReportShape(BaseModel):
    """One period; `before` and `availability_before` are the same number of days before it."""

    now: Totals
    before: Totals
    availability: Availability
    availability_before: Availability
    grain: Grain = Field(description="What one of `points` is.")
    points: list[ChartPoint]
    cells: list[WeekdayHour] = Field(description="Hours of the weekdays, over the whole period.")
    failures: list[FailureCount]
    templates: list[BreakdownRow]
    campaigns: list[BreakdownRow]


async def report(call: Call) -> Response:
    query: ReportQuery = call.query
    period = Period(query.first, query.last, query.zone)
    found = await run_in_threadpool(reports.get_report, call.actor, period, call.actor.user_id)
    return answer(
        ReportShape(
            now=found.now,
            before=found.before,
            availability=found.availability,
            availability_before=found.availability_before,
            grain=found.grain,
            points=found.points,
            cells=found.cells,
            failures=found.failures,
            templates=found.templates,
            campaigns=found.campaigns,
        )
    )


OPERATIONS = (
    Operation(
        "GET", REPORTS, "report", "What a period came to", Scope.READ, report, {200: ReportShape}, query=ReportQuery
    ),
)  # fmt: skip
