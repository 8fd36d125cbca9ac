"""Runs work for many sessions at once, with a limit for each server."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_per_server(work: Callable[[T], R], items: Sequence[T], cap: int) -> list[R]:
    """`work` on each of `items` (which have a `server_url`), at most `cap` of one server at once."""
    grouped: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        grouped[item.server_url].append(item)  # type: ignore[attr-defined]
    with ExitStack() as stack:
        futures = []
        for mine in grouped.values():
            pool = stack.enter_context(ThreadPoolExecutor(min(cap, len(mine)), thread_name_prefix="health"))
            futures += [pool.submit(work, item) for item in mine]
        return [future.result() for future in futures]
