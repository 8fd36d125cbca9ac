"""Opt-outs by the API, and the kill switch that stops everything that a session sends."""

from datetime import datetime

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.contacts import opt_outs
from services.contacts.opt_outs import OptOutPlace
from services.messaging import kill_switch
from web.api.given_texts import Text
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import PHONE_WORDS, DoneShape, Input, PageQuery, decode_cursor, encode_cursor, read_time

OPT_OUTS = "/functions/v1/silenciados-whatsapp"
KILL_SWITCH = "/functions/v1/freio-whatsapp"


class OptOutBody(Input):
    phone: Text = Field(max_length=300, description=PHONE_WORDS)


class EndOptOutBody(OptOutBody):
    reason: str = Field(max_length=2000, description="Why it was a slip: 5 to 300 characters, kept on the record.")


class OptOutQuery(PageQuery):
    search: str = Field("", max_length=100, description="A part of a number or of the contact's name.")


class KillSwitchBody(Input):
    stopped: bool = Field(description="Nothing leaves while it is on: no queue, no schedule, no campaign.")


class OptOutShape(BaseModel):
    phone: str = Field(description="Digits with country code, or a `@lid` without a number.")
    name: str | None = Field(description="As the contact is called.")
    at: datetime
    word: str | None = Field(description="What they wrote; null where the session's owner noted it.")


class OptOutList(BaseModel):
    items: list[OptOutShape] = Field(description="The newest first.")
    total: int = Field(description="Of all pages.")
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


class KillSwitchShape(BaseModel):
    stopped: bool
    since: datetime | None
    by_staff: bool = Field(description="Then only staff let it go on.")


async def list_opt_outs(call: Call) -> Response:
    query: OptOutQuery = call.query
    after = OptOutPlace(*decode_cursor(query.cursor, read_time, str)) if query.cursor else None
    page = await run_in_threadpool(opt_outs.list_page, call.actor, query.search, after, query.limit)
    items = [OptOutShape(phone=one.phone, name=one.name, at=one.at, word=one.word) for one in page.items]
    following = encode_cursor(page.after.at, page.after.address_key) if page.after else None
    return answer(OptOutList(items=items, total=page.total, next=following))


async def add_opt_out(call: Call) -> Response:
    await run_in_threadpool(opt_outs.add, call.actor, call.body.phone)
    return answer(DoneShape())


async def end_opt_out(call: Call) -> Response:
    wanted: EndOptOutBody = call.body
    await run_in_threadpool(opt_outs.end, call.actor, wanted.phone, wanted.reason)
    return answer(DoneShape())


async def get_kill_switch(call: Call) -> Response:
    found = await run_in_threadpool(kill_switch.get_stop, call.actor)
    since, by_staff = (found.stopped_at, found.stopped_by_staff) if found else (None, False)
    return answer(KillSwitchShape(stopped=found is not None, since=since, by_staff=by_staff))


async def set_kill_switch(call: Call) -> Response:
    await run_in_threadpool(kill_switch.stop_sending if call.body.stopped else kill_switch.resume_sending, call.actor)
    return await get_kill_switch(call)


OPERATIONS = (
    Operation(
        "GET", OPT_OUTS, "opt_outs", "Who asked not to be written to again, by pages", Scope.READ, list_opt_outs,
        {200: OptOutList},
        query=OptOutQuery,
    ),
    Operation(
        "POST", OPT_OUTS, "note_opt_out", "Note somebody who asked for it", Scope.SEND, add_opt_out,
        {200: DoneShape}, body=OptOutBody,
    ),
    Operation(
        "POST", f"{OPT_OUTS}/desfazer", "end_opt_out", "Undo one that was a slip, on the record", Scope.SEND,
        end_opt_out, {200: DoneShape}, (404,), EndOptOutBody,
    ),
    Operation("GET", KILL_SWITCH, "kill_switch", "Whether everything is stopped", Scope.READ, get_kill_switch,
        {200: KillSwitchShape}),
    Operation(
        "PUT", KILL_SWITCH, "set_kill_switch", "Stop everything at once, or let it go on", Scope.SEND, set_kill_switch,
        {200: KillSwitchShape},
        (404, 409), KillSwitchBody,
    ),
)  # fmt: skip
