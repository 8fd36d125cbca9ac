"""Reads back what came in during a gap: each missing message once, and said of the rest why it stayed away.

A gap is read chat by chat: which chats have moved since it began (kept in the table, so that whoever dies in between
is followed by one who goes on), then each from its newest message back to the gap's beginning. What is found is handed
to `conversations.take_in`, which knows what is there already; acknowledgements that were missed stand beside one's own
messages and only ever move them forward. Files are fetched later, as always.

A server is asked by few at once, and nothing is asked for a session while events of it still wait in the inbox: what is
only late is not missing.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services import conversations, inbox, messages, rules
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import contacts, gap_chats, gaps
from services.errors import (
    N_,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    InvalidInput,
    NotFound,
    WppChatNotFound,
    WppDisconnected,
    WppError,
)
from services.gaps import LOOKBACK, Reason, State
from services.sessions import asked_if_disconnected
from services.wppconnect.connection import client
from services.wppconnect.events import InboundMessage, Mark
from services.wppconnect.phone import ChatKind, chat_kind

log = structlog.get_logger(__name__)

AT_ONCE = 16
# Sessions of one server that are read at the same time: people pair and send there meanwhile.
AT_ONCE_PER_SERVER = 3
PAGE = 50
# 1,000 messages of one chat, and so many chats of one gap; what lies beyond is said to.
PAGES = 20
CHATS = 500
# Longer than one call and one commit may take; each page renews it.
LEASE = timedelta(seconds=60)
# How long after each failed round the next one follows; after the last it is given up.
RETRY_AFTER = tuple(timedelta(seconds=seconds) for seconds in (15, 60, 300, 1800, 7200, 21_600))
# So many chats in a row that cannot be read: it is the server, not the chats.
TROUBLE = 3
# WhatsApp tells whole seconds, and its clock is not ours.
MARGIN = timedelta(minutes=2)
ASKED_AT_ONCE = 5
# WhatsApp's own account, which is nobody's conversation.
WHATSAPP_ITSELF = "0@c.us"


class BackfillUnderWay(Conflict):
    code = "releitura_em_andamento"
    message = N_("Ainda estamos lendo as conversas que você pediu.")
    hint = N_("Espere elas terminarem; o andamento aparece em “Lacunas”.")


@dataclass(frozen=True)
class _Claimed:
    """A gap that one worker holds. `attempt` fences what it writes: a later claim makes this one's void."""

    id: UUID
    session_id: UUID
    user_id: UUID
    session_name: str
    server_url: str
    since: datetime
    until: datetime
    listed: bool
    attempt: int


class _Superseded(Exception):
    """Another worker reads this gap now."""


def chat(actor: Actor, contact_id: UUID) -> UUID:
    """Have one chat of the actor's own read again, the last 30 days or 1,000 messages; returns the gap's id.

    Raises NotFound for somebody else's contact, and BackfillUnderWay where too much was asked for already.
    """
    with transaction(actor) as tx:
        mine = select(contacts.c.session_id, contacts.c.address)
        found = tx.execute(mine.where(contacts.c.id == contact_id, contacts.c.user_id == actor.user_id)).one_or_none()
        if found is None:
            raise NotFound(f"contact {contact_id}")
        waiting = select(func.count()).where(
            gaps.c.session_id == found.session_id, gaps.c.reason == Reason.ASKED, gaps.c.done_at.is_(None)
        )
        if tx.execute(waiting).scalar_one() >= ASKED_AT_ONCE:
            raise BackfillUnderWay
        asked = insert(gaps).values(
            session_id=found.session_id,
            user_id=actor.user_id,
            from_at=func.now() - LOOKBACK,
            to_at=func.now(),
            reason=Reason.ASKED,
            listed_at=func.now(),
            chats=1,
        )
        gap_id: UUID = tx.execute(asked.returning(gaps.c.id)).scalar_one()
        tx.execute(insert(gap_chats).values(gap_id=gap_id, address=found.address, user_id=actor.user_id))
    return gap_id


# --- the worker's rounds ----------------------------------------------------------------------------------------------


class Reader:
    """Reads gaps back, up to 16 at once, few of each server. Start more workers to go faster."""

    def __init__(self, on_free: Callable[[], None] = lambda: None) -> None:
        """`on_free` is called, in a reader's thread, whenever a gap's round has ended."""
        self._on_free = on_free
        self._under_way: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backfill")

    def step(self) -> bool:
        """Claim as many gaps as there is room for and begin reading; False where none was due."""
        self._under_way = {future for future in self._under_way if not future.done()}
        room = AT_ONCE - len(self._under_way)
        if room == 0:
            wait(self._under_way, return_when=FIRST_COMPLETED)
            return True
        claimed = _claim(room)
        self._under_way |= {self._pool.submit(self._serve, one) for one in claimed}
        return bool(claimed)

    def drain(self) -> None:
        """Take nothing new and wait for what is under way."""
        self._pool.shutdown(wait=True)

    def _serve(self, gap: _Claimed) -> None:
        with structlog.contextvars.bound_contextvars(gap=str(gap.id), session=gap.session_name):
            try:
                _read(gap)
            except _Superseded:
                log.info("gap_taken_over")
            except DatabaseUnavailable:
                # What was read is committed; the rest waits for the lease's end.
                log.warning("gap_interrupted")
            # The outermost loop of one gap: whatever is wrong with it must not end in silence.
            except Exception as error:
                log.exception("gap_failed", error=type(error).__name__)
                _end_round(gap, "internal")
        self._on_free()


