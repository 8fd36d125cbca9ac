"""Makes an empty installation the one in a backup.

A backup does not know what happened after it. So a restore takes nothing for granted: sessions that were up are
asked, and messages that waited and may have left meanwhile become uncertain. None of them is sent a second time.
"""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from datetime import datetime
from pathlib import Path

import psycopg
import structlog

from services import settings
from services.db.actor import SYSTEM
from services.db.engine import CONNECT_TIMEOUT_SECONDS
from services.db.migrate import align_passwords, known_revisions, migrate
from services.fleet import checks
from services.messaging import delivery
from services.operations.backup import manifest_of_snapshot
from services.operations.backup_archive import (
    CHUNK_BYTES,
    DUMP,
    FORMAT,
    MANIFEST,
    MEDIA,
    MEDIA_PATH,
    SECRET_NAME,
    SECRETS,
    Manifest,
    Progress,
    get_secrets_folder,
    no_progress,
    open_private_file,
)
from services.operations.errors import BackupError
from services.operations.postgres_programs import (
    connection_arguments,
    fetch_value,
    find_program,
    get_login_names,
    get_login_urls,
    get_owner_url,
    run_program,
    watch_output,
)
from services.platform import media_store
from services.security import audit_chain

log = structlog.get_logger(__name__)
# An installation is empty for as long as these are.
FIRST_TABLES = ("auth.users", "public.whatsapp_sessions", "public.events")

# What would queue by itself what may have been queued after the backup: its owner resumes it.
PAUSE_STATEMENTS = (
    "update public.campaigns set state = 'paused', updated_at = now() where state = 'active'",
    "update public.schedules set paused_at = now(), next_check_at = null, updated_at = now()"
    " where paused_at is null and ended_at is null and next_at <= now()",
)


