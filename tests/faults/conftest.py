"""An installation for each test, any part of which may be killed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.killable_installation import FAULT_SETTINGS, KillableInstallation, open_killable_installation


@pytest.fixture
def process_settings() -> Mapping[str, str]:
    """What the installation's processes are told; a module may have others."""
    return FAULT_SETTINGS


@pytest.fixture
def installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, process_settings: Mapping[str, str]
) -> Iterator[KillableInstallation]:
    with open_killable_installation(monkeypatch, tmp_path, process_settings) as opened:
        yield opened
