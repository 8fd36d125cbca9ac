"""Credentials that the API or the webhook receiver refused."""

from starlette.concurrency import run_in_threadpool

from services.inbound.event_store import Inbox
from services.platform import rate_limits
from services.platform.rate_limits import Limit


async def record_refusal(inbox: Inbox, kind: str, subject: str, address: str) -> None:
    """Make a refused credential a security event and count it by address.

    Raises: RateLimited past the limit.
    """
    inbox.security_event(kind, subject, address)
    await run_in_threadpool(rate_limits.hit, Limit.REFUSED, "ip", address)
