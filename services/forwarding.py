"""What happens here, told to the owners' own systems: signed webhooks by the Standard Webhooks specification.

    change ──same transaction, by trigger──▶ waiting ──claimed──▶ sending ──2xx──▶ done
                                                ▲                    │
                                                ├──later, for days───┤
                                                └───replay──── dead ◀┘ the last try failed

A delivery holds ids; what is told is read when it is sent, as the endpoint's owner may see it. At least once: a worker
that dies leaves its deliveries to the next at the lease's end, and the receiver knows a repetition by `webhook-id`.

No endpoint costs another one anything: each has at most three posts under way, and one that does not answer is tried
with a single one ever more rarely, while what it has not heard waits. Nothing of this happens in the receiver.
"""

import base64
import json
import random
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, delete, func, insert, select, text, update
from standardwebhooks import Webhook

from services import audit, outgoing, settings
from services.db.actor import SYSTEM, Actor, Role, person
from services.db.engine import transaction
from services.db.models import Record, endpoints, messages
from services.db.models import deliveries as delivery_rows
from services.db.models import sessions as session_rows
from services.errors import N_, DatabaseUnavailable, Forbidden, InvalidInput, NotFound
from services.outgoing import Answer
from services.trouble import Watch

log = structlog.get_logger(__name__)

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
# How long the secret before the newest one signs too.
ROTATION = timedelta(hours=24)
# More than that is a program that makes endpoints, not a person.
ENDPOINTS_PER_OWNER = 10

# The specification's own schedule: how long after each failed try the next one follows; after the last, none.
RETRY_AFTER = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
# So that what failed together does not come again together.
JITTER = (1.0, 1.1)
# An endpoint that nobody answers at is left alone for so long after its first, second, … failure in a row.
LEFT_ALONE = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120, 300))
# One that never answered for so long is turned off.
GIVEN_UP_AFTER = timedelta(days=5)
GONE = 410
# Answers that mean: nobody is there just now. Any other says that somebody is, whatever they think of this one post.
AWAY = frozenset({408, 425, 429, *range(500, 600)})

AT_ONCE = 64
AT_ONCE_PER_ENDPOINT = 3
# Longer than a post may take with the resolving of its name.
LEASE = timedelta(seconds=60)
FINISH_ATTEMPTS = 20
KEPT_DONE = timedelta(days=7)
KEPT_DEAD = timedelta(days=30)
FORGOTTEN_AT_ONCE = 10_000


class Kind(StrEnum):
    """What an endpoint can hear of."""

    RECEIVED = "message.received"
    STATE = "message.state"  # sent, delivered, read, failed, uncertain
    SESSION = "session.status"


TEST = "webhook.test"


class State(StrEnum):
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
    kinds: frozenset[Kind]
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
    state: State
    attempts: int
    next_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    done_at: datetime | None
    dead_at: datetime | None


# --- what a person does -----------------------------------------------------------------------------------------------


def create(actor: Actor, url: str, kinds: frozenset[Kind], *, everybody: bool = False) -> NewEndpoint:
    """Tell what happens in the actor's own session to `url`; with `everybody` (admins) what happens in any.

    Raises WrongAddress, PrivateAddress, WrongEndpoint, TooManyEndpoints, Forbidden.
    """
    owner = _owner(actor, everybody=everybody)
    address = outgoing.checked(url, private=settings.get().forward_allow_private)
    if not kinds:
        raise WrongEndpoint
    secret = _new_secret()
    with transaction(actor) as tx:
        count = tx.execute(select(func.count()).where(endpoints.c.user_id.is_not_distinct_from(owner))).scalar_one()
        if count >= ENDPOINTS_PER_OWNER:
            raise TooManyEndpoints(limit=ENDPOINTS_PER_OWNER)
        new = insert(endpoints).values(user_id=owner, url=address, secret=secret, kinds=sorted(kinds))
        endpoint_id = tx.execute(new.returning(endpoints.c.id)).scalar_one()
        audit.record(tx, actor, "endpoint.create", str(endpoint_id), kinds=sorted(kinds), everybody=everybody)
    return NewEndpoint(endpoint_id, secret)


def listing(actor: Actor, *, everybody: bool = False) -> list[Endpoint]:
    """The actor's own endpoints, or (for staff) those of everybody's events; the newest first."""
    owner = None if everybody else actor.user_id
    with transaction(actor) as tx:
        rows = tx.execute(
            select(*_ENDPOINT, *_counts())
            .where(endpoints.c.user_id.is_not_distinct_from(owner))
            .order_by(endpoints.c.created_at.desc())
        ).all()
    return [_endpoint(row) for row in rows]


