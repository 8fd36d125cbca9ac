"""The session's number by the API: whether another phone was paired, what waits for its owner's word, and the word."""

from datetime import datetime

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.fleet import own_number
from services.outreach import number_change
from services.outreach.number_change import Decision
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import Input

NUMBER = "/functions/v1/numero-whatsapp"


class DecisionBody(Input):
    decision: Decision = Field(
        description="`continue`: what waits goes on by the new number. `drop`: what is queued is cancelled,"
        " campaigns end, schedules are paused."
    )
    phone: str | None = Field(
        None, max_length=20, description="The new number that is meant (digits); another one since then is a 404."
    )


class NumberShape(BaseModel):
    """While `undecided`, nothing leaves. What waits was made for the number `earlier`."""

    undecided: bool
    phone: str | None = Field(None, description="The new number, digits.")
    earlier: str | None = Field(None, description="The number before, digits.")
    since: datetime | None = None
    messages: int = Field(0, description="How many are queued.")
    campaigns: list[str] = Field(default_factory=list, description="Names of those that are under way.")
    schedules: list[str] = Field(default_factory=list, description="Names of those that go on.")
    earlier_numbers: list[str] = Field(description="Every number that the session was, the newest first.")


async def get_number(call: Call) -> Response:
    earlier = await run_in_threadpool(own_number.list_earlier, call.actor)
    change = await run_in_threadpool(own_number.get_change, call.actor)
    if change is None:
        return answer(NumberShape(undecided=False, earlier_numbers=earlier))
    waiting = await run_in_threadpool(number_change.list_waiting, call.actor, change)
    return answer(
        NumberShape(
            undecided=True,
            phone=change.phone,
            earlier=change.earlier,
            since=change.since,
            messages=waiting.messages,
            campaigns=list(waiting.campaigns),
            schedules=list(waiting.schedules),
            earlier_numbers=earlier,
        )
    )


async def decide_number(call: Call) -> Response:
    await run_in_threadpool(number_change.decide, call.actor, call.body.decision, call.body.phone)
    return await get_number(call)


OPERATIONS = (
    Operation(
        "GET", NUMBER, "number", "Whether another phone was paired, and what waits for its owner's word", Scope.READ,
        get_number, {200: NumberShape},
    ),
    Operation(
        "POST", NUMBER, "decide_number", "What becomes of what was made for the number before", Scope.SEND,
        decide_number, {200: NumberShape}, (404,), DecisionBody,
    ),
)  # fmt: skip
