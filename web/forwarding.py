"""Forwarding by the API: which systems hear of what happens, what they heard, and telling them once more.

Where events go is chosen on the page alone: what a stolen key had set up would go on telling after its revocation.
"""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services import forwarding
from services.forwarding import Delivery, Endpoint, Kind, State
from services.keys import Scope
from web.answers import answer
from web.operations import Call, Operation
from web.shapes import DoneShape, LimitQuery

ENDPOINTS = "/functions/v1/integracoes-whatsapp"
DELIVERIES = "/functions/v1/entregas-whatsapp"


class DeliveryQuery(LimitQuery):
    state: State | None = Field(None, description="`dead`: nobody will try again unless told to.")


class EndpointShape(BaseModel):
    """A system that hears of events. Its secret was shown once and is not told here."""

    id: UUID
    url: str
    kinds: list[Kind]
    active: bool
    off_reason: str | None = Field(description="Why it was turned off; null where a person did it.")
    failing_since: datetime | None
    waiting: int = Field(description="Deliveries that will be tried.")
    dead: int = Field(description="Deliveries that nobody will try again unless told to.")

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            kinds=sorted(endpoint.kinds),
            active=endpoint.active,
            off_reason=endpoint.off_reason,
            failing_since=endpoint.failing_since,
            waiting=endpoint.waiting,
            dead=endpoint.dead,
        )


class EndpointList(BaseModel):
    items: list[EndpointShape] = Field(description="The newest first.")


class DeliveryShape(BaseModel):
    """One event on its way to one system; its `id` is the `webhook-id` that the system sees."""

    id: UUID
    endpoint_id: UUID
    kind: str
    what: str | None
    state: State
    attempts: int
    next_at: datetime
    status: int | None = Field(description="The newest answer's.")
    error: str | None = Field(description="Why there was no answer.")
    created_at: datetime
    done_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls(
            id=delivery.id,
            endpoint_id=delivery.endpoint_id,
            kind=delivery.kind,
            what=delivery.what,
            state=delivery.state,
            attempts=delivery.attempts,
            next_at=delivery.next_at,
            status=delivery.status,
            error=delivery.error,
            created_at=delivery.created_at,
            done_at=delivery.done_at,
        )


class DeliveryList(BaseModel):
    items: list[DeliveryShape] = Field(description="The newest first.")


class AgainShape(BaseModel):
    deliveries: int = Field(description="How many are tried anew.")


async def several(call: Call) -> Response:
    found = await run_in_threadpool(forwarding.listing, call.actor)
    return answer(EndpointList(items=[EndpointShape.of(one) for one in found]))


async def heard(call: Call) -> Response:
    query: DeliveryQuery = call.query
    found = await run_in_threadpool(
        lambda: forwarding.deliveries(call.actor, call.id, state=query.state, limit=query.limit)
    )
    return answer(DeliveryList(items=[DeliveryShape.of(one) for one in found]))


async def all_again(call: Call) -> Response:
    return answer(AgainShape(deliveries=await run_in_threadpool(forwarding.replay_all, call.actor, call.id)))


async def again(call: Call) -> Response:
    await run_in_threadpool(forwarding.replay, call.actor, call.id)
    return answer(DoneShape())


async def test(call: Call) -> Response:
    await run_in_threadpool(forwarding.test, call.actor, call.id)
    return answer(DoneShape(), 202)


OPERATIONS = (
    Operation("GET", ENDPOINTS, "endpoints", "Who hears of events", Scope.READ, several, {200: EndpointList}),
    Operation(
        "GET", f"{ENDPOINTS}/{{id}}/entregas", "deliveries", "What one of them heard", Scope.READ, heard,
        {200: DeliveryList}, (404,), query=DeliveryQuery,
    ),
    Operation(
        "POST", f"{ENDPOINTS}/{{id}}/reenvio", "replay_all", "Tell it all that it has not heard", Scope.SEND, all_again,
        {200: AgainShape}, (404,),
    ),
    Operation(
        "POST", f"{ENDPOINTS}/{{id}}/teste", "test_endpoint", "Have a test posted there", Scope.SEND, test,
        {202: DoneShape}, (404,),
    ),
    Operation(
        "POST", f"{DELIVERIES}/{{id}}/reenvio", "replay", "Tell one event that was not heard", Scope.SEND, again,
        {200: DoneShape}, (404,),
    ),
)  # fmt: skip
