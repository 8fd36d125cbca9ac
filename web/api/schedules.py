"""Schedules by the API: once or repeated, on the clock of a time zone."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field, NaiveDatetime
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.db.actor import Actor
from services.outreach import schedule_history, schedules, templates
from services.outreach.recurrence import ScheduleDraft, ScheduleRecipient
from services.outreach.schedules import RunState, Schedule
from services.wppconnect.phone import read_address
from web.api.content import content_without_template
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import ContentBody, Input, PageQuery, RecipientBody, decode_cursor, encode_cursor, read_time

SCHEDULES = "/functions/v1/agendamentos-whatsapp"


class ScheduleBody(ContentBody):
    name: str = Field(max_length=200)
    zone: str = Field(max_length=64, description="IANA time zone, as `America/Sao_Paulo`.")
    first: NaiveDatetime = Field(description="The first time on that zone's clock, to the minute, without an offset.")
    rule: str | None = Field(None, max_length=500, description="An iCalendar RRULE, as `FREQ=WEEKLY`; null: once.")
    recipients: list[RecipientBody] = Field(min_length=1, max_length=50)


class PauseBody(Input):
    paused: bool


class ScheduleQuery(PageQuery):
    ended: bool = Field(False, description="Those that have ended instead.")


class Recipient(BaseModel):
    phone: str
    name: str | None
    values: dict[str, str]


class ScheduleShape(BaseModel):
    """A schedule; `next_at` is when it goes next, null once it has ended."""

    id: UUID
    name: str
    zone: str
    first: datetime
    rule: str | None
    recipients: list[Recipient]
    message: str | None = Field(description="The text, where no template gives it.")
    template_id: UUID | None
    template_version: int | None
    next_at: datetime | None
    paused_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    silenced: list[str] = Field(description="Phones of recipients who asked for silence: they get nothing of it.")

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        draft = schedule.draft
        return cls(
            id=schedule.id,
            name=draft.name,
            zone=draft.zone,
            first=draft.first,
            rule=draft.rule,
            recipients=[Recipient(phone=to.phone, name=to.name, values=dict(to.values)) for to in draft.to],
            message=draft.content.body if draft.content else None,
            template_id=draft.template_id,
            template_version=draft.template_version,
            next_at=schedule.next.at if schedule.next else None,
            paused_at=schedule.paused_at,
            ended_at=schedule.ended_at,
            created_at=schedule.created_at,
            silenced=list(schedule.silenced),
        )


class SchedulePage(BaseModel):
    items: list[ScheduleShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


class RunShape(BaseModel):
    """What became of one time."""

    wall: datetime = Field(description="On the schedule's clock.")
    due_at: datetime
    state: RunState
    reason: str | None
    message_ids: list[UUID]


class SkipBody(Input):
    wall: NaiveDatetime = Field(description="One of its next times, on its own clock.")
    skipped: bool = True


class UpcomingRunShape(BaseModel):
    """A time that is to come."""

    wall: datetime = Field(description="On the schedule's clock.")
    at: datetime
    skipped: bool


class UpcomingRunList(BaseModel):
    name: str
    items: list[UpcomingRunShape] = Field(description="The next ten.")


class RunList(BaseModel):
    items: list[RunShape]


async def list_schedules(call: Call) -> Response:
    query: ScheduleQuery = call.query
    after = decode_cursor(query.cursor, read_time, UUID) if query.cursor else None
    read = await run_in_threadpool(
        lambda: schedules.list_schedules(call.actor, ended=query.ended, limit=query.limit + 1, after=after)
    )
    shown = read[: query.limit]
    following = encode_cursor(*schedules.list_position(shown[-1])) if len(read) > query.limit else None
    return answer(SchedulePage(items=[ScheduleShape.of(one) for one in shown], next=following))


async def get_schedule(call: Call) -> Response:
    return answer(ScheduleShape.of(await run_in_threadpool(schedules.get_schedule, call.actor, call.id)))


async def create_schedule(call: Call) -> Response:
    made = await run_in_threadpool(lambda: schedules.create(call.actor, _draft_from_body(call.actor, call.body)))
    return answer(ScheduleShape.of(made), 201, {"Location": f"{SCHEDULES}/{made.id}"})


async def change(call: Call) -> Response:
    changed = await run_in_threadpool(
        lambda: schedules.change(call.actor, call.id, _draft_from_body(call.actor, call.body))
    )
    return answer(ScheduleShape.of(changed))


async def pause(call: Call) -> Response:
    held = await run_in_threadpool(lambda: schedules.set_paused(call.actor, call.id, on=call.body.paused))
    return answer(ScheduleShape.of(held))


async def end(call: Call) -> Response:
    await run_in_threadpool(schedules.end, call.actor, call.id)
    return await get_schedule(call)


async def runs(call: Call) -> Response:
    await run_in_threadpool(schedules.get_schedule, call.actor, call.id)
    found = await run_in_threadpool(schedule_history.list_runs, call.actor, call.id)
    shapes = [
        RunShape(
            wall=run.wall, due_at=run.due_at, state=run.state, reason=run.reason, message_ids=list(run.message_ids)
        )
        for run in found
    ]
    return answer(RunList(items=shapes))


async def list_upcoming(call: Call) -> Response:
    schedule = await run_in_threadpool(schedules.get_schedule, call.actor, call.id)
    found = await run_in_threadpool(schedules.list_upcoming, call.actor, schedule)
    shapes = [UpcomingRunShape(wall=one.wall, at=one.at, skipped=one.skipped) for one in found]
    return answer(UpcomingRunList(name=schedule.draft.name, items=shapes))


async def skip(call: Call) -> Response:
    wanted: SkipBody = call.body
    await run_in_threadpool(lambda: schedules.set_skipped(call.actor, call.id, wanted.wall, on=wanted.skipped))
    return await list_upcoming(call)


def _draft_from_body(actor: Actor, wanted: ScheduleBody) -> ScheduleDraft:
    template = templates.get_template(actor, wanted.template_id) if wanted.template_id else None
    return ScheduleDraft(
        name=wanted.name,
        zone=wanted.zone,
        first=wanted.first,
        rule=wanted.rule,
        to=tuple(ScheduleRecipient(read_address(each.phone), each.name, each.values) for each in wanted.recipients),
        content=None if template else content_without_template(actor, wanted),
        template_id=template.id if template else None,
        template_version=template.version if template else None,
    )


OPERATIONS = (
    Operation(
        "GET", SCHEDULES, "schedules", "Schedules, the next to go first, by pages", Scope.READ, list_schedules,
        {200: SchedulePage}, query=ScheduleQuery,
    ),
    Operation(
        "POST", SCHEDULES, "new_schedule", "Begin a schedule", Scope.SEND, create_schedule, {201: ScheduleShape},
        (404,),
        ScheduleBody,
    ),
    Operation("GET", f"{SCHEDULES}/{{id}}", "schedule", "One schedule", Scope.READ, get_schedule,
        {200: ScheduleShape}, (404,)),
    Operation(
        "PUT", f"{SCHEDULES}/{{id}}", "change_schedule", "Change it from now on", Scope.SEND, change,
        {200: ScheduleShape}, (404,), ScheduleBody,
    ),
    Operation(
        "PATCH", f"{SCHEDULES}/{{id}}", "pause_schedule", "Hold it, or let it go on", Scope.SEND, pause,
        {200: ScheduleShape}, (404,), PauseBody,
    ),
    Operation(
        "DELETE", f"{SCHEDULES}/{{id}}", "end_schedule", "End it for good; what it has sent stays", Scope.SEND, end,
        {200: ScheduleShape}, (404,),
    ),
    Operation(
        "GET", f"{SCHEDULES}/{{id}}/vezes", "schedule_runs", "What became of its newest times", Scope.READ, runs,
        {200: RunList}, (404,),
    ),
    Operation(
        "GET", f"{SCHEDULES}/{{id}}/proximas", "next_runs", "Its next times", Scope.READ, list_upcoming,
        {200: UpcomingRunList},
        (404,),
    ),
    Operation(
        "PATCH", f"{SCHEDULES}/{{id}}/proximas", "skip_run", "Leave one time out, or take it back in", Scope.SEND, skip,
        {200: UpcomingRunList}, (404,), SkipBody,
    ),
)  # fmt: skip
