"""What a webhook did not say is asked of the server soon after: a file that did not come along, the phone of a `@lid`,
the name of a group.

The worker asks; a failure is asked again a few times, ever later, and then waits until somebody looks.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Table, case, func, select, update

from services import contacts, files, media, optouts
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.models import Record, events, messages, sessions
from services.db.models import contacts as contact_rows
from services.errors import ConfigurationError, ServiceError, WppError
from services.sessions import asked_if_disconnected
from services.wppconnect import events as webhook
from services.wppconnect.connection import client

log = structlog.get_logger(__name__)

AT_ONCE = 5
# After the first, second, … failure; then it is left.
AGAIN_AFTER = tuple(timedelta(seconds=seconds) for seconds in (20, 120, 900))
WORDS_LOOKED_AT = 20


def step() -> bool:
    """Ask for a few files, phones and names; False where nothing was due."""
    return fetch() + identify() > 0


def idle_seconds() -> float | None:
    """Seconds until something is due, or None."""
    due = (select(func.min(messages.c.fetch_at)), select(func.min(contact_rows.c.identify_at)))
    moment = func.least(*(one.scalar_subquery() for one in due))
    with transaction(SYSTEM) as tx:
        seconds = tx.execute(select(func.extract("epoch", moment - func.clock_timestamp()))).scalar_one()
    return None if seconds is None else max(float(seconds), 0.0)


# --- files ------------------------------------------------------------------------------------------------------------


def fetch(limit: int = AT_ONCE) -> int:
    """Fetch files that are due; returns how many were tried."""
    rows = _claim(messages, "fetch_at", "fetches", limit, messages.c.user_id, messages.c.wpp_id, messages.c.mimetype)
    for row in rows:
        try:
            kept = _from_event(row) or _from_server(row)
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


def _from_event(row: Record) -> media.Media | None:
    """The file that the receiver could not put aside, if it is in the event still: it is put aside now."""
    keys = [_event_key(row.session_name, kind, row.wpp_id) for kind in sorted(files.MESSAGE_EVENTS)]
    first = select(events.c.id, events.c.body).where(
        events.c.dedupe_key.in_(keys), events.c.verdict != "duplicate", func.octet_length(events.c.body) > 1
    )
    with transaction(SYSTEM) as tx:
        found = tx.execute(first).all()
    for event in found:
        body = event.body.encode(errors="surrogatepass")
        lighter = files.put_aside(row.session_name, body)
        reference = webhook.parse(files.parsed(lighter))
        if lighter is body or not isinstance(reference, webhook.InboundMessage) or reference.file is None:
            continue
        with transaction(SYSTEM) as tx:
            tx.execute(update(events).where(events.c.id == event.id).values(body=lighter.decode()))
        return media.get(SYSTEM, reference.file.sha256, row.user_id)
    return None


def _event_key(session: str, kind: str, wpp_id: str) -> UUID:
    key = webhook.dedupe_key(session, webhook.EventKey(kind, session, wpp_id))
    assert key is not None
    return UUID(bytes=key)


def _from_server(row: Record) -> media.Media:
    content, mimetype = client().get_media(row.server_url, row.session_name, row.wpp_id)
    return media.keep(SYSTEM, content, files.mimetype_of(mimetype or row.mimetype, content), row.user_id)


# --- who a @lid is, and what a group is called ------------------------------------------------------------------------


def identify(limit: int = AT_ONCE) -> int:
    """Ask for the phones of contacts that only a `@lid` is known of, and for the names of groups; returns how many were
    asked about."""
    rows = _claim(
        contact_rows, "identify_at", "identifications", limit,
        contact_rows.c.address, contact_rows.c.lid, contact_rows.c.user_id,
    )  # fmt: skip
    groups: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        if row.lid is None:
            groups[row.session_id].append(row)
        else:
            _identify_one(row)
    for of_session in groups.values():
        _name_groups(of_session)
    return len(rows)


def _name_groups(rows: Sequence[Record]) -> None:
    """The groups of one session by its list of chats, which is the only answer that holds their names."""
    try:
        with asked_if_disconnected(SYSTEM, rows[0].session_name):
            chats = client().list_chats(rows[0].server_url, rows[0].session_name)
    except (WppError, ConfigurationError) as error:
        log.info("groups_not_named", groups=len(rows), error=type(error).__name__)
        return
    names = {chat.id: chat.name for chat in chats if chat.name and chat.name != chat.id}
    with transaction(SYSTEM) as tx:
        for row in rows:
            if row.address in names:
                named = update(contact_rows).where(contact_rows.c.id == row.id)
                tx.execute(named.values(pushname=names[row.address], identify_at=None, updated_at=func.now()))


def _identify_one(row: Record) -> None:
    try:
        with asked_if_disconnected(SYSTEM, row.session_name):
            found = client().identify(row.server_url, row.session_name, row.lid)
    except (WppError, ConfigurationError) as error:
        log.info("lid_not_identified", contact=str(row.id), error=type(error).__name__)
        return
    if found.phone is not None:
        _identified(row, found.phone)


def _identified(row: Record, phone: str) -> None:
    """One person from now on; what they had asked for under the other address counts too."""
    said = (
        select(messages.c.body)
        .where(messages.c.contact_id == row.id, messages.c.direction == "in", messages.c.kind == "chat")
        .order_by(messages.c.at.desc())
        .limit(WORDS_LOOKED_AT)
    )
    with transaction(SYSTEM) as tx:
        word = next((word for body in tx.execute(said).scalars() if (word := optouts.is_word(body))), None)
        contact_id = contacts.identify(tx, row.session_id, row.lid, phone)
        if contact_id is None:
            return
        known = update(contact_rows).where(contact_rows.c.id == contact_id).values(identify_at=None)
        number = tx.execute(known.returning(contact_rows.c.phone)).scalar_one()
        if word is not None and number is not None:
            optouts.note(tx, row.user_id, number, word)


# --- rows -------------------------------------------------------------------------------------------------------------


def _claim(table: Table, due: str, tries: str, limit: int, *columns: Any) -> list[Record]:
    """Rows that are due, each with its next turn noted before anything is asked: a crash costs one try."""
    when, tried = table.c[due], table.c[tries]
    held = (
        select(table.c.id).where(when <= func.now()).order_by(when).limit(limit).with_for_update(skip_locked=True)
    ).cte("held")
    later = case({number: func.now() + after for number, after in enumerate(AGAIN_AFTER)}, value=tried, else_=None)
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
