"""Writes an installation into one file.

The archive is a zip. It holds the database in pg_dump's custom format, the media, the secrets that were made here
(`DATA_DIR/secrets`), and a manifest with a SHA-256 of each part and the number of rows of each table. Dump, list of
media and numbers are of one snapshot. So a backup taken under load is complete and consistent, and a restore can
prove that it brought everything back.
"""

import hashlib
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import IO

import psycopg
import structlog

from services.db.engine import CONNECT_TIMEOUT_SECONDS
from services.operations.backup_archive import (
    CHUNK_BYTES,
    DUMP,
    MANIFEST,
    MEDIA,
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
    get_major_version,
    get_owner_url,
    run_program,
    watch_output,
)
from services.platform import media_store
from services.platform.media_store import MediaUnavailable

log = structlog.get_logger(__name__)


def create_backup(path: Path, on_progress: Progress | None = None) -> Manifest:
    """Write the archive of this installation to `path` (mode 600), while everything goes on working.

    It appears under its name only once it is complete.

    Raises: BackupError where the file exists, the owner in `DATABASE_URL` cannot read everything, the users are
        Supabase's, or a program fails.
    """
    if path.exists():
        raise BackupError(f"{path} exists already: a backup overwrites nothing")
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Made here and not by the zip: nobody else may read it, not even while it grows.
        with _open_snapshot() as snapshot, open_private_file(staged) as file:
            manifest = _write_archive(file, snapshot, on_progress or no_progress)
        os.link(staged, path)
    except FileExistsError:
        raise BackupError(f"{path} exists already: a backup overwrites nothing") from None
    except OSError as error:
        raise BackupError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        staged.unlink(missing_ok=True)
    log.info("backup_taken", rows=sum(manifest.rows.values()), media=manifest.media, missing=len(manifest.missing))
    return manifest


@dataclass(frozen=True)
class _Snapshot:
    """One moment of the database, held open: whoever reads it by its name sees that moment."""

    name: str
    connection: psycopg.Connection
    manifest: Manifest


@contextmanager
def _open_snapshot() -> Iterator[_Snapshot]:
    try:
        with psycopg.connect(get_owner_url(), connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("set idle_in_transaction_session_timeout = 0")
            _refuse_incomplete_backup(connection)
            name = fetch_value(connection, "select pg_export_snapshot()")
            yield _Snapshot(name, connection, manifest_of_snapshot(connection))
    except psycopg.Error as error:
        raise BackupError(f"the database broke off: {type(error).__name__}") from error


def _refuse_incomplete_backup(connection: psycopg.Connection) -> None:
    """Row level security would leave rows out without a word, and users that are not ours would stay behind."""
    if fetch_value(connection, "select to_regclass('public.audit_head') is null"):
        raise BackupError("there is nothing to back up: this database has no schema of ours yet")
    hidden = (
        "select bool_or(row_security_active(c.oid)) from pg_class c where c.relkind in ('r', 'p')"
        " and c.relnamespace::regnamespace::text in ('public', 'app', 'jobs', 'auth')"
    )
    if fetch_value(connection, hidden):
        raise BackupError(
            "the owner in DATABASE_URL does not see every row: call this with the address of a role that has bypassrls"
        )
    if not fetch_value(
        connection, "select pg_has_role(relowner, 'member') from pg_class where oid = 'auth.users'::regclass"
    ):
        raise BackupError("the users belong to Supabase: use its own backups, which hold users and tables together")


def manifest_of_snapshot(connection: psycopg.Connection) -> Manifest:
    """Describes the database that a snapshot's connection sees: versions, logins, rows by table and the audit head.

    Raises: BackupError where no fitting `pg_dump` is installed.
    """
    tables = connection.execute(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^(pg_|information_schema)' order by 1"
    ).fetchall()
    # Names come from the catalogue, quoted by it.
    rows = {name: int(fetch_value(connection, f"select count(*) from {name}")) for (name,) in tables}
    server = connection.info.server_version // 10_000
    head = fetch_value(connection, "select encode(hash, 'hex') from public.audit_head")
    revision = fetch_value(connection, "select version_num from public.alembic_version")
    taken = fetch_value(connection, "select now()").astimezone(UTC).isoformat()
    return Manifest(
        taken, revision, server, get_major_version(find_program("pg_dump", server)), get_login_names(), rows, head
    )


def _write_archive(file: IO[bytes], snapshot: _Snapshot, on_progress: Progress) -> Manifest:
    files: dict[str, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        files[DUMP] = _dump_database(archive, snapshot, on_progress)
        for secret in sorted(get_secrets_folder().iterdir()):
            if SECRET_NAME.fullmatch(secret.name):
                content = secret.read_bytes()
                archive.writestr(SECRETS + secret.name, content)
                files[SECRETS + secret.name] = hashlib.sha256(content).hexdigest()
        media, missing = _copy_media(archive, snapshot, on_progress)
        manifest = replace(snapshot.manifest, files=files, media=media, missing=tuple(missing))
        archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
    return manifest


def _dump_database(archive: zipfile.ZipFile, snapshot: _Snapshot, on_progress: Progress) -> str:
    """pg_dump's output as it comes, so that no second copy of the database lies about. Returns its SHA-256."""
    digest = hashlib.sha256()
    program = find_program("pg_dump", snapshot.manifest.server)
    arguments = ["--format=custom", "--verbose", f"--snapshot={snapshot.name}", *connection_arguments()]
    with run_program([program, *arguments], stdout=subprocess.PIPE) as process:
        watcher = watch_output(process, snapshot.manifest.rows, on_progress)
        assert process.stdout is not None
        with archive.open(DUMP, "w", force_zip64=True) as out:
            while chunk := process.stdout.read(CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
        watcher.finish(process, "pg_dump")
    return digest.hexdigest()


def _copy_media(archive: zipfile.ZipFile, snapshot: _Snapshot, on_progress: Progress) -> tuple[int, list[str]]:
    """Every file that a row of the snapshot names. One that is gone meanwhile, or damaged, is listed, not made up."""
    rows = snapshot.connection.execute("select user_id, sha256 from public.media order by 1, 2").fetchall()
    missing: list[str] = []
    for number, (user_id, sha256) in enumerate(rows):
        path = media_store.get_path(user_id, bytes(sha256))
        on_progress(number, len(rows), MEDIA + path)
        try:
            content = media_store.read_file(path)
        except MediaUnavailable:
            content = b""
        if hashlib.sha256(content).digest() == bytes(sha256):
            archive.writestr(MEDIA + path, content)
        else:
            missing.append(path)
    return len(rows) - len(missing), missing
