"""Webhook endpoints: the addresses that receive outgoing webhooks, their secrets and their deliveries.

What happens here is posted to the owners' own systems, signed by the Standard Webhooks specification. Sending is
in `webhook_delivery`.
"""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select, text, update

from services import settings
from services.db.actor import Actor, Role
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.integrations import webhook_deliveries as delivery_rows
from services.db.tables.integrations import webhook_endpoints
from services.errors import N_, Forbidden, InvalidInput, NotFound
from services.platform import safe_http
from services.security import audit_log

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
# More than that is a program that makes endpoints, not a person.
MAX_ENDPOINTS_PER_OWNER = 10


class EventType(StrEnum):
    """What an endpoint can hear of."""

    RECEIVED = "message.received"
    STATE = "message.state"  # sent, delivered, read, failed, uncertain
    SESSION = "session.status"


TEST_EVENT = "webhook.test"


class DeliveryState(StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    SENDING = "sending"
    DONE = "done"
    DEAD = "dead"  # nobody will try again unless a person says so


class WrongEndpoint(InvalidInput):
    code = "integracao_incompleta"
    message = N_("A integração precisa de ao menos um tipo de aviso.")
    hint = N_("Escolha o que o seu sistema quer saber.")


class TooManyEndpoints(InvalidInput):
    code = "integracoes_demais"
    message = N_("Já existem {limit} integrações.")
    hint = N_("Apague as que não usa e tente de novo.")


@dataclass(frozen=True)
class Endpoint:
    """Where deliveries go, without its secret. `user_id` None: everybody's events, without texts and numbers.

    `off_reason`: why it was turned off (`gone`, `failing`), None where a person did it. `failing_since`: since when
    nobody answers there. `waiting` and `dead` count deliveries.
    """

    id: UUID
    user_id: UUID | None
    url: str
    kinds: frozenset[EventType]
    active: bool
    off_reason: str | None
    failing_since: datetime | None
    rotated_at: datetime | None
    created_at: datetime
    waiting: int = 0
    dead: int = 0


@dataclass(frozen=True)
class NewEndpoint:
    """An endpoint just made. Nobody can read `secret` again."""

    id: UUID
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint. `status` is that of the newest answer, `error` why there was none."""

    id: UUID
    endpoint_id: UUID
    kind: str
    what: str | None
    state: DeliveryState
    attempts: int
    next_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    done_at: datetime | None
    dead_at: datetime | None


def create_endpoint(actor: Actor, url: str, kinds: frozenset[EventType], *, everybody: bool = False) -> NewEndpoint:
    """Tell what happens in the actor's own session to `url`; with `everybody` (admins) what happens in any.

    Raises: WrongAddress, PrivateAddress, WrongEndpoint, TooManyEndpoints, Forbidden.
    """
    owner = _get_owner(actor, everybody=everybody)
    address = safe_http.checked(url, private=settings.get().webhooks.allow_private)
    if not kinds:
        raise WrongEndpoint
    secret = _new_secret()
    with transaction(actor) as tx:
        count = tx.execute(
            select(func.count()).where(webhook_endpoints.c.user_id.is_not_distinct_from(owner))
        ).scalar_one()
        if count >= MAX_ENDPOINTS_PER_OWNER:
            raise TooManyEndpoints(limit=MAX_ENDPOINTS_PER_OWNER)
        new = insert(webhook_endpoints).values(user_id=owner, url=address, secret=secret, kinds=sorted(kinds))
        endpoint_id = tx.execute(new.returning(webhook_endpoints.c.id)).scalar_one()
        audit_log.record(tx, actor, "endpoint.create", str(endpoint_id), kinds=sorted(kinds), everybody=everybody)
    return NewEndpoint(endpoint_id, secret)


def list_endpoints(actor: Actor, *, everybody: bool = False) -> list[Endpoint]:
    """The actor's own endpoints, or (for staff) those of everybody's events; the newest first."""
    owner = None if everybody else actor.user_id
    with transaction(actor) as tx:
        rows = tx.execute(
            select(*_ENDPOINT_COLUMNS, *_count_deliveries())
            .where(webhook_endpoints.c.user_id.is_not_distinct_from(owner))
            .order_by(webhook_endpoints.c.created_at.desc())
        ).all()
    return read_rows(Endpoint, rows)


def change_endpoint(
    actor: Actor,
    endpoint_id: UUID,
    *,
    url: str | None = None,
    kinds: frozenset[EventType] | None = None,
    active: bool | None = None,
) -> None:
    """Change what is given; turning one on again sends what has waited meanwhile.

    Raises: NotFound, WrongAddress, PrivateAddress, WrongEndpoint.
    """
    values: dict[str, Any] = {}
    if url is not None:
        values["url"] = safe_http.checked(url, private=settings.get().webhooks.allow_private)
    if kinds is not None:
        if not kinds:
            raise WrongEndpoint
        values["kinds"] = sorted(kinds)
    if active is not None:
        values["active"] = active
    if values:
        with transaction(actor) as tx:
            _update_endpoint(tx, endpoint_id, **values)
            # Not the address: a path may hold a token of the other system.
            audit_log.record(tx, actor, "endpoint.change", str(endpoint_id), changed=sorted(values))
            tx.execute(_NOTIFY_WORKER)


def rotate_secret(actor: Actor, endpoint_id: UUID) -> NewEndpoint:
    """Give the endpoint a new secret; for 24 hours the old one signs beside it.

    Raises: NotFound.
    """
    secret = _new_secret()
    with transaction(actor) as tx:
        _update_endpoint(tx, endpoint_id, secret=secret)
        audit_log.record(tx, actor, "endpoint.rotate", str(endpoint_id))
    return NewEndpoint(endpoint_id, secret)


def delete_endpoint(actor: Actor, endpoint_id: UUID) -> None:
    """Forget the endpoint and what was to be told to it.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        if not tx.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)).rowcount:
            raise NotFound(f"endpoint {endpoint_id}")
        audit_log.record(tx, actor, "endpoint.remove", str(endpoint_id))


