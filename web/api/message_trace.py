"""Why a message has not arrived: its trace by the API, each step with its time and what it proves."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.diagnostics import message_trace
from services.diagnostics.check_report import Result
from services.messaging.state import State
from web.api.conversations import MESSAGES
from web.api.operation import Call, Operation
from web.api.responses import answer


class TraceStepShape(BaseModel):
    at: datetime | None
    what: str = Field(description="In Portuguese.")
    result: Result
    ahead: bool = Field(description="Still to come.")


class MessageTraceShape(BaseModel):
    """A message's story and what it comes to."""

    id: UUID
    state: State
    result: Result
    what: str = Field(description="Why it has not arrived, or that it has, in Portuguese.")
    todo: str = Field(description="What to do, in Portuguese.")
    moments: list[TraceStepShape] = Field(description="The first on top.")


async def get_message_trace(call: Call) -> Response:
    found = await run_in_threadpool(message_trace.get_trace, call.actor, call.id)
    end = found.conclusion
    return answer(
        MessageTraceShape(
            id=found.id,
            state=found.state,
            result=end.result,
            what=end.what.format(**end.params),
            todo=end.todo.format(**end.params),
            moments=[
                TraceStepShape(at=one.at, what=one.what.format(**one.params), result=one.result, ahead=one.ahead)
                for one in found.moments
            ],
        )
    )


OPERATIONS = (
    Operation(
        "GET", f"{MESSAGES}/{{id}}/passos", "story", "Why it has not arrived, step by step", Scope.READ,
        get_message_trace,
        {200: MessageTraceShape}, (404,),
    ),
)  # fmt: skip
