"""Checks of a session by the API: the three guides, each check with its facts and the next step."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.db.actor import Actor
from services.diagnostics import check_report, facts, problems, session_checks
from services.diagnostics.check_report import Check, Guide, Report, Result, Step
from web.api.operation import Call, Operation
from web.api.responses import answer

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


async def check_session(call: Call) -> Response:
    report = await run_in_threadpool(_run_checks, call.actor)
    checks = [_check_shape(guide, check) for guide, several in report.guides.items() for check in several]
    return answer(DiagnosisShape(at=report.at, names=list(report.names), checks=checks))


def _run_checks(actor: Actor) -> Report:
    return session_checks.examine(actor, asked=facts.ask_server(actor))


def _check_shape(guide: Guide, check: Check) -> CheckShape:
    what, todo = problems.get_meaning_and_advice(check.name) if check.name else (None, None)
    return CheckShape(
        guide=guide,
        question=check.question,
        result=check.result,
        fact=check_report.get_fact_text(check),
        at=check.at,
        name=check.name or None,
        what=what,
        todo=todo,
        step=check.step,
        message_id=check.message,
    )


OPERATIONS = (
    Operation(
        "GET", DIAGNOSIS, "examine", "Ask the server now and tell what is wrong", Scope.READ, check_session,
        {200: DiagnosisShape},
    ),
)  # fmt: skip