def _claim(limit: int) -> list[_Claimed]:
    bounds = {"limit": limit, "each": AT_ONCE_PER_SERVER, "lease": LEASE}
    with transaction(SYSTEM) as tx:
        rows = tx.execute(_CLAIM, bounds).all()
    return [
        _Claimed(
            id=row.id,
            session_id=row.session_id,
            user_id=row.user_id,
            session_name=row.session_name,
            server_url=row.server_url,
            since=max(row.from_at, row.to_at - LOOKBACK) - MARGIN,
            until=row.to_at + MARGIN,
            listed=row.listed_at is not None,
            attempt=row.attempts,
        )
        for row in rows
    ]


def _read(gap: _Claimed) -> None:
    trouble: str | None = None
    in_a_row = 0
    try:
        if not gap.listed:
            _list(gap)
        for address in _chats_to_read(gap):
            trouble = _read_chat(gap, address)
            in_a_row = in_a_row + 1 if trouble else 0
            if in_a_row == TROUBLE:
                break
    except (WppError, ConfigurationError) as error:
        trouble = error.code
    _end_round(gap, trouble)


def _list(gap: _Claimed) -> None:
    """Put down which chats have moved since the gap began; what is unread is there already."""
    with asked_if_disconnected(SYSTEM, gap.session_name):
        listed = client().list_chats(gap.server_url, gap.session_name)
    found = [one for one in listed if one.id != WHATSAPP_ITSELF and chat_kind(one.id) is not ChatKind.STATUS]
    unread = _unread(gap)
    since = gap.since.timestamp()
    moved = sorted(
        (one for one in found if one.timestamp is None or one.timestamp >= since), key=lambda one: -(one.timestamp or 0)
    )
    rows = [
        {"gap_id": gap.id, "user_id": gap.user_id, "address": one.id, "state": "waiting" if place < CHATS else "failed",
         "why": None if place < CHATS else "too_many"}
        for place, one in enumerate(moved)
    ]  # fmt: skip
    with _held(gap) as tx:
        if rows:
            tx.execute(upsert(gap_chats).on_conflict_do_nothing(), rows)
        tx.execute(update(gaps).where(gaps.c.id == gap.id).values(listed_at=func.now(), chats=len(rows)))
        _take(tx, gap, unread)


def _unread(gap: _Claimed) -> Sequence[InboundMessage | Mark]:
    """A short cut: the chats themselves are read anyway, so a server that does not answer this one takes nothing."""
    try:
        with asked_if_disconnected(SYSTEM, gap.session_name):
            return client().read_unread(gap.server_url, gap.session_name)
    except WppError as error:
        log.info("unread_not_read", error=error.code)
        return ()


def _chats_to_read(gap: _Claimed) -> list[str]:
    with transaction(SYSTEM) as tx:
        waiting = select(gap_chats.c.address).where(gap_chats.c.gap_id == gap.id, gap_chats.c.state == "waiting")
        return list(tx.execute(waiting.order_by(gap_chats.c.address)).scalars())


def _read_chat(gap: _Claimed, address: str) -> str | None:
    """Read one chat back to the gap's beginning; why not, where it could not be read this time."""
    before: str | None = None
    called = address
    why: str | None = "too_deep"
    for _page in range(PAGES):
        try:
            with asked_if_disconnected(SYSTEM, gap.session_name):
                page = client().read_chat(gap.server_url, gap.session_name, called, PAGE, before)
        except WppDisconnected:
            raise
        except WppChatNotFound as error:
            # Under none of its names: no later round finds it.
            why = error.code
            break
        except WppError as error:
            return _not_read(gap, address, error.code)
        except InvalidInput:
            why = "unknown_kind"
            break
        called = page.chat
        with _held(gap) as tx:
            conversations.same_person(tx, gap.session_id, address, called)
            recovered = _take(tx, gap, page.entries)
            tx.execute(
                update(gap_chats)
                .where(gap_chats.c.gap_id == gap.id, gap_chats.c.address == address)
                .values(recovered=gap_chats.c.recovered + recovered)
            )
        # Notices count too: a busy group has pages of nothing else.
        if page.oldest_id in (None, before) or (page.oldest_at or 0) < gap.since.timestamp():
            why = None
            break
        before = page.oldest_id
    with _held(gap) as tx:
        state = "done" if why is None else "failed"
        mine = (gap_chats.c.gap_id == gap.id, gap_chats.c.address == address)
        tx.execute(update(gap_chats).where(*mine).values(state=state, why=why))
    return None


