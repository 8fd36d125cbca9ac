"""The WPPConnect client that the whole process shares."""

import functools

from services import settings
from services.wppconnect.client import WppClient


@functools.cache
def get_client() -> WppClient:
    """The pooled client for the configured servers."""
    return WppClient(settings.get().wppconnect.servers())
