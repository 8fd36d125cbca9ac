"""The archive of a backup: its parts, its manifest and the files beside the database."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from services import settings

FORMAT = 1
MANIFEST, DUMP, SECRETS, MEDIA = "manifest.json", "database.dump", "secrets/", "media/"
CHUNK_BYTES = 1 << 20
SECRET_NAME = re.compile(r"[a-z][a-z_]{0,62}")
# `services.platform.media_store.get_path`, whose last part is the content's own SHA-256.
MEDIA_PATH = re.compile(r"[0-9a-f-]{36}/[0-9a-f]{2}/(?P<sha256>[0-9a-f]{64})")

# (rows and files done, of how many, what is under way)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Manifest:
    """What is in an archive. `rows` counts each table at the snapshot; `files` has each part's SHA-256.

    Of the `media`, which are counted, each is named by its own; `missing` lists those that the store did not give.
    """

    taken_at: str
    revision: str
    server: int
    tools: int
    logins: tuple[str, str]
    rows: dict[str, int]
    head: str
    files: dict[str, str] = field(default_factory=dict)
    media: int = 0
    missing: tuple[str, ...] = ()
    format: int = FORMAT


def open_private_file(path: Path) -> IO[bytes]:
    """A new file that only its owner reads."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def get_secrets_folder() -> Path:
    """The folder of the installation's generated secrets; it is made where it is missing."""
    folder = settings.get().storage.data_dir / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def no_progress(_done: int, _of: int, _what: str) -> None:
    """Nobody watches."""