def change(
    actor: Actor,
    endpoint_id: UUID,
    *,
    url: str | None = None,
    kinds: frozenset[Kind] | None = None,
    active: bool | None = None,
) -> None:
    """Change what is given; turning one on again sends what has waited meanwhile.

    Raises NotFound, WrongAddress, PrivateAddress, WrongEndpoint.
    """
    values: dict[str, Any] = {}
    if url is not None:
        values["url"] = outgoing.checked(url, private=settings.get().forward_allow_private)
    if kinds is not None:
        if not kinds:
            raise WrongEndpoint
        values["kinds"] = sorted(kinds)
    if active is not None:
        values["active"] = active
    if values:
        with transaction(actor) as tx:
            _update(tx, endpoint_id, **values)
            # Not the address: a path may hold a token of the other system.
            audit.record(tx, actor, "endpoint.change", str(endpoint_id), changed=sorted(values))
            tx.execute(_RING)


def rotate(actor: Actor, endpoint_id: UUID) -> NewEndpoint:
    """Give the endpoint a new secret; for 24 hours the old one signs beside it. Raises NotFound."""
    secret = _new_secret()
    with transaction(actor) as tx:
        _update(tx, endpoint_id, secret=secret)
        audit.record(tx, actor, "endpoint.rotate", str(endpoint_id))
    return NewEndpoint(endpoint_id, secret)


def remove(actor: Actor, endpoint_id: UUID) -> None:
    """Forget the endpoint and what was to be told to it. Raises NotFound."""
    with transaction(actor) as tx:
        if not tx.execute(delete(endpoints).where(endpoints.c.id == endpoint_id)).rowcount:
            raise NotFound(f"endpoint {endpoint_id}")
        audit.record(tx, actor, "endpoint.remove", str(endpoint_id))


def test(actor: Actor, endpoint_id: UUID) -> None:
    """Have the worker post a `webhook.test` there now, also where nobody has answered lately. Raises NotFound."""
    with transaction(actor) as tx:
        _update(tx, endpoint_id, free_at=func.clock_timestamp())
        owner = tx.execute(select(endpoints.c.user_id).where(endpoints.c.id == endpoint_id)).scalar_one()
        tx.execute(insert(delivery_rows).values(endpoint_id=endpoint_id, user_id=owner, kind=TEST))


def deliveries(actor: Actor, endpoint_id: UUID, *, state: State | None = None, limit: int = 20) -> list[Delivery]:
    """The newest deliveries of an endpoint, of one state or of all; none where it is somebody else's."""
    chosen = select(*_DELIVERY).where(delivery_rows.c.endpoint_id == endpoint_id)
    if state is not None:
        chosen = chosen.where(delivery_rows.c.state == state)
    with transaction(actor) as tx:
        rows = tx.execute(chosen.order_by(delivery_rows.c.seq.desc()).limit(limit)).all()
    return [_delivery(row) for row in rows]


def replay(actor: Actor, delivery_id: UUID) -> None:
    """Begin a dead delivery's tries anew, under its old id. Raises NotFound where there is no such dead one."""
    if not _revive(actor, delivery_rows.c.id == delivery_id):
        raise NotFound(f"dead delivery {delivery_id}")


def replay_all(actor: Actor, endpoint_id: UUID) -> int:
    """Begin the tries of all dead deliveries of an endpoint anew; returns how many there were."""
    return _revive(actor, delivery_rows.c.endpoint_id == endpoint_id)


# --- what the worker does ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Claimed:
    """A delivery that one worker holds. `attempt` fences its outcome: a later claim makes this one's void."""

    id: UUID
    endpoint_id: UUID
    user_id: UUID | None
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    kind: str
    what: str | None
    message_id: UUID | None
    session_id: UUID | None
    created_at: datetime
    attempt: int


