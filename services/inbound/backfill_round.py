"""One round of reading back an outage: which chats changed since it began, then each chat page by page.

The list of chats is kept in a table, so another worker can continue if this one dies. Each chat is read from its newest
message back to the beginning of the outage. `ingest.ingest_message` knows which messages are there already. Missed
acknowledgements only move messages forward. Files are fetched later, as always.

Few rounds at once ask one server. A session whose events still wait to be processed is not read: what is only late is
not missing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.inbound import outage_chats
from services.db.tables.inbound import outages as outage_rows
from services.errors import ConfigurationError, InvalidInput
from services.fleet.checks import check_if_disconnected
from services.inbound import automations, effects, event_processing, ingest
from services.inbound.outages import LOOKBACK, OutageState
from services.messaging import acknowledgements
from services.wppconnect.errors import WppChatNotFound, WppDisconnected, WppError
from services.wppconnect.events import Annotation, InboundMessage
from services.wppconnect.phone import ChatKind, get_chat_kind
from services.wppconnect.shared import get_client

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
# Sessions of one server that are read at the same time: people pair and send there meanwhile.
MAX_PER_SERVER = 3
PAGE_SIZE = 50
# 1,000 messages of one chat, and so many chats of one outage; what lies beyond is said to.
MAX_PAGES = 20
MAX_CHATS = 500
# Longer than one call and one commit may take; each page renews it.
LEASE = timedelta(seconds=60)
# How long after each failed round the next one follows; after the last it is given up.
RETRY_AFTER = tuple(timedelta(seconds=seconds) for seconds in (15, 60, 300, 1800, 7200, 21_600))
# So many chats in a row that cannot be read: it is the server, not the chats.
MAX_FAILURES_IN_A_ROW = 3
# WhatsApp tells whole seconds, and its clock is not ours.
CLOCK_MARGIN = timedelta(minutes=2)
# WhatsApp's own account, which is nobody's conversation.
WHATSAPP_ACCOUNT = "0@c.us"


@dataclass(frozen=True)
class ClaimedOutage:
    """An outage that one worker holds. `attempt` fences what it writes: a later claim makes this one's void."""

    id: UUID
    session_id: UUID
    user_id: UUID
    session_name: str
    server_url: str
    since: datetime
    until: datetime
    listed: bool
    attempt: int


class ClaimLost(Exception):
    """Another worker reads this outage now."""


def claim_outages(limit: int) -> list[ClaimedOutage]:
    """Leases up to `limit` outages that are due, each for one round of reading."""
    bounds = {"limit": limit, "each": MAX_PER_SERVER, "lease": LEASE}
    with transaction(SYSTEM) as tx:
        rows = tx.execute(_CLAIM_OUTAGES, bounds).all()
    return [
        read_row(
            ClaimedOutage,
            row,
            since=max(row.from_at, row.to_at - LOOKBACK) - CLOCK_MARGIN,
            until=row.to_at + CLOCK_MARGIN,
        )
        for row in rows
    ]


def read_outage(outage: ClaimedOutage) -> None:
    """Reads the chats of a claimed outage in one round and stores the result; errors of the server end the round early.

    Raises: ClaimLost where another worker holds the outage now.
    """
    trouble: str | None = None
    in_a_row = 0
    try:
        if not outage.listed:
            _list_chats(outage)
        for address in _chats_to_read(outage):
            trouble = _read_chat(outage, address)
            in_a_row = in_a_row + 1 if trouble else 0
            if in_a_row == MAX_FAILURES_IN_A_ROW:
                break
    except (WppError, ConfigurationError) as error:
        trouble = error.code
    end_round(outage, trouble)


def _list_chats(outage: ClaimedOutage) -> None:
    """Put down which chats have moved since the outage began; what is unread is there already."""
    with check_if_disconnected(SYSTEM, outage.session_name):
        listed = get_client().list_chats(outage.server_url, outage.session_name)
    found = [one for one in listed if one.id != WHATSAPP_ACCOUNT and get_chat_kind(one.id) is not ChatKind.STATUS]
    unread = _read_unread(outage)
    since = outage.since.timestamp()
    moved = sorted(
        (one for one in found if one.timestamp is None or one.timestamp >= since), key=lambda one: -(one.timestamp or 0)
    )
    rows = [
        {"outage_id": outage.id, "user_id": outage.user_id, "address": one.id,
        "state": "waiting" if place < MAX_CHATS else "failed",
         "failure": None if place < MAX_CHATS else "too_many"}
        for place, one in enumerate(moved)
    ]  # fmt: skip
    with _hold_claim(outage) as tx:
        if rows:
            tx.execute(upsert(outage_chats).on_conflict_do_nothing(), rows)
        tx.execute(
            update(outage_rows).where(outage_rows.c.id == outage.id).values(listed_at=func.now(), chats=len(rows))
        )
        _ingest_page(tx, outage, unread)


def _read_unread(outage: ClaimedOutage) -> Sequence[InboundMessage | Annotation]:
    """A short cut: the chats themselves are read anyway, so a server that does not answer this one takes nothing."""
    try:
        with check_if_disconnected(SYSTEM, outage.session_name):
            return get_client().read_unread(outage.server_url, outage.session_name)
    except WppError as error:
        log.info("unread_not_read", error=error.code)
        return ()