def _not_read(gap: _Claimed, address: str, why: str) -> str:
    with _held(gap) as tx:
        mine = (gap_chats.c.gap_id == gap.id, gap_chats.c.address == address)
        tx.execute(update(gap_chats).where(*mine).values(why=why))
    return why


def _take(tx: Connection, gap: _Claimed, found: Sequence[InboundMessage | Mark]) -> int:
    """Take in what was said during the gap; returns how much of it was missing."""
    now, missing = datetime.now(UTC), 0
    tx.execute(inbox.TURNS, {"names": [gap.session_name]})
    active = rules.active_of(tx, gap.user_id)
    for one in found:
        if isinstance(one, Mark):
            conversations.mark(tx, gap.session_id, one, now)
            continue
        if one.timestamp is None or not gap.since.timestamp() <= one.timestamp <= gap.until.timestamp():
            continue
        taken = conversations.take_in(tx, gap.session_id, one, now, recovered=True)
        if taken is not None:
            missing += 1
            rules.apply(tx, taken, active, now)
        elif one.from_me and one.ack:
            messages.acknowledge(tx, gap.session_id, one.id, one.ack, now)
    tx.execute(update(gaps).where(gaps.c.id == gap.id).values(recovered=gaps.c.recovered + missing))
    return missing


def _end_round(gap: _Claimed, trouble: str | None) -> None:
    """Done where every chat was read; else once more later, until it is given up."""
    last = gap.attempt > len(RETRY_AFTER)
    with _held(gap) as tx:
        chats = gap_chats.c.gap_id == gap.id
        if last:
            unread = update(gap_chats).where(chats, gap_chats.c.state == "waiting")
            tx.execute(unread.values(state="failed", why=func.coalesce(gap_chats.c.why, trouble)))
        count = select(
            func.count().filter(gap_chats.c.state == "waiting"), func.count().filter(gap_chats.c.state == "failed")
        )
        waiting, failed = tx.execute(count.where(chats)).one()
        listed = tx.execute(select(gaps.c.listed_at.is_not(None)).where(gaps.c.id == gap.id)).scalar_one()
        values: dict[str, object] = {"failed": failed, "why": trouble}
        if listed and not waiting:
            values |= {"state": State.DONE, "done_at": func.now()}
        elif last:
            values |= {"state": State.FAILED, "done_at": func.now()}
        else:
            values |= {"state": State.WAITING, "next_at": func.clock_timestamp() + RETRY_AFTER[gap.attempt - 1]}
        tx.execute(update(gaps).where(gaps.c.id == gap.id).values(values))
    log.info("gap_read", state=values.get("state"), failed=failed, trouble=trouble)


@contextmanager
def _held(gap: _Claimed) -> Iterator[Connection]:
    """A transaction that renews the lease and is void once another worker has claimed the gap. Raises _Superseded."""
    with transaction(SYSTEM) as tx:
        mine = (gaps.c.id == gap.id, gaps.c.attempts == gap.attempt, gaps.c.state == State.READING)
        if not tx.execute(update(gaps).where(*mine).values(next_at=func.clock_timestamp() + LEASE)).rowcount:
            raise _Superseded
        yield tx


# Whoever waits for a session to come back, or for the inbox to be read, is not due. The outer condition is asked again
# of rows that another worker has taken meanwhile.
_CLAIM = text("""
with running as (
  select s.server_url, count(*) as number from public.gaps g join public.whatsapp_sessions s on s.id = g.session_id
   where g.state = 'reading' and g.next_at > clock_timestamp() group by 1
), ready as (
  select g.id, s.session_id as session_name, s.server_url,
         row_number() over (partition by s.server_url order by g.next_at) as place
    from public.gaps g join public.whatsapp_sessions s on s.id = g.session_id
   where g.state in ('waiting', 'reading') and g.next_at <= clock_timestamp()
     and s.status = 'conectado' and s.server_url is not null
     and not exists (select from public.events e where e.session = s.session_id and e.verdict = 'received')
), chosen as (
  select r.* from ready r left join running u using (server_url)
   where r.place + coalesce(u.number, 0) <= :each order by r.place limit :limit
)
update public.gaps g
   set state = 'reading', attempts = g.attempts + 1, next_at = clock_timestamp() + :lease
  from chosen c
 where g.id = c.id and g.state in ('waiting', 'reading') and g.next_at <= clock_timestamp()
returning g.id, g.session_id, g.user_id, g.from_at, g.to_at, g.listed_at, g.attempts, c.session_name, c.server_url
""")