class Forwarder:
    """Delivers to all endpoints with up to 64 posts under way. Start more workers to go faster."""

    def __init__(self, on_free: Callable[[], None] = lambda: None, at_once: int = AT_ONCE) -> None:
        """`on_free` is called, in a poster's thread, whenever a post has ended: there may be room for more."""
        self._on_free = on_free
        self._at_once = at_once
        self._under_way: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="forward")
        self._watch = Watch("forward_outcomes")

    def step(self) -> bool:
        """Claim as much as there is room for and begin posting it; False where nothing was due.

        Waits for room where every poster is busy.
        """
        self._under_way = {future for future in self._under_way if not future.done()}
        room = self._at_once - len(self._under_way)
        if room == 0:
            wait(self._under_way, return_when=FIRST_COMPLETED)
            return True
        claimed = _claim(room)
        self._under_way |= {self._pool.submit(self._serve, one) for one in claimed}
        return bool(claimed)

    def idle_seconds(self) -> float | None:
        """Seconds until the next delivery is due, None while none waits."""
        with transaction(SYSTEM) as tx:
            seconds = tx.execute(_NEXT_DUE, {"each": AT_ONCE_PER_ENDPOINT}).scalar_one()
        return None if seconds is None else max(float(seconds), 0.0)

    def drain(self) -> None:
        """Take nothing new and wait for the posts under way."""
        self._pool.shutdown(wait=True)

    def _serve(self, claimed: _Claimed) -> None:
        answer = _post(claimed)
        status, failure = (answer.status, answer.failure) if answer else (None, None)
        # Neither the address nor what was told: the endpoint's id leads to both.
        log.info("forwarded", endpoint=str(claimed.endpoint_id), kind=claimed.kind, status=status, failure=failure)
        self._finish_for_sure(claimed, answer)
        self._on_free()

    def _finish_for_sure(self, claimed: _Claimed, answer: Answer | None) -> None:
        """A database that is away for a moment must not make us tell again what was heard."""
        pause = threading.Event()
        for attempt in range(FINISH_ATTEMPTS):
            try:
                _finish(claimed, answer)
                self._watch.worked()
                return
            except DatabaseUnavailable as error:
                self._watch.failed(error)
                pause.wait(min(0.1 * 2**attempt, 5.0))


def forget_old() -> None:
    """Drop what was delivered over 7 days ago, and what nobody has heard, nor asked to replay, for 30 days."""
    with transaction(SYSTEM) as tx:
        tx.execute(_FORGET, {"done": KEPT_DONE, "dead": KEPT_DEAD, "limit": FORGOTTEN_AT_ONCE})


def _claim(limit: int) -> list[_Claimed]:
    bounds = {"limit": limit, "each": AT_ONCE_PER_ENDPOINT, "lease": LEASE, "rotation": ROTATION}
    with transaction(SYSTEM) as tx:
        rows = tx.execute(_CLAIM, bounds).all()
    return [
        _Claimed(
            id=row.id,
            endpoint_id=row.endpoint_id,
            user_id=row.user_id,
            url=row.url,
            secrets=tuple(one for one in (row.secret, row.previous_secret) if one),
            kind=row.kind,
            what=row.what,
            message_id=row.message_id,
            session_id=row.session_id,
            created_at=row.created_at,
            attempt=row.attempts,
        )
        for row in rows
    ]


def _post(claimed: _Claimed) -> Answer | None:
    """None where what was to be told is gone."""
    told = _told(claimed)
    if told is None:
        return None
    payload = {"type": claimed.kind, "timestamp": claimed.created_at.astimezone(UTC).isoformat(), "data": told}
    body = json.dumps(payload, ensure_ascii=False, default=_plain)
    headers = {"Content-Type": "application/json", **_signed(claimed, body)}
    return outgoing.post(claimed.url, body.encode(), headers, private=settings.get().forward_allow_private)


def _signed(claimed: _Claimed, body: str) -> dict[str, str]:
    """The specification's headers: the same id at each try, the moment of this one, a signature for each secret."""
    name, moment = f"msg_{claimed.id.hex}", datetime.now(UTC)
    signatures = [Webhook(secret).sign(name, moment, body) for secret in claimed.secrets]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _told(claimed: _Claimed) -> Mapping[str, Any] | None:
    """What is told of the event, read as the endpoint's owner may see it: the database itself shows them no more."""
    if claimed.kind == TEST:
        return {"endpoint": str(claimed.endpoint_id)}
    reader = SYSTEM if claimed.user_id is None else person(claimed.user_id, Role.USER)
    table, wanted = (session_rows, claimed.session_id) if claimed.message_id is None else (messages, claimed.message_id)
    columns = (_OF_SESSION if table is session_rows else _OF_MESSAGE)[claimed.user_id is not None]
    with transaction(reader) as tx:
        row = tx.execute(select(*(table.c[name] for name in columns)).where(table.c.id == wanted)).one_or_none()
    if row is None:
        return None
    # It may have moved on since: what is told is the state that this event is about.
    came_to = "status" if table is session_rows else "state"
    return {**row._mapping, came_to: claimed.what}


