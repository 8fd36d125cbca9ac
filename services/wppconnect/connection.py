"""This process's client."""

import functools

from services import settings
from services.wppconnect.client import WppClient


@functools.cache
def client() -> WppClient:
    """The pooled client for the configured servers."""
    return WppClient(settings.get().servers())
