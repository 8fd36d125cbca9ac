"""The media store: the bytes of pictures, recordings and files, by owner and SHA-256.

There is one file for each content of each user, however many messages carry it. The row in `media` says what there is,
and row level security says to whom. The bytes are read only after the row, so a hash alone opens nothing. The store is
any folder that fsspec knows (`MEDIA_URL`).
"""

import functools
import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import fsspec
from fsspec import AbstractFileSystem
from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from services import settings
from services.db.actor import Actor
from services.db.engine import get_sqlstate, transaction
from services.db.rows import read_row
from services.db.tables.platform import media as rows
from services.errors import N_, Forbidden, NotFound, ServiceError

FOLDER_MODE = 0o700
# The SQLSTATE of app.refuse_media_deleting: a clean-up is deleting the file of this content.
BEING_DELETED_SQLSTATE = "PL003"
# How long whoever keeps it again waits for that, and how often they look.
DELETION_WAIT_SECONDS = 10.0
DELETION_POLL_SECONDS = 0.05


class MediaUnavailable(ServiceError):
    code = "midia_indisponivel"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O arquivo não pôde ser guardado ou lido agora.")
    hint = N_("Nada foi enviado. Tente de novo em alguns segundos.")


@dataclass(frozen=True)
class Media:
    """One content of one user: `sha256` names it, `size` is in bytes."""

    user_id: UUID
    sha256: bytes
    mimetype: str
    size: int

    @property
    def path(self) -> str:
        """Where its bytes lie in the store."""
        return get_path(self.user_id, self.sha256)


@dataclass(frozen=True)
class ListedMedia:
    """One content of the actor's, and since when it is kept."""

    media: Media
    created_at: datetime


def save(actor: Actor, content: bytes, mimetype: str, user_id: UUID | None = None) -> Media:
    """Store `content` for `user_id` (default: the actor) and return what names it; the same content is kept once.

    The bytes come first, so that a row never names what is not there.

    Raises: Forbidden for somebody else's store (only the system keeps for others), MediaUnavailable where the store
        cannot be written.
    """
    owner = user_id or actor.user_id
    if owner is None or (actor.user_id not in (None, owner)):
        raise Forbidden("media of somebody else")
    made = Media(owner, hashlib.sha256(content).digest(), mimetype, len(content))
    _write_file(made.path, content)
    deadline, pause = time.monotonic() + DELETION_WAIT_SECONDS, threading.Event()
    while not _save_row(actor, made):
        if time.monotonic() > deadline:
            raise MediaUnavailable("being deleted")
        pause.wait(DELETION_POLL_SECONDS)
    # A clean-up may have been deleting the same content, whose file was then only still there.
    _write_file(made.path, content)
    return made


def get(actor: Actor, sha256: bytes, user_id: UUID | None = None) -> Media:
    """What is known of one content of `user_id` (default: the actor).

    Raises: NotFound, also where it is not theirs.
    """
    owner = user_id or actor.user_id
    with transaction(actor) as tx:
        row = tx.execute(select(rows).where(rows.c.user_id == owner, rows.c.sha256 == sha256)).one_or_none()
    if row is None:
        raise NotFound("media")
    return read_row(Media, row)


def read(actor: Actor, sha256: bytes, user_id: UUID | None = None) -> bytes:
    """The bytes of one content.

    Raises: NotFound, also where it is not theirs; MediaUnavailable where the store does not give them.
    """
    return read_file(get(actor, sha256, user_id).path)


def read_file(path: str) -> bytes:
    """What lies under a `Media.path`, for a backup.

    Raises: MediaUnavailable where the store does not give it.
    """
    store, root = _filesystem()
    try:
        content: bytes = store.cat_file(f"{root}/{path}")
    except OSError as error:
        raise MediaUnavailable(type(error).__name__) from error
    return content


def list_media(actor: Actor, limit: int, before: tuple[datetime, bytes] | None = None) -> list[ListedMedia]:
    """The actor's own contents, newest first; with `before` only those that come after that place in this order."""
    order = (rows.c.created_at.desc(), rows.c.sha256.desc())
    wanted = select(rows).where(rows.c.user_id == actor.user_id).order_by(*order).limit(limit)
    if before is not None:
        wanted = wanted.where(tuple_(rows.c.created_at, rows.c.sha256) < before)
    with transaction(actor) as tx:
        return [read_row(ListedMedia, row, media=read_row(Media, row)) for row in tx.execute(wanted)]


def restore_file(path: str, content: bytes) -> None:
    """Lay a backup's file where a row of its database expects it.

    Raises: MediaUnavailable.
    """
    _write_file(path, content)


def delete_file(user_id: UUID, sha256: bytes) -> None:
    """Delete the bytes of a content whose row is gone: see `operations.retention`.

    One that is not there is as good.

    Raises: MediaUnavailable.
    """
    store, root = _filesystem()
    try:
        store.rm_file(f"{root}/{get_path(user_id, sha256)}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise MediaUnavailable(type(error).__name__) from error


def _save_row(actor: Actor, kept: Media) -> bool:
    """Write the row; False while a clean-up is deleting the file of the same content."""
    try:
        with transaction(actor) as tx:
            tx.execute(
                insert(rows)
                .values(user_id=kept.user_id, sha256=kept.sha256, mimetype=kept.mimetype, size=kept.size)
                # Young again: a clean-up must not take from under its sender what is about to be sent.
                .on_conflict_do_update(index_elements=["user_id", "sha256"], set_={"created_at": func.now()})
            )
    except DBAPIError as error:
        if get_sqlstate(error) != BEING_DELETED_SQLSTATE:
            raise
        return False
    return True


def _write_file(path: str, content: bytes) -> None:
    """All of it or nothing, also where the process dies in the middle."""
    store, root = _filesystem()
    full = f"{root}/{path}"
    try:
        if store.exists(full):
            return
        store.makedirs(full.rpartition("/")[0], exist_ok=True)
        with store.open(full, "wb", autocommit=False) as file:
            file.write(content)
        file.commit()
    except OSError as error:
        raise MediaUnavailable(type(error).__name__) from error


def get_path(user_id: UUID, sha256: bytes) -> str:
    """Where one content of one user lies in the store."""
    name = sha256.hex()
    return f"{user_id}/{name[:2]}/{name}"


@functools.cache
def _filesystem() -> tuple[AbstractFileSystem, str]:
    configured = settings.get().storage
    url = configured.media_url.get_secret_value()
    if not url:
        folder = (configured.data_dir / "media").absolute()
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        url = f"file://{folder}"
    store, root = fsspec.url_to_fs(url)
    return store, str(root).rstrip("/")