def restore_backup(path: Path, on_progress: Progress | None = None) -> Manifest:
    """Make this installation, which must be empty, the one in the archive, and bring it up to the newest schema.

    Everything is checked before anything changes, and the result is compared with the manifest.

    Raises: BackupError where the archive is damaged or of a newer release, the database is not empty, its PostgreSQL is
        older, or the result differs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_checked_manifest(archive)
            _refuse_database_in_use(manifest)
            _restore_secrets(archive)
            # The database last: until its one transaction commits, everything can be tried again.
            _restore_media(archive, manifest, on_progress or no_progress)
            _restore_database(archive, manifest, on_progress or no_progress)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise BackupError(f"{path}: {_error_reason(error)}") from None
    except psycopg.Error as error:
        raise BackupError(f"the database broke off: {type(error).__name__}") from error
    _check_result(manifest)
    migrate(get_owner_url())
    _mark_uncertain(datetime.fromisoformat(manifest.taken_at))
    log.info("backup_restored", rows=sum(manifest.rows.values()), taken_at=manifest.taken_at)
    return manifest


def _read_checked_manifest(archive: zipfile.ZipFile) -> Manifest:
    """The manifest, once every part has proved to be what it says."""
    try:
        read = json.loads(archive.read(MANIFEST))
        manifest = Manifest(**{**read, "logins": tuple(read["logins"]), "missing": tuple(read["missing"])})
    except (KeyError, TypeError, ValueError):
        raise BackupError(f"{archive.filename} is no backup of an installation") from None
    if manifest.format != FORMAT:
        raise BackupError(f"{archive.filename} was made by a newer release: update first")
    contents = _list_media(archive)
    if set(archive.namelist()) != {MANIFEST, *manifest.files, *contents} or len(contents) != manifest.media:
        raise BackupError(f"{archive.filename} is damaged: it does not hold what its manifest lists")
    for name, expected in (*manifest.files.items(), *((name, name.rpartition("/")[2]) for name in contents)):
        if _sha256(archive, name) != expected:
            raise BackupError(f"{archive.filename} is damaged: {name} is not as it was written")
    return manifest


def _sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(name) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except zipfile.BadZipFile:  # the zip's own sum is wrong already
        return ""
    return digest.hexdigest()


def _refuse_database_in_use(manifest: Manifest) -> None:
    if manifest.logins != get_login_names():
        raise BackupError(f"the login roles must be called {' and '.join(manifest.logins)}, as where it was taken")
    with psycopg.connect(get_owner_url(), connect_timeout=CONNECT_TIMEOUT_SECONDS) as owner:
        for table in FIRST_TABLES:
            if fetch_value(owner, "select to_regclass(%s) is not null", table) and fetch_value(
                owner,
                f"select exists (select from {table})",
            ):
                raise BackupError(f"this installation is in use ({table} has rows): restore into an empty database")
        server = owner.info.server_version // 10_000
    if server < manifest.server:
        raise BackupError(f"the backup is of PostgreSQL {manifest.server}, this server is an older one ({server})")
    if manifest.revision not in known_revisions():
        raise BackupError("the backup was made by a newer release: update first")


def _restore_secrets(archive: zipfile.ZipFile) -> None:
    """The secrets of then: the sign-ins, the login roles' passwords and the sandbox's tokens hang on them."""
    folder = get_secrets_folder()
    for name in archive.namelist():
        secret = name.removeprefix(SECRETS)
        if name.startswith(SECRETS) and SECRET_NAME.fullmatch(secret):
            staged = folder / f".{secret}.{os.getpid()}"
            with open_private_file(staged) as file:
                file.write(archive.read(name))
            staged.replace(folder / secret)
    settings.get.cache_clear()


def _restore_database(archive: zipfile.ZipFile, manifest: Manifest, on_progress: Progress) -> None:
    # The roles belong to the server and are in no dump: the migrations make them. pg_restore then replaces the tables.
    migrate(get_owner_url(), manifest.revision)
    align_passwords(get_owner_url(), *get_login_urls())
    with psycopg.connect(get_owner_url()) as owner:
        server = owner.info.server_version // 10_000
    program = find_program("pg_restore", max(server, manifest.tools))
    arguments = ["--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error", "--verbose"]
    with run_program([program, *arguments, *connection_arguments()], stdin=subprocess.PIPE) as process:
        watcher = watch_output(process, manifest.rows, on_progress)
        assert process.stdin is not None
        try:
            with archive.open(DUMP) as dump, process.stdin as feed:
                shutil.copyfileobj(dump, feed, CHUNK_BYTES)
        except BrokenPipeError:
            pass  # it has given up: its last line says why
        watcher.finish(process, "pg_restore")


def _restore_media(archive: zipfile.ZipFile, manifest: Manifest, on_progress: Progress) -> None:
    for number, name in enumerate(_list_media(archive)):
        on_progress(number, manifest.media, name)
        media_store.restore_file(name.removeprefix(MEDIA), archive.read(name))


def _list_media(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if MEDIA_PATH.fullmatch(name.removeprefix(MEDIA))]


def _check_result(manifest: Manifest) -> None:
    with psycopg.connect(get_owner_url()) as owner:
        found = manifest_of_snapshot(owner)
    wrong = sorted(name for name, count in manifest.rows.items() if found.rows.get(name) != count)
    if wrong:
        raise BackupError(f"not everything came back: {', '.join(wrong)}")
    verdict = audit_chain.verify(SYSTEM)
    if not verdict.sound or verdict.head != manifest.head:
        raise BackupError(f"the audit log came back otherwise than it was written, from record {verdict.broken}")


def _mark_uncertain(taken_at: datetime) -> None:
    """What may have gone on after the backup was taken is no longer what the tables say."""
    with psycopg.connect(get_owner_url()) as owner:
        for held in PAUSE_STATEMENTS:
            owner.execute(held)
    delivery.mark_uncertain_since(taken_at)
    checks.request_all_checks()


def _error_reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "is no backup of an installation"
