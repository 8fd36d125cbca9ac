"""Waiting for what comes about elsewhere: in another thread, another process, a browser."""

import time
from collections.abc import Callable
from typing import Any

# Most of what is waited for is there at once.
FIRST_POLL_SECONDS, POLL_SECONDS = 0.004, 0.05


def wait_for(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Poll until `condition()` is truthy and return it; fails the test with `what` at the deadline."""
    deadline, pause = time.monotonic() + seconds, FIRST_POLL_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS)
    return found