def _chats_to_read(outage: ClaimedOutage) -> list[str]:
    with transaction(SYSTEM) as tx:
        waiting = select(outage_chats.c.address).where(
            outage_chats.c.outage_id == outage.id, outage_chats.c.state == "waiting"
        )
        return list(tx.execute(waiting.order_by(outage_chats.c.address)).scalars())


def _read_chat(outage: ClaimedOutage, address: str) -> str | None:
    """Read one chat back to the outage's beginning; why not, where it could not be read this time."""
    before: str | None = None
    called = address
    why: str | None = "too_deep"
    for _page in range(MAX_PAGES):
        try:
            with check_if_disconnected(SYSTEM, outage.session_name):
                page = get_client().read_chat(outage.server_url, outage.session_name, called, PAGE_SIZE, before)
        except WppDisconnected:
            raise
        except WppChatNotFound as error:
            # Under none of its names: no later round finds it.
            why = error.code
            break
        except WppError as error:
            return _record_failure(outage, address, error.code)
        except InvalidInput:
            why = "unknown_kind"
            break
        called = page.chat
        with _hold_claim(outage) as tx:
            ingest.link_addresses(tx, outage.session_id, address, called)
            recovered = _ingest_page(tx, outage, page.entries)
            tx.execute(
                update(outage_chats)
                .where(outage_chats.c.outage_id == outage.id, outage_chats.c.address == address)
                .values(recovered=outage_chats.c.recovered + recovered)
            )
        # Notices count too: a busy group has pages of nothing else.
        if page.oldest_id in (None, before) or (page.oldest_at or 0) < outage.since.timestamp():
            why = None
            break
        before = page.oldest_id
    with _hold_claim(outage) as tx:
        state = "done" if why is None else "failed"
        mine = (outage_chats.c.outage_id == outage.id, outage_chats.c.address == address)
        tx.execute(update(outage_chats).where(*mine).values(state=state, failure=why))
    return None


def _record_failure(outage: ClaimedOutage, address: str, why: str) -> str:
    with _hold_claim(outage) as tx:
        mine = (outage_chats.c.outage_id == outage.id, outage_chats.c.address == address)
        tx.execute(update(outage_chats).where(*mine).values(failure=why))
    return why


def _ingest_page(tx: Connection, outage: ClaimedOutage, found: Sequence[InboundMessage | Annotation]) -> int:
    """Take in what was said during the outage; returns how much of it was missing."""
    now, missing = datetime.now(UTC), 0
    tx.execute(event_processing.LOCK_SESSIONS, {"names": [outage.session_name]})
    active = automations.list_active_rules(tx, outage.user_id)
    for one in found:
        if isinstance(one, Annotation):
            if (changed := ingest.ingest_annotation(tx, outage.session_id, one, now)) is not None:
                effects.apply_effects(tx, changed, active, now)
            continue
        if one.timestamp is None or not outage.since.timestamp() <= one.timestamp <= outage.until.timestamp():
            continue
        taken = ingest.ingest_message(tx, outage.session_id, one, now, recovered=True)
        if taken is not None:
            missing += taken.news is not ingest.News.EDITED
            effects.apply_effects(tx, taken, active, now)
        if one.from_me and one.ack:
            acknowledgements.acknowledge(tx, outage.session_id, one.id, one.ack, now)
    tx.execute(
        update(outage_rows).where(outage_rows.c.id == outage.id).values(recovered=outage_rows.c.recovered + missing)
    )
    return missing


def end_round(outage: ClaimedOutage, trouble: str | None) -> None:
    """Done where every chat was read; else once more later, until it is given up."""
    last = outage.attempt > len(RETRY_AFTER)
    with _hold_claim(outage) as tx:
        chats = outage_chats.c.outage_id == outage.id
        if last:
            unread = update(outage_chats).where(chats, outage_chats.c.state == "waiting")
            tx.execute(unread.values(state="failed", failure=func.coalesce(outage_chats.c.failure, trouble)))
        count = select(
            func.count().filter(outage_chats.c.state == "waiting"),
            func.count().filter(outage_chats.c.state == "failed"),
        )
        waiting, failed = tx.execute(count.where(chats)).one()
        listed = tx.execute(
            select(outage_rows.c.listed_at.is_not(None)).where(outage_rows.c.id == outage.id)
        ).scalar_one()
        values: dict[str, object] = {"failed": failed, "failure": trouble}
        if listed and not waiting:
            values |= {"state": OutageState.DONE, "done_at": func.now()}
        elif last:
            values |= {"state": OutageState.FAILED, "done_at": func.now()}
        else:
            values |= {
                "state": OutageState.WAITING,
                "next_at": func.clock_timestamp() + RETRY_AFTER[outage.attempt - 1],
            }
        tx.execute(update(outage_rows).where(outage_rows.c.id == outage.id).values(values))
    log.info("outage_read", state=values.get("state"), failed=failed, trouble=trouble)


@contextmanager
def _hold_claim(outage: ClaimedOutage) -> Iterator[Connection]:
    """A transaction that renews the lease and is void once another worker has claimed the outage.

    Raises: ClaimLost.
    """
    with transaction(SYSTEM) as tx:
        mine = (
            outage_rows.c.id == outage.id,
            outage_rows.c.attempts == outage.attempt,
            outage_rows.c.state == OutageState.READING,
        )
        if not tx.execute(update(outage_rows).where(*mine).values(next_at=func.clock_timestamp() + LEASE)).rowcount:
            raise ClaimLost
        yield tx


_CLAIM_OUTAGES = _QUERIES["claim_outages"]
