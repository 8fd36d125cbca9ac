"""Campaigns by the API: one template to many recipients, sent as pacing allows."""

from datetime import datetime, time
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.messaging.state import State as MessageState
from services.messaging.state import WaitReason
from services.outreach import campaign_progress, campaign_state, campaigns, recipients, templates
from services.outreach.campaign_progress import CampaignProgress
from services.outreach.campaign_rules import Pacing
from services.outreach.campaign_state import Campaign, CampaignState, RecipientState
from services.outreach.recipient_row import RecipientRow
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import (
    CLOCK_PATTERN,
    Input,
    PageQuery,
    RecipientBody,
    decode_cursor,
    encode_cursor,
    read_seq,
    read_time,
)

CAMPAIGNS = "/functions/v1/campanhas-whatsapp"


class CampaignBody(Input):
    name: str = Field(max_length=200)
    template_id: UUID
    recipients: list[RecipientBody] = Field(min_length=1, max_length=5000)


class CampaignStateBody(Input):
    """Where a campaign shall go next."""

    state: CampaignState = Field(
        description="`active` begins it or lets it go on, `paused` holds it, `cancelled` ends it."
    )
    zone: str = Field("America/Sao_Paulo", max_length=64, description="Whose days and hours count, when it begins.")


class PacingBody(Input):
    """What it keeps to from its next message on; no looser than the installation's own rules."""

    opens: str = Field(pattern=CLOCK_PATTERN, description="`08:00`, in its owner's zone.")
    closes: str = Field(pattern=CLOCK_PATTERN, description="`00:00` is midnight.")
    daily: int = Field(ge=1, le=1_000_000, description="Messages a day, over all campaigns.")
    cold_share: float = Field(ge=0, le=1, description="The part of a day for those who never wrote.")
    seconds: float = Field(ge=0, le=86_400, description="Between two messages, on average.")


class PacingShape(BaseModel):
    opens: str
    closes: str
    daily: int
    cold_share: float
    seconds: float

    @classmethod
    def of(cls, pacing: Pacing) -> Self:
        return cls(
            opens=pacing.opens.isoformat("minutes"),
            closes=pacing.closes.isoformat("minutes"),
            daily=pacing.cap,
            cold_share=pacing.cold_share,
            seconds=pacing.pace,
        )


class CampaignShape(BaseModel):
    """A campaign, its recipients counted by place and its messages by state."""

    id: UUID
    name: str
    state: CampaignState
    template_id: UUID
    template_version: int
    recipients: dict[RecipientState, int]
    messages: dict[MessageState, int]
    pace: PacingShape
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, campaign: Campaign, far: CampaignProgress) -> Self:
        return cls(
            id=campaign.id,
            name=campaign.name,
            state=campaign.state,
            template_id=campaign.template_id,
            template_version=campaign.template_version,
            recipients=dict(far.places),
            messages=dict(far.states),
            pace=PacingShape.of(campaign.pacing),
            created_at=campaign.created_at,
            started_at=campaign.started_at,
            ended_at=campaign.ended_at,
        )


