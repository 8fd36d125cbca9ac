"""Outgoing webhooks by the API: which systems get events, what they got, and sending an event again.

Endpoints are added and changed on the page only: what a stolen key had set up would otherwise outlive its revocation.
"""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.integrations import webhook_endpoints
from services.integrations.webhook_endpoints import Delivery, DeliveryState, Endpoint, EventType
from web.api.operation import Call, Operation
from web.api.responses import answer
from web.api.schemas import DoneShape, LimitQuery

ENDPOINTS = "/functions/v1/integracoes-whatsapp"
DELIVERIES = "/functions/v1/entregas-whatsapp"


class DeliveryQuery(LimitQuery):
    state: DeliveryState | None = Field(None, description="`dead`: nobody will try again unless told to.")


class EndpointShape(BaseModel):
    """A system that hears of events. Its secret was shown once and is not told here."""

    id: UUID
    url: str
    kinds: list[EventType]
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
    state: DeliveryState
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


class RequeuedShape(BaseModel):
    deliveries: int = Field(description="How many are tried anew.")


async def list_endpoints(call: Call) -> Response:
    found = await run_in_threadpool(webhook_endpoints.list_endpoints, call.actor)
    return answer(EndpointList(items=[EndpointShape.of(one) for one in found]))


async def list_deliveries(call: Call) -> Response:
    query: DeliveryQuery = call.query
    found = await run_in_threadpool(
        lambda: webhook_endpoints.list_deliveries(call.actor, call.id, state=query.state, limit=query.limit)
    )
    return answer(DeliveryList(items=[DeliveryShape.of(one) for one in found]))


async def requeue_all(call: Call) -> Response:
    return answer(RequeuedShape(deliveries=await run_in_threadpool(webhook_endpoints.requeue_all, call.actor, call.id)))


async def requeue(call: Call) -> Response:
    await run_in_threadpool(webhook_endpoints.requeue, call.actor, call.id)
    return answer(DoneShape())


async def send_test(call: Call) -> Response:
    await run_in_threadpool(webhook_endpoints.send_test, call.actor, call.id)
    return answer(DoneShape(), 202)


OPERATIONS = (
    Operation("GET", ENDPOINTS, "endpoints", "Who hears of events", Scope.READ, list_endpoints, {200: EndpointList}),
    Operation(
        "GET", f"{ENDPOINTS}/{{id}}/entregas", "deliveries", "What one of them heard", Scope.READ, list_deliveries,
        {200: DeliveryList}, (404,), query=DeliveryQuery,
    ),
    Operation(
        "POST", f"{ENDPOINTS}/{{id}}/reenvio", "replay_all", "Tell it all that it has not heard", Scope.SEND,
        requeue_all,
        {200: RequeuedShape}, (404,),
    ),
    Operation(
        "POST", f"{ENDPOINTS}/{{id}}/teste", "test_endpoint", "Have a test posted there", Scope.SEND, send_test,
        {202: DoneShape}, (404,),
    ),
    Operation(
        "POST", f"{DELIVERIES}/{{id}}/reenvio", "replay", "Tell one event that was not heard", Scope.SEND, requeue,
        {200: DoneShape}, (404,),
    ),
)  # fmt: skip
