"""Asks the server for what a webhook did not say: a missing file, the phone of a `@lid`, the name of a group.

The worker asks. A failed question is asked again a few times, each time later, and then dropped.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Table, case, func, select, update

from services.contacts import contacts
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.base import Record
from services.db.tables.contacts import contacts as contact_rows
from services.db.tables.fleet import sessions
from services.db.tables.inbound import events
from services.db.tables.messaging import messages
from services.errors import ConfigurationError, ServiceError
from services.fleet.checks import check_if_disconnected
from services.inbound import inline_files
from services.inbound.event_processing import LOCK_SESSIONS
from services.platform import media_store
from services.platform.worker_loop import get_seconds_until
from services.wppconnect import event_parsing
from services.wppconnect.errors import WppError
from services.wppconnect.events import InboundMessage
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)

BATCH_SIZE = 5
# After the first, second, … failure; then it is left.
RETRY_AFTER = tuple(timedelta(seconds=seconds) for seconds in (20, 120, 900))


def step() -> bool:
    """Ask for a few files, phones and names; False where nothing was due."""
    return fetch_files() + identify_contacts() > 0


def next_due_in() -> float | None:
    """Seconds until something is due, or None."""
    due = (select(func.min(messages.c.fetch_at)), select(func.min(contact_rows.c.identify_at)))
    return get_seconds_until(func.least(*(one.scalar_subquery() for one in due)))


# --- files ------------------------------------------------------------------------------------------------------------


def fetch_files(limit: int = BATCH_SIZE) -> int:
    """Fetch files that are due; returns how many were tried."""
    rows = _claim_due(
        messages, "fetch_at", "fetches", limit,
        messages.c.user_id, messages.c.wpp_id, messages.c.mimetype, messages.c.file_event_id,
    )  # fmt: skip
    for row in rows:
        try:
            kept = _file_from_event(row) or _file_from_server(row)
        except (ServiceError, ConfigurationError) as error:
            log.info("file_not_fetched", message=str(row.id), error=type(error).__name__)
            continue
        with transaction(SYSTEM) as tx:
            tx.execute(
                update(messages)
                .where(messages.c.id == row.id, messages.c.media_sha256.is_(None))
                .values(media_sha256=kept.sha256, mimetype=kept.mimetype, fetch_at=None, updated_at=func.now())
            )
    return len(rows)


def _file_from_event(row: Record) -> media_store.Media | None:
    """The file that the receiver could not put aside, if it is in the event still: it is put aside now."""
    if row.file_event_id is None:
        return None
    with transaction(SYSTEM) as tx:
        stored = tx.execute(select(events.c.body).where(events.c.id == row.file_event_id)).scalar_one_or_none()
    if not stored:
        return None
    body = stored.encode(errors="surrogatepass")
    lighter = inline_files.extract_file(row.session_name, body)
    reference = event_parsing.parse_event(inline_files.parse_body(lighter))
    if lighter is body or not isinstance(reference, InboundMessage) or reference.file is None:
        return None
    with transaction(SYSTEM) as tx:
        tx.execute(update(events).where(events.c.id == row.file_event_id).values(body=lighter.decode()))
    return media_store.get(SYSTEM, reference.file.sha256, row.user_id)


def _file_from_server(row: Record) -> media_store.Media:
    content, mimetype = get_client().get_media(row.server_url, row.session_name, row.wpp_id)
    return media_store.save(
        SYSTEM, content, inline_files.detect_mimetype(mimetype or row.mimetype, content), row.user_id
    )


# --- who a @lid is, and what a group is called ------------------------------------------------------------------------


def identify_contacts(limit: int = BATCH_SIZE) -> int:
    """Ask for the phones of contacts that only a `@lid` is known of, and for the names of groups; returns how many were
    asked about."""
    rows = _claim_due(
        contact_rows, "identify_at", "identifications", limit,
        contact_rows.c.address, contact_rows.c.lid, contact_rows.c.user_id,
    )  # fmt: skip
    groups: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        if row.lid is None:
            groups[row.session_id].append(row)
        else:
            _identify_contact(row)
    for of_session in groups.values():
        _name_groups(of_session)
    return len(rows)


def _name_groups(rows: Sequence[Record]) -> None:
    """The groups of one session by its list of chats, which is the only answer that holds their names."""
    try:
        with check_if_disconnected(SYSTEM, rows[0].session_name):
            chats = get_client().list_chats(rows[0].server_url, rows[0].session_name)
    except (WppError, ConfigurationError) as error:
        log.info("groups_not_named", groups=len(rows), error=type(error).__name__)
        return
    names = {chat.id: chat.name for chat in chats if chat.name and chat.name != chat.id}
    with transaction(SYSTEM) as tx:
        for row in rows:
            if row.address in names:
                named = update(contact_rows).where(contact_rows.c.id == row.id)
                tx.execute(named.values(pushname=names[row.address], identify_at=None, updated_at=func.now()))


def _identify_contact(row: Record) -> None:
    try:
        with check_if_disconnected(SYSTEM, row.session_name):
            found = get_client().identify(row.server_url, row.session_name, row.lid)
    except (WppError, ConfigurationError) as error:
        log.info("lid_not_identified", contact=str(row.id), error=type(error).__name__)
        return
    if found.phone is not None:
        _store_phone(row, found.phone)


def _store_phone(row: Record, phone: str) -> None:
    """One person from now on, under the lock that everything has which makes one contact of two."""
    with transaction(SYSTEM) as tx:
        tx.execute(LOCK_SESSIONS, {"names": [row.session_name]})
        contacts.link_lid_to_phone(tx, row.session_id, row.lid, phone, datetime.now(UTC))


# --- rows -------------------------------------------------------------------------------------------------------------


def _claim_due(table: Table, due: str, tries: str, limit: int, *columns: Any) -> list[Record]:
    """Rows that are due, each with its next turn noted before anything is asked: a crash costs one try."""
    when, tried = table.c[due], table.c[tries]
    held = (
        select(table.c.id).where(when <= func.now()).order_by(when).limit(limit).with_for_update(skip_locked=True)
    ).cte("held")
    later = case({number: func.now() + after for number, after in enumerate(RETRY_AFTER)}, value=tried, else_=None)
    with transaction(SYSTEM) as tx:
        return list(
            tx.execute(
                update(table)
                .where(table.c.id == held.c.id, sessions.c.id == table.c.session_id)
                .values({due: later, tries: tried + 1})
                .returning(
                    table.c.id,
                    table.c.session_id,
                    *columns,
                    sessions.c.session_id.label("session_name"),
                    sessions.c.server_url,
                )
            )
        )