class CampaignPage(BaseModel):
    items: list[CampaignShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


class ResultShape(BaseModel):
    """What became of one recipient."""

    phone: str
    name: str | None
    place: RecipientState
    reason: str | None
    state: MessageState | None
    failure: str | None
    waiting_reason: WaitReason | None
    waiting_since: datetime | None
    message_id: UUID | None


class ResultPage(BaseModel):
    items: list[ResultShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


async def list_campaigns(call: Call) -> Response:
    query: PageQuery = call.query
    before = decode_cursor(query.cursor, read_time, UUID) if query.cursor else None
    read = await run_in_threadpool(lambda: campaigns.list_campaigns(call.actor, query.limit + 1, before))
    shown = read[: query.limit]
    end = shown[-1][0] if len(read) > query.limit else None
    following = encode_cursor(end.created_at, end.id) if end else None
    return answer(CampaignPage(items=[CampaignShape.of(*one) for one in shown], next=following))


async def get_campaign(call: Call) -> Response:
    return await _campaign_response(call, call.id)


async def create_campaign(call: Call) -> Response:
    made = await run_in_threadpool(_create_campaign, call)
    return await _campaign_response(call, made.id, 201)


async def change_state(call: Call) -> Response:
    await run_in_threadpool(_change_state, call)
    return await _campaign_response(call, call.id)


async def change_pacing(call: Call) -> Response:
    wanted: PacingBody = call.body
    opens, closes = time.fromisoformat(wanted.opens), time.fromisoformat(wanted.closes)
    pacing = Pacing(opens, closes, wanted.daily, wanted.cold_share, wanted.seconds)
    await run_in_threadpool(campaigns.set_pacing, call.actor, call.id, pacing)
    return await _campaign_response(call, call.id)


async def results(call: Call) -> Response:
    query: PageQuery = call.query
    (after,) = decode_cursor(query.cursor, read_seq) if query.cursor else (0,)
    await run_in_threadpool(campaign_state.get_campaign, call.actor, call.id)
    read = await run_in_threadpool(lambda: campaign_progress.list_results(call.actor, call.id, after, query.limit + 1))
    shown = read[: query.limit]
    items = [
        ResultShape(
            phone=each.phone,
            name=each.name,
            place=each.place,
            reason=each.reason,
            state=each.state,
            failure=each.failure,
            waiting_reason=each.waiting.reason if each.waiting else None,
            waiting_since=each.waiting.since if each.waiting else None,
            message_id=each.message_id,
        )
        for each in shown
    ]
    return answer(ResultPage(items=items, next=encode_cursor(shown[-1].seq) if len(read) > query.limit else None))


async def _campaign_response(call: Call, campaign_id: UUID, status: int = 200) -> Response:
    found = await run_in_threadpool(campaign_state.get_campaign, call.actor, campaign_id)
    far = await run_in_threadpool(campaign_progress.get_progress, call.actor, campaign_id)
    return answer(CampaignShape.of(found, far), status, {"Location": f"{CAMPAIGNS}/{campaign_id}"})


def _create_campaign(call: Call) -> Campaign:
    wanted: CampaignBody = call.body
    template = templates.get_template(call.actor, wanted.template_id)
    entries = [RecipientRow(row, each.phone, each.name, each.values) for row, each in enumerate(wanted.recipients, 1)]
    # The server is asked about numbers as each message leaves: a request does not wait for thousands of answers.
    examined = recipients.examine(call.actor, entries, ask=False)
    return campaigns.create(call.actor, wanted.name, template, recipients.check_for_template(examined, template))


def _change_state(call: Call) -> Campaign:
    wanted: CampaignStateBody = call.body
    if wanted.state is CampaignState.CANCELLED:
        return campaigns.cancel(call.actor, call.id)
    if (
        wanted.state is CampaignState.ACTIVE
        and campaign_state.get_campaign(call.actor, call.id).state is CampaignState.DRAFT
    ):
        return campaigns.confirm(call.actor, call.id, wanted.zone)
    return campaigns.set_paused(call.actor, call.id, on=wanted.state is not CampaignState.ACTIVE)


OPERATIONS = (
    Operation(
        "GET", CAMPAIGNS, "campaigns", "Campaigns, newest first, by pages", Scope.READ, list_campaigns,
        {200: CampaignPage},
        query=PageQuery,
    ),
    Operation(
        "POST", CAMPAIGNS, "new_campaign", "Make a draft; it sends nothing yet", Scope.SEND, create_campaign,
        {201: CampaignShape}, (404,), CampaignBody,
    ),
    Operation("GET", f"{CAMPAIGNS}/{{id}}", "campaign", "One campaign", Scope.READ, get_campaign,
        {200: CampaignShape}, (404,)),
    Operation(
        "PATCH", f"{CAMPAIGNS}/{{id}}", "move_campaign", "Begin, hold, go on, cancel", Scope.SEND, change_state,
        {200: CampaignShape}, (404, 409), CampaignStateBody,
    ),
    Operation(
        "PUT", f"{CAMPAIGNS}/{{id}}/ritmo", "pace_campaign", "Its hours, daily limit and pace", Scope.SEND,
        change_pacing,
        {200: CampaignShape}, (404, 409), PacingBody,
    ),
    Operation(
        "GET", f"{CAMPAIGNS}/{{id}}/resultados", "campaign_results", "What became of each recipient, by pages",
        Scope.READ, results, {200: ResultPage}, (404,), query=PageQuery,
    ),
)  # fmt: skip
