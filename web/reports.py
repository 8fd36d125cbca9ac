"""Reports by the API: what a period came to beside the one before, in the figures of the page."""

from datetime import date

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import reports
from services.keys import Scope
from services.reports import Availability, Cell, Failure, Figures, Grain, Part, Period, Point
from web.answers import answer
from web.operations import Call, Operation
from web.shapes import Input

REPORTS = "/functions/v1/relatorios-whatsapp"


class ReportQuery(Input):
    first: date = Field(ge=date(2000, 1, 1), le=date(2100, 1, 1), description="`2026-11-01`: the first day.")
    last: date = Field(ge=date(2000, 1, 1), le=date(2100, 1, 1), description="The last day, included.")
    zone: str = Field("America/Sao_Paulo", max_length=64, description="Whose days they are.")


class ReportShape(BaseModel):
    """One period; `before` and `availability_before` are the same number of days before it."""

    now: Figures
    before: Figures
    availability: Availability
    availability_before: Availability
    grain: Grain = Field(description="What one of `points` is.")
    points: list[Point]
    cells: list[Cell] = Field(description="Hours of the weekdays, over the whole period.")
    failures: list[Failure]
    templates: list[Part]
    campaigns: list[Part]


async def report(call: Call) -> Response:
    query: ReportQuery = call.query
    period = Period(query.first, query.last, query.zone)
    found = await run_in_threadpool(reports.report, call.actor, period, call.actor.user_id)
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
