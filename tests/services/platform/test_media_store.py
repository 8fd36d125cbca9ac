"""The media store: one file for each content of each user, read by nobody else."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from services import settings
from services.db.actor import SYSTEM, Actor
from services.errors import Forbidden, NotFound
from services.messaging import outbox
from services.messaging.content import Content, Kind
from services.platform import media_store
from services.platform.media_store import MediaUnavailable
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sessions import connected

PICTURE = b"\x89PNG and the rest"


def files() -> list[Path]:
    return [path for path in (settings.get().storage.data_dir / "media").rglob("*") if path.is_file()]


def test_it_gives_back_what_it_kept_and_keeps_the_same_content_once(user: Actor, database: Database) -> None:
    first, again = (media_store.save(user, PICTURE, "image/png") for _ in range(2))
    assert first == again
    assert media_store.read(user, first.sha256) == PICTURE
    assert media_store.get(user, hashlib.sha256(PICTURE).digest()).size == len(PICTURE)
    assert len(files()) == 1
    assert database.one("select count(*) from media") == 1


def test_it_opens_nothing_to_who_knows_only_the_hash(new_actor: Callable[..., Actor]) -> None:
    owner, other = new_actor(), new_actor()
    kept = media_store.save(owner, PICTURE, "image/png")
    for sought in (None, owner.user_id):
        with pytest.raises(NotFound):
            media_store.read(other, kept.sha256, sought)
    with pytest.raises(Forbidden):
        media_store.save(other, PICTURE, "image/png", owner.user_id)


def test_it_lets_the_system_keep_for_a_user(user: Actor) -> None:
    kept = media_store.save(SYSTEM, PICTURE, "image/png", user.user_id)
    assert media_store.read(user, kept.sha256) == PICTURE


def test_it_lies_where_only_its_account_looks(user: Actor) -> None:
    media_store.save(user, PICTURE, "image/png")
    assert (settings.get().storage.data_dir / "media").stat().st_mode & 0o077 == 0


def test_it_says_that_the_store_cannot_be_used(
    user: Actor, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = media_store.save(user, PICTURE, "image/png")
    next(iter(files())).unlink()
    with pytest.raises(MediaUnavailable):
        media_store.read(user, kept.sha256)
    (tmp_path / "a file").touch()
    monkeypatch.setenv("MEDIA_URL", f"file://{tmp_path / 'a file'}/below")
    forget_process_state()
    with pytest.raises(MediaUnavailable):
        media_store.save(user, b"another", "image/png")
    assert database.one("select count(*) from media") == 1


def test_it_keeps_nothing_half(user: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies before the file is whole leaves no file by that name."""
    monkeypatch.setattr(os, "replace", None)
    monkeypatch.setattr("shutil.move", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(MediaUnavailable):
        media_store.save(user, PICTURE, "image/png")
    assert not [path for path in files() if path.name == hashlib.sha256(PICTURE).hexdigest()]


def test_it_queues_a_file_only_from_ones_own_store(new_actor: Callable[..., Actor], database: Database) -> None:
    owner, other = new_actor(), new_actor()
    connected(database, owner)
    connected(database, other)
    kept = media_store.save(owner, PICTURE, "image/png")
    content = Content(Kind.IMAGE, "uma foto", kept, "foto.png")
    queued = outbox.queue(owner, "11987654321", content, "key")
    assert (queued.kind, queued.media_sha256, queued.filename) == ("image", kept.sha256, "foto.png")
    with pytest.raises(NotFound):
        outbox.queue(other, "11987654321", content, "key")
