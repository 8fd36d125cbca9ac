"""The hash chain of the audit log: each record's hash covers the record and the hash before it.

The trigger app.chain_audit makes the hashes. Here they are computed again in the database, but not with its own
function: who can change records can change that function too. The owner of the database can rebuild the whole chain; a
head that was written down elsewhere (`manage.py audit-verify`) is then no longer in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from sqlalchemy import func, select, text

from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.accounts import directory
from services.db.tables.base import Record
from services.db.tables.security import audit_head, audit_log
from services.errors import InvalidInput
from services.security import audit_log as audit

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)

# The first record follows this.
GENESIS = b"\x00" * 32
BATCH_SIZE = 10_000
VERIFY_ACTION = "audit.verify"

# What is wrong with a record.
Fault = Literal["missing", "unlinked", "changed", "foreign"]

_SELECT_HEAD = text(
    "select h.seq, h.hash, (select coalesce(a.seq, 0) from public.audit_log a where a.seq < 1 or a.seq > h.seq"
    " or a.seq is null order by a.seq limit 1) as foreign_seq from public.audit_head h"
)
_VERIFY_BATCH = _QUERIES["verify_batch"]


@dataclass(frozen=True)
class Verification:
    """What a walk found. `broken` is the place of the first record that is not as it was written, with its `fault`.

    `head` is the newest record's hash, in hex. `expected` says whether the head that was asked for is in the chain.
    """

    records: int
    head: str
    broken: int | None = None
    fault: Fault | None = None
    expected: bool | None = None

    @property
    def sound(self) -> bool:
        return self.broken is None and self.expected is not False


@dataclass(frozen=True)
class RecordedVerification:
    """A check that staff asked for."""

    at: datetime
    by: str
    records: int
    broken: int | None

    @property
    def sound(self) -> bool:
        return self.broken is None


@dataclass(frozen=True)
class ChainState:
    """How long the chain is and what the newest check of it said (None: there was none yet)."""

    records: int
    head: str
    checked: RecordedVerification | None


def verify(actor: Actor, expect: str = "", on_progress: Callable[[int, int], None] | None = None) -> Verification:
    """Walk the whole chain, in batches; `on_progress(done, of)` is called after each.

    `expect` is a head that was printed before: it must still be in the chain. For staff and the system.

    Raises: Forbidden for anybody else, InvalidInput where `expect` is no SHA-256 in hex.
    """
    actor.require_staff_or_system("audit chain")
    expected = _parse_hash(expect) if expect else None
    with transaction(actor) as tx:
        head = tx.execute(_SELECT_HEAD).one_or_none()
    if head is None:
        return Verification(0, "", 1, "missing", False if expect else None)
    return _verify_batches(actor, head, expected, on_progress or _ignore_progress)


def verify_and_record(actor: Actor, on_progress: Callable[[int, int], None] | None = None) -> Verification:
    """`verify` for staff who ask for it: goes into the audit log, and what is broken into the security events too."""
    verdict = verify(actor, on_progress=on_progress)
    with transaction(actor) as tx:
        if not verdict.sound:
            log.error("audit_chain_broken", record=verdict.broken, fault=verdict.fault)
            audit.record_security_event(tx, "audit_broken", str(verdict.broken), None, fault=verdict.fault)
        audit.record(tx, actor, VERIFY_ACTION, None, records=verdict.records, broken=verdict.broken, head=verdict.head)
    return verdict


def get_state(actor: Actor) -> ChainState:
    """The chain as the newest check left it.

    Raises: Forbidden for anybody but staff.
    """
    actor.require_staff("audit chain")
    by = select(directory.c.email).where(directory.c.user_id == audit_log.c.actor_id).scalar_subquery()
    checks = select(
        audit_log.c.occurred_at.label("at"),
        func.coalesce(by, "").label("by"),
        func.coalesce(audit_log.c.detail["records"].as_integer(), 0).label("records"),
        audit_log.c.detail["broken"].as_integer().label("broken"),
    ).where(audit_log.c.action == VERIFY_ACTION)
    with transaction(actor) as tx:
        head = tx.execute(select(audit_head)).one_or_none()
        row = tx.execute(checks.order_by(audit_log.c.occurred_at.desc(), audit_log.c.seq.desc()).limit(1)).one_or_none()
    checked = read_row(RecordedVerification, row) if row is not None else None
    return ChainState(head.seq if head else 0, head.hash.hex() if head else "", checked)


def _verify_batches(
    actor: Actor, head: Record, expect: bytes | None, on_progress: Callable[[int, int], None]
) -> Verification:
    seq, last, walked, expected = 0, GENESIS, 0, expect == GENESIS
    while seq < head.seq:
        given = {"seq": seq, "hash": last, "head": head.seq, "size": BATCH_SIZE, "expect": expect}
        with transaction(actor) as tx:
            found = tx.execute(_VERIFY_BATCH, given).one()
        if found.fault is not None:
            return _broken_verification(head, walked, found.broken, found.fault, expect)
        if not found.walked:
            # The newest ones are gone.
            return _broken_verification(head, walked, seq + 1, "missing", expect)
        seq, last, walked = found.seq, found.hash, walked + found.walked
        expected = expected or bool(found.expected)
        on_progress(walked, head.seq)
    if last != head.hash:
        return _broken_verification(head, walked, head.seq, "changed", expect)
    if head.foreign_seq is not None:
        return _broken_verification(head, walked, head.foreign_seq, "foreign", expect)
    return Verification(walked, head.hash.hex(), expected=None if expect is None else expected)


def _broken_verification(head: Record, walked: int, broken: int, fault: Fault, expect: bytes | None) -> Verification:
    return Verification(walked, head.hash.hex(), broken, fault, None if expect is None else False)


def _parse_hash(typed: str) -> bytes:
    try:
        digest = bytes.fromhex(typed.strip())
    except ValueError:
        digest = b""
    if len(digest) != len(GENESIS):
        raise InvalidInput("not a SHA-256 in hex")
    return digest


def _ignore_progress(_done: int, _of: int) -> Any:
    """Nobody watches."""