def _finish(claimed: _Claimed, answer: Answer | None) -> None:
    with transaction(SYSTEM) as tx:
        if answer is None or answer.well:
            _settle(tx, claimed, answer, State.DONE)
            _answered(tx, claimed)
            return
        if claimed.attempt > len(RETRY_AFTER) or answer.status == GONE:
            _settle(tx, claimed, answer, State.DEAD)
        else:
            pause = RETRY_AFTER[claimed.attempt - 1] * random.uniform(*JITTER)
            _settle(tx, claimed, answer, State.WAITING, pause)
        _unanswered(tx, claimed, answer)


def _settle(
    tx: Connection, claimed: _Claimed, answer: Answer | None, state: State, pause: timedelta = timedelta()
) -> None:
    mine = (
        delivery_rows.c.id == claimed.id,
        delivery_rows.c.attempts == claimed.attempt,
        delivery_rows.c.state == State.SENDING,
    )
    tx.execute(
        update(delivery_rows)
        .where(*mine)
        .values(
            state=state,
            next_at=func.clock_timestamp() + pause,
            last_status=answer.status if answer else None,
            last_error=answer.failure if answer else "no_subject",
            done_at=func.clock_timestamp() if state is State.DONE else None,
            dead_at=func.clock_timestamp() if state is State.DEAD else None,
        )
    )


def _answered(tx: Connection, claimed: _Claimed) -> None:
    """Somebody is there: what waited for them goes at once."""
    ill = (endpoints.c.id == claimed.endpoint_id, endpoints.c.failures > 0)
    values = {"failures": 0, "failing_since": None, "free_at": func.clock_timestamp()}
    if tx.execute(update(endpoints).where(*ill).values(values)).rowcount:
        tx.execute(
            update(delivery_rows)
            .where(delivery_rows.c.endpoint_id == claimed.endpoint_id, delivery_rows.c.state == State.WAITING)
            .values(next_at=func.clock_timestamp())
        )


def _unanswered(tx: Connection, claimed: _Claimed, answer: Answer) -> None:
    mine = update(endpoints).where(endpoints.c.id == claimed.endpoint_id)
    if answer.status == GONE:
        tx.execute(mine.values(active=False, off_reason="gone"))
    elif answer.status is None or answer.status in AWAY:
        pauses = {"pauses": list(LEFT_ALONE), "most": len(LEFT_ALONE), "give_up": GIVEN_UP_AFTER}
        tx.execute(_LEFT_ALONE, {"id": claimed.endpoint_id, **pauses})


# --- rows -------------------------------------------------------------------------------------------------------------


def _owner(actor: Actor, *, everybody: bool) -> UUID | None:
    if actor.user_id is None or (everybody and actor.role is not Role.ADMIN):
        raise Forbidden("endpoints")
    return None if everybody else actor.user_id


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _update(tx: Connection, endpoint_id: UUID, **values: Any) -> None:
    if not tx.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(values)).rowcount:
        raise NotFound(f"endpoint {endpoint_id}")


def _revive(actor: Actor, which: Any) -> int:
    with transaction(actor) as tx:
        revived = tx.execute(
            update(delivery_rows)
            .where(which, delivery_rows.c.state == State.DEAD)
            .values(state=State.WAITING, attempts=0, next_at=func.clock_timestamp(), dead_at=None)
        )
        if revived.rowcount:
            audit.record(tx, actor, "endpoint.replay", None, deliveries=revived.rowcount)
    return int(revived.rowcount)