def send_test(actor: Actor, endpoint_id: UUID) -> None:
    """Have the worker post a `webhook.test` there now, also where nobody has answered lately.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        _update_endpoint(tx, endpoint_id, available_at=func.clock_timestamp())
        owner = tx.execute(
            select(webhook_endpoints.c.user_id).where(webhook_endpoints.c.id == endpoint_id)
        ).scalar_one()
        tx.execute(insert(delivery_rows).values(endpoint_id=endpoint_id, user_id=owner, kind=TEST_EVENT))


def list_deliveries(
    actor: Actor, endpoint_id: UUID, *, state: DeliveryState | None = None, limit: int = 20
) -> list[Delivery]:
    """The newest deliveries of an endpoint, of one state or of all; none where it is somebody else's."""
    chosen = select(*_DELIVERY_COLUMNS).where(delivery_rows.c.endpoint_id == endpoint_id)
    if state is not None:
        chosen = chosen.where(delivery_rows.c.state == state)
    with transaction(actor) as tx:
        rows = tx.execute(chosen.order_by(delivery_rows.c.seq.desc()).limit(limit)).all()
    return read_rows(Delivery, rows)


def requeue(actor: Actor, delivery_id: UUID) -> None:
    """Begin a dead delivery's tries anew, under its old id.

    Raises: NotFound where there is no such dead one.
    """
    if not _requeue_dead(actor, delivery_rows.c.id == delivery_id):
        raise NotFound(f"dead delivery {delivery_id}")


def requeue_all(actor: Actor, endpoint_id: UUID) -> int:
    """Begin the tries of all dead deliveries of an endpoint anew; returns how many there were."""
    return _requeue_dead(actor, delivery_rows.c.endpoint_id == endpoint_id)


def _get_owner(actor: Actor, *, everybody: bool) -> UUID | None:
    if actor.user_id is None or (everybody and actor.role is not Role.ADMIN):
        raise Forbidden("endpoints")
    return None if everybody else actor.user_id


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _update_endpoint(tx: Connection, endpoint_id: UUID, **values: Any) -> None:
    if not tx.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(values)).rowcount:
        raise NotFound(f"endpoint {endpoint_id}")


def _requeue_dead(actor: Actor, which: Any) -> int:
    with transaction(actor) as tx:
        revived = tx.execute(
            update(delivery_rows)
            .where(which, delivery_rows.c.state == DeliveryState.DEAD)
            .values(state=DeliveryState.WAITING, attempts=0, next_at=func.clock_timestamp(), dead_at=None)
        )
        if revived.rowcount:
            audit_log.record(tx, actor, "endpoint.replay", None, deliveries=revived.rowcount)
    return int(revived.rowcount)


_ENDPOINT_COLUMNS = tuple(
    webhook_endpoints.c[name]
    for name in ("id", "user_id", "url", "kinds", "active", "off_reason", "failing_since", "rotated_at", "created_at")
)
_DELIVERY_COLUMNS = (
    *(
        delivery_rows.c[name]
        for name in ("id", "endpoint_id", "kind", "state", "attempts", "next_at", "created_at", "done_at", "dead_at")
    ),
    delivery_rows.c.new_state.label("what"),
    delivery_rows.c.last_status.label("status"),
    delivery_rows.c.last_error.label("error"),
)


def _count_deliveries() -> tuple[Any, ...]:
    """Up to a thousand: more need not be told apart, nor counted."""

    def count(*states: DeliveryState) -> Any:
        mine = select(delivery_rows.c.id).where(
            delivery_rows.c.endpoint_id == webhook_endpoints.c.id, delivery_rows.c.state.in_(states)
        )
        some = mine.correlate(webhook_endpoints).limit(1000).subquery()
        return select(func.count()).select_from(some).scalar_subquery()

    return count(DeliveryState.WAITING, DeliveryState.SENDING).label("waiting"), count(DeliveryState.DEAD).label("dead")


_NOTIFY_WORKER = text("select pg_notify('webhooks', '')")
