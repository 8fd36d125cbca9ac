"""Rate limits, shared by all processes.

A limit is a fixed window that begins with the first use. Each process takes permits from the shared counter in blocks
of a twentieth of the limit and gives them out by itself, so hardly any request asks the database. The limit is never
exceeded; permits that another process holds and does not use may end the window early, by up to a twentieth each.
"""

import functools
import hashlib
import math
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from limits import RateLimitItem, parse
from limits.storage import Storage, storage_from_string
from sqlalchemy import func, text

from services import settings
from services.db.actor import ANONYMOUS, SYSTEM
from services.db.engine import transaction
from services.db.tables.platform import rate_limits
from services.errors import ConfigurationError, DatabaseUnavailable, RateLimited
from services.failure_log import FailureLog

BLOCKS_PER_LIMIT = 20
# Enough for every user and address of an hour; beyond it the counters begin anew, and the shared ones still hold.
MAX_LEASES = 50_000

_COUNT_HITS = text(
    "select counted, extract(epoch from until - clock_timestamp())"
    " from app.count_hits(:k, :s, :n, :most, :door, cast(:who as text))"
)

SubjectKind = Literal["user", "ip", "key"]


class Limit(StrEnum):
    """What is limited, each by a setting of its own."""

    API = "api"  # every call of the API, by user or key
    SEND = "send"  # messages queued through the API, by user or key
    SIGN_IN = "sign_in"  # passwords tried, by address
    REFUSED = "refused"  # credentials and webhook secrets that were wrong, by address


@dataclass
class _Lease:
    """Permits that this process may still hand out until `until` (monotonic); none left: refused until then."""

    left: int
    until: float


class _Limiter:
    """The limits of one process."""

    def __init__(self) -> None:
        configured = settings.get().rate_limits
        limits = {door: configured.limit(door) for door in Limit}
        self._items: dict[Limit, RateLimitItem] = {door: parse(limit) for door, limit in limits.items() if limit}
        url = configured.url.get_secret_value()
        self._shared = _open_storage(url) if url else None
        self._leases: dict[tuple[Limit, SubjectKind, str], _Lease] = {}
        self._lock = threading.Lock()
        self._watch = FailureLog("rate_limits")

    def check(self, door: Limit, who: SubjectKind, value: str) -> None:
        if door not in self._items:
            return
        key = (door, who, value)
        with self._lock:
            lease = self._leases.get(key)
            now = time.monotonic()
            if lease is not None and now < lease.until:
                if lease.left > 0:
                    lease.left -= 1
                    return
                if lease.left < 0:
                    self._refuse(door, lease.until - now)
        self._renew(key)

    def spent(self, door: Limit, who: SubjectKind, value: str) -> int:
        """Seconds until this one is let in again, as far as this process knows; 0 where it may come."""
        lease = self._leases.get((door, who, value))
        if lease is None or lease.left >= 0:
            return 0
        return max(0, math.ceil(lease.until - time.monotonic()))

    def _renew(self, key: tuple[Limit, SubjectKind, str]) -> None:
        """Take the next block from the shared counter and use one permit of it."""
        item = self._items[key[0]]
        block = max(1, item.amount // BLOCKS_PER_LIMIT)
        try:
            hits, seconds = self._take(key, item, block)
        except DatabaseUnavailable as error:
            self._watch.failed(error)
            return
        self._watch.worked()
        granted = block - max(0, hits - item.amount)
        with self._lock:
            if len(self._leases) >= MAX_LEASES:
                self._leases.clear()
            # Below zero: not merely used up, but nothing more to be had in this window.
            self._leases[key] = _Lease(granted - 1 if granted > 0 else -1, time.monotonic() + seconds)
            if granted <= 0:
                self._refuse(key[0], seconds)

    def _take(self, key: tuple[Limit, SubjectKind, str], item: RateLimitItem, block: int) -> tuple[int, float]:
        """What the shared counter of this window says after `block` more, and in how many seconds the window ends."""
        name = hashlib.sha256(item.key_for(*key).encode(errors="replace"))
        if self._shared is not None:
            hits = self._shared.incr(name.hexdigest(), item.get_expiry(), amount=block)
            return hits, max(0.0, self._shared.get_expiry(name.hexdigest()) - time.time())
        values = {"k": name.digest(), "s": item.get_expiry(), "n": block, "most": item.amount, "door": key[0]}
        with transaction(ANONYMOUS) as tx:
            hits, seconds = tx.execute(_COUNT_HITS, {**values, "who": key[2] if key[1] == "ip" else None}).one()
        return int(hits), float(seconds)

    def _refuse(self, door: Limit, seconds: float) -> None:
        raise RateLimited(door, seconds=max(1, math.ceil(seconds)))


def hit(door: Limit, who: SubjectKind, value: str) -> None:
    """Count one use of `door` by `value` (an id or an address).

    While the counters cannot be reached everybody is let in: what needs the database says so itself.

    Raises: RateLimited past the limit.
    """
    _limiter().check(door, who, value)


def retry_after(door: Limit, who: SubjectKind, value: str) -> int:
    """Without counting: the seconds for which `check` would refuse, as far as this process knows, or 0."""
    return _limiter().spent(door, who, value)


def purge_expired() -> int:
    """Drop the counters of windows that are over. Returns how many went."""
    with transaction(SYSTEM) as tx:
        old = rate_limits.delete().where(rate_limits.c.expires_at < func.now() - timedelta(minutes=1))
        return int(tx.execute(old).rowcount)


def _open_storage(url: str) -> Storage:
    made = storage_from_string(url)
    if not isinstance(made, Storage):
        raise ConfigurationError("RATE_LIMIT_URL must not be an async+ address")
    return made


@functools.cache
def _limiter() -> _Limiter:
    return _Limiter()