def _plain(value: object) -> str:
    """For JSON: moments in UTC, ids as text."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


# Column names, without (False) and with (True) what is the owner's alone: texts, names and numbers.
_MESSAGE = ("id", "user_id", "session_id", "direction", "state", "kind", "failure", "at", "created_at")
_OF_MESSAGE = {
    False: _MESSAGE,
    True: (*_MESSAGE, "phone", "address", "contact_id", "contact_name", "body", "mimetype", "filename",
           "detail", "wpp_id", "quoted_wpp_id", "idempotency_key", "sent_at", "delivered_at", "read_at"),
}  # fmt: skip
_SESSION = ("id", "user_id", "session_id", "status", "failure", "connected_at")
_OF_SESSION = {False: _SESSION, True: (*_SESSION, "phone_number")}

_ENDPOINT = tuple(
    endpoints.c[name]
    for name in ("id", "user_id", "url", "kinds", "active", "off_reason", "failing_since", "rotated_at", "created_at")
)
_DELIVERY = tuple(
    delivery_rows.c[name]
    for name in ("id", "endpoint_id", "kind", "what", "state", "attempts", "next_at", "last_status", "last_error",
                 "created_at", "done_at", "dead_at")
)  # fmt: skip


def _counts() -> tuple[Any, ...]:
    """Up to a thousand: more need not be told apart, nor counted."""

    def count(*states: State) -> Any:
        mine = select(delivery_rows.c.id).where(
            delivery_rows.c.endpoint_id == endpoints.c.id, delivery_rows.c.state.in_(states)
        )
        some = mine.correlate(endpoints).limit(1000).subquery()
        return select(func.count()).select_from(some).scalar_subquery()

    return count(State.WAITING, State.SENDING).label("waiting"), count(State.DEAD).label("dead")


def _endpoint(row: Record) -> Endpoint:
    return Endpoint(
        id=row.id,
        user_id=row.user_id,
        url=row.url,
        kinds=frozenset(map(Kind, row.kinds)),
        active=row.active,
        off_reason=row.off_reason,
        failing_since=row.failing_since,
        rotated_at=row.rotated_at,
        created_at=row.created_at,
        waiting=row.waiting,
        dead=row.dead,
    )


def _delivery(row: Record) -> Delivery:
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        kind=row.kind,
        what=row.what,
        state=State(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        status=row.last_status,
        error=row.last_error,
        created_at=row.created_at,
        done_at=row.done_at,
        dead_at=row.dead_at,
    )


_RING = text("select pg_notify('forward', '')")

# One that does not answer gets one post at a time.
_ROOM = """case when e.failures > 0 then 1 else :each end - (
           select count(*) from public.deliveries b
            where b.endpoint_id = e.id and b.state = 'sending' and b.next_at > clock_timestamp())"""
_SERVED = "e.active and not exists (select from public.accounts a where a.user_id = e.user_id and not a.active)"
# An endpoint is claimed from when it is free, has something due, and its owner may still sign in. The outer condition
# is asked again of rows that another worker has taken meanwhile.
_CLAIM = text(f"""
with able as (
  select e.id, {_ROOM} as room
    from public.endpoints e
   where {_SERVED} and e.free_at <= clock_timestamp()
     and exists (select from public.deliveries w where w.endpoint_id = e.id and w.state in ('waiting', 'sending')
                    and w.next_at <= clock_timestamp())
     for update of e skip locked
), due as (
  select d.id, row_number() over (partition by able.id order by d.next_at) as place
    from able cross join lateral (
      select w.id, w.next_at from public.deliveries w
       where w.endpoint_id = able.id and w.state in ('waiting', 'sending') and w.next_at <= clock_timestamp()
       order by w.next_at limit greatest(able.room, 0)) d
   order by place limit :limit
)
update public.deliveries d
   set state = 'sending', attempts = d.attempts + 1, next_at = clock_timestamp() + :lease, tried_at = clock_timestamp()
  from due, public.endpoints e
 where d.id = due.id and e.id = d.endpoint_id and d.state in ('waiting', 'sending') and d.next_at <= clock_timestamp()
returning d.id, d.endpoint_id, d.user_id, d.kind, d.what, d.message_id, d.session_id, d.created_at, d.attempts, e.url,
          e.secret, case when e.rotated_at > now() - :rotation then e.previous_secret end as previous_secret
""")

# Of the same endpoints: what may not be claimed must not keep a worker awake either.
_NEXT_DUE = text(f"""
select extract(epoch from min(greatest(e.free_at, d.next_at)) - clock_timestamp())
  from public.endpoints e cross join lateral (
    select w.next_at from public.deliveries w where w.endpoint_id = e.id and w.state in ('waiting', 'sending')
     order by w.next_at limit 1) d
 where {_SERVED} and {_ROOM} > 0
""")

_LEFT_ALONE = text("""
update public.endpoints set
    failures = failures + 1,
    failing_since = coalesce(failing_since, clock_timestamp()),
    free_at = clock_timestamp() + (cast(:pauses as interval[]))[least(failures + 1, :most)],
    active = active and coalesce(failing_since > clock_timestamp() - :give_up, true),
    off_reason = case when active and failing_since <= clock_timestamp() - :give_up then 'failing' else off_reason end
 where id = :id
""")

_FORGET = text("""
delete from public.deliveries where id = any(array(
  select id from public.deliveries
   where (state = 'done' and created_at < now() - :done) or created_at < now() - :dead limit :limit))
""")
