"""A session examined by the API: the three guides, each check with its evidence and what to do."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import diagnostics, evidence
from services.db.actor import Actor
from services.diagnostics import Check, Guide, Report, Result, Step
from services.keys import Scope
from web.answers import answer
from web.operations import Call, Operation

DIAGNOSIS = "/functions/v1/diagnostico-whatsapp"


class CheckShape(BaseModel):
    guide: Guide = Field(description="No QR appears, a message does not leave, or the session drops.")
    question: str = Field(description="In Portuguese, as every text here.")
    result: Result
    fact: str = Field(description="The evidence.")
    at: datetime | None = Field(description="When that was seen.")
    name: str | None = Field(description="What was found, as a stable code.")
    what: str | None = Field(description="What that means.")
    todo: str | None = Field(description="What to do about it.")
    step: Step | None = Field(description="The next step, as a stable code.")
    message_id: UUID | None = Field(description="The message that shows it.")


class DiagnosisShape(BaseModel):
    """The checks of the caller's own session, made now."""

    at: datetime
    names: list[str] = Field(description="What was found, the worst first.")
    checks: list[CheckShape]


async def examined(call: Call) -> Response:
    report = await run_in_threadpool(_examine, call.actor)
    checks = [_shape(guide, check) for guide, several in report.guides.items() for check in several]
    return answer(DiagnosisShape(at=report.at, names=list(report.names), checks=checks))


def _examine(actor: Actor) -> Report:
    return diagnostics.examine(actor, asked=evidence.ask(actor))


def _shape(guide: Guide, check: Check) -> CheckShape:
    what, todo = diagnostics.words(check.name) if check.name else (None, None)
    return CheckShape(
        guide=guide,
        question=check.question,
        result=check.result,
        fact=diagnostics.fact_of(check),
        at=check.at,
        name=check.name or None,
        what=what,
        todo=todo,
        step=check.step,
        message_id=check.message,
    )


OPERATIONS = (
    Operation(
        "GET", DIAGNOSIS, "examine", "Ask the server now and tell what is wrong", Scope.READ, examined,
        {200: DiagnosisShape},
    ),
)  # fmt: skip
