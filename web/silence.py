"""Silence by the API: who asked never to be written to again, and the brake that stops everything that is sent."""

from datetime import datetime

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import brake, optouts
from services.keys import Scope
from web.answers import answer
from web.operations import Call, Operation
from web.shapes import DoneShape, Input, LimitQuery

OPT_OUTS = "/functions/v1/silenciados-whatsapp"
BRAKE = "/functions/v1/freio-whatsapp"


class OptOutBody(Input):
    phone: str = Field(max_length=80, description="With country and area code; punctuation is ignored.")


class BrakeBody(Input):
    stopped: bool = Field(description="Nothing leaves while it is on: no queue, no schedule, no campaign.")


class OptOutShape(BaseModel):
    phone: str = Field(description="Digits with country code.")
    at: datetime
    word: str | None = Field(description="What they wrote; null where the session's owner noted it.")


class OptOutList(BaseModel):
    items: list[OptOutShape] = Field(description="The newest first.")


class BrakeShape(BaseModel):
    stopped: bool
    since: datetime | None
    by_staff: bool = Field(description="Then only staff let it go on.")


async def several(call: Call) -> Response:
    found = await run_in_threadpool(optouts.newest, call.actor, call.query.limit)
    return answer(OptOutList(items=[OptOutShape(phone=phone, at=at, word=word) for phone, at, word in found]))


async def note(call: Call) -> Response:
    await run_in_threadpool(optouts.add, call.actor, call.body.phone)
    return answer(DoneShape())


async def state(call: Call) -> Response:
    found = await run_in_threadpool(brake.pulled, call.actor)
    since, by_staff = (found.since, found.by_staff) if found else (None, False)
    return answer(BrakeShape(stopped=found is not None, since=since, by_staff=by_staff))


async def move(call: Call) -> Response:
    await run_in_threadpool(brake.pull if call.body.stopped else brake.let_go, call.actor)
    return await state(call)


OPERATIONS = (
    Operation(
        "GET", OPT_OUTS, "opt_outs", "Who asked never to be written to again", Scope.READ, several, {200: OptOutList},
        query=LimitQuery,
    ),
    Operation(
        "POST", OPT_OUTS, "note_opt_out", "Note somebody who asked: it holds for ever", Scope.SEND, note,
        {200: DoneShape}, body=OptOutBody,
    ),
    Operation("GET", BRAKE, "brake", "Whether everything is stopped", Scope.READ, state, {200: BrakeShape}),
    Operation(
        "PUT", BRAKE, "move_brake", "Stop everything at once, or let it go on", Scope.SEND, move, {200: BrakeShape},
        (404, 409), BrakeBody,
    ),
)  # fmt: skip
