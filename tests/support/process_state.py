"""What this test process keeps as a process of the product does: its settings, its engines and its caches."""

import functools
import sys
from pathlib import Path
from typing import Any

import pytest

from services import settings
from services.db import engine


def forget_process_state() -> None:
    """Drop what a process keeps behind functools.cache, as a new process would start without it."""
    for cached in (engine.get_console_engine, engine.get_system_engine):
        if cached.cache_info().currsize:
            cached().dispose()
    for cached in _caches(len(sys.modules)):
        cached.cache_clear()


def point_at_database(patch: pytest.MonkeyPatch, url: str, data_dir: Path) -> None:
    """This process's settings: their defaults, this database and this folder."""
    for name in settings.variables():
        patch.delenv(name, raising=False)
    patch.setenv("DATABASE_URL", url)
    patch.setenv("DATA_DIR", str(data_dir))
    forget_process_state()


@functools.cache
def _caches(_loaded: int) -> list[Any]:
    """Every function of ours that remembers, in the modules that are loaded: as many as that."""
    return [
        value
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("services", "ui", "web")
        for value in list(vars(module).values())
        if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == name
    ]
