"""One file that holds an installation, and an installation from that file.

The archive is a zip: the database as pg_dump's custom format, the media, the secrets that were made here
(`DATA_DIR/secrets`), and a manifest with a SHA-256 of each part and the number of rows of each table. Dump, list of
media and numbers are of one snapshot, so a backup taken under load is complete and consistent, and a restore can prove
that it brought everything back.

What a backup cannot know is what happened after it. So a restore takes nothing for granted: sessions that were up are
asked, and messages that waited and may have left meanwhile become uncertain; none of them is sent a second time.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services import chain, media, messages, sessions, settings
from services.db.actor import SYSTEM
from services.db.embedded import packaged_binaries
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.db.migrate import align_passwords, known_revisions, migrate
from services.errors import BackupError, ConfigurationError, MediaUnavailable

log = structlog.get_logger(__name__)

FORMAT = 1
MANIFEST, DUMP, SECRETS, MEDIA = "manifest.json", "database.dump", "secrets/", "media/"
CHUNK = 1 << 20
# What Debian and its kin install beside the PATH.
INSTALLED = Path("/usr/lib/postgresql")
SECRET_NAME = re.compile(r"[a-z][a-z_]{0,62}")
# From this version on pg_restore sets `transaction_timeout`, which an older server refuses.
UNKNOWN_BEFORE = 17
# `services.media.path_of`, whose last part is the content's own SHA-256.
MEDIA_PATH = re.compile(r"[0-9a-f-]{36}/[0-9a-f]{2}/(?P<sha256>[0-9a-f]{64})")
# A line of `pg_dump --verbose` and of `pg_restore --verbose` about to move a table's rows.
TABLE_LINE = re.compile(r'(?:dumping contents of|processing data for) table "(?P<name>.+)"')
# An installation is empty for as long as these are.
FIRST_TABLES = ("auth.users", "public.whatsapp_sessions", "public.events")

# What would queue by itself what may have been queued after the backup: its owner resumes it.
HELD = (
    "update public.campaigns set state = 'pausada', updated_at = now() where state = 'ativa'",
    "update public.schedules set paused_at = now(), look_at = null, updated_at = now()"
    " where paused_at is null and ended_at is null and next_at <= now()",
)

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


# --- making one -------------------------------------------------------------------------------------------------------


def create(path: Path, on_progress: Progress | None = None) -> Manifest:
    """Write the archive of this installation to `path` (mode 600), while everything goes on working.

    It appears under its name only once it is complete. Raises BackupError where the file exists, the owner in
    `DATABASE_URL` cannot read everything, the users are Supabase's, or a program fails.
    """
    if path.exists():
        raise BackupError(f"{path} exists already: a backup overwrites nothing")
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Made here and not by the zip: nobody else may read it, not even while it grows.
        with _snapshot() as snapshot, _private(staged) as file:
            manifest = _write(file, snapshot, on_progress or _silently)
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
def _snapshot() -> Iterator[_Snapshot]:
    try:
        with psycopg.connect(_owner_url(), connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("set idle_in_transaction_session_timeout = 0")
            _refuse_half_a_backup(connection)
            name = _one(connection, "select pg_export_snapshot()")
            yield _Snapshot(name, connection, _counted(connection))
    except psycopg.Error as error:
        raise BackupError(f"the database broke off: {type(error).__name__}") from error


def _refuse_half_a_backup(connection: psycopg.Connection) -> None:
    """Row level security would leave rows out without a word, and users that are not ours would stay behind."""
    if _one(connection, "select to_regclass('public.audit_head') is null"):
        raise BackupError("there is nothing to back up: this database has no schema of ours yet")
    if _one(connection, "select bool_or(row_security_active(c.oid)) from pg_class c where c.relkind in ('r', 'p')"
                        " and c.relnamespace::regnamespace::text in ('public', 'app', 'jobs', 'auth')"):  # fmt: skip
        raise BackupError(
            "the owner in DATABASE_URL does not see every row: call this with the address of a role that has bypassrls"
        )
    if not _one(connection, "select pg_has_role(relowner, 'member') from pg_class where oid = 'auth.users'::regclass"):
        raise BackupError("the users belong to Supabase: use its own backups, which hold users and tables together")


def _counted(connection: psycopg.Connection) -> Manifest:
    tables = connection.execute(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^(pg_|information_schema)' order by 1"
    ).fetchall()
    # Names come from the catalogue, quoted by it.
    rows = {name: int(_one(connection, f"select count(*) from {name}")) for (name,) in tables}
    server = connection.info.server_version // 10_000
    head = _one(connection, "select encode(hash, 'hex') from public.audit_head")
    revision = _one(connection, "select version_num from public.alembic_version")
    taken = _one(connection, "select now()").astimezone(UTC).isoformat()
    return Manifest(taken, revision, server, _major(_program("pg_dump", server)), _logins(), rows, head)


def _write(file: IO[bytes], snapshot: _Snapshot, on_progress: Progress) -> Manifest:
    files: dict[str, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        files[DUMP] = _dump(archive, snapshot, on_progress)
        for secret in sorted(_secrets().iterdir()):
            if SECRET_NAME.fullmatch(secret.name):
                content = secret.read_bytes()
                archive.writestr(SECRETS + secret.name, content)
                files[SECRETS + secret.name] = hashlib.sha256(content).hexdigest()
        media, missing = _copy_media(archive, snapshot, on_progress)
        manifest = replace(snapshot.manifest, files=files, media=media, missing=tuple(missing))
        archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
    return manifest


def _dump(archive: zipfile.ZipFile, snapshot: _Snapshot, on_progress: Progress) -> str:
    """pg_dump's output as it comes, so that no second copy of the database lies about. Returns its SHA-256."""
    digest = hashlib.sha256()
    program = _program("pg_dump", snapshot.manifest.server)
    arguments = ["--format=custom", "--verbose", f"--snapshot={snapshot.name}", *_connection()]
    with _running([program, *arguments], stdout=subprocess.PIPE) as process:
        watcher = _watching(process, snapshot.manifest.rows, on_progress)
        assert process.stdout is not None
        with archive.open(DUMP, "w", force_zip64=True) as out:
            while chunk := process.stdout.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        watcher.finish(process, "pg_dump")
    return digest.hexdigest()


def _copy_media(archive: zipfile.ZipFile, snapshot: _Snapshot, on_progress: Progress) -> tuple[int, list[str]]:
    """Every file that a row of the snapshot names. One that is gone meanwhile, or damaged, is listed, not made up."""
    rows = snapshot.connection.execute("select user_id, sha256 from public.media order by 1, 2").fetchall()
    missing: list[str] = []
    for number, (user_id, sha256) in enumerate(rows):
        path = media.path_of(user_id, bytes(sha256))
        on_progress(number, len(rows), MEDIA + path)
        try:
            content = media.stored(path)
        except MediaUnavailable:
            content = b""
        if hashlib.sha256(content).digest() == bytes(sha256):
            archive.writestr(MEDIA + path, content)
        else:
            missing.append(path)
    return len(rows) - len(missing), missing


# --- going back to one ------------------------------------------------------------------------------------------------


def restore(path: Path, on_progress: Progress | None = None) -> Manifest:
    """Make this installation, which must be empty, the one in the archive, and bring it up to the newest schema.

    Everything is checked before anything changes, and the result is compared with the manifest. Raises BackupError
    where the archive is damaged or of a newer release, the database is not empty, its PostgreSQL is older, or the
    result differs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _checked(archive)
            _refuse_a_database_in_use(manifest)
            _put_secrets(archive)
            # The database last: until its one transaction commits, everything can be tried again.
            _put_media(archive, manifest, on_progress or _silently)
            _put_database(archive, manifest, on_progress or _silently)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise BackupError(f"{path}: {_reason(error)}") from None
    except psycopg.Error as error:
        raise BackupError(f"the database broke off: {type(error).__name__}") from error
    _compare(manifest)
    migrate(_owner_url())
    _doubt(datetime.fromisoformat(manifest.taken_at))
    log.info("backup_restored", rows=sum(manifest.rows.values()), taken_at=manifest.taken_at)
    return manifest


def _checked(archive: zipfile.ZipFile) -> Manifest:
    """The manifest, once every part has proved to be what it says."""
    try:
        read = json.loads(archive.read(MANIFEST))
        manifest = Manifest(**{**read, "logins": tuple(read["logins"]), "missing": tuple(read["missing"])})
    except (KeyError, TypeError, ValueError):
        raise BackupError(f"{archive.filename} is no backup of an installation") from None
    if manifest.format != FORMAT:
        raise BackupError(f"{archive.filename} was made by a newer release: update first")
    contents = _media_in(archive)
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
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except zipfile.BadZipFile:  # the zip's own sum is wrong already
        return ""
    return digest.hexdigest()


def _refuse_a_database_in_use(manifest: Manifest) -> None:
    if manifest.logins != _logins():
        raise BackupError(f"the login roles must be called {' and '.join(manifest.logins)}, as where it was taken")
    with psycopg.connect(_owner_url(), connect_timeout=CONNECT_TIMEOUT_SECONDS) as owner:
        for table in FIRST_TABLES:
            if _one(owner, "select to_regclass(%s) is not null", table) and _one(
                owner,
                f"select exists (select from {table})",
            ):
                raise BackupError(f"this installation is in use ({table} has rows): restore into an empty database")
        server = owner.info.server_version // 10_000
    if server < manifest.server:
        raise BackupError(f"the backup is of PostgreSQL {manifest.server}, this server is an older one ({server})")
    if manifest.revision not in known_revisions():
        raise BackupError("the backup was made by a newer release: update first")


def _put_secrets(archive: zipfile.ZipFile) -> None:
    """The secrets of then: the sign-ins, the login roles' passwords and the sandbox's tokens hang on them."""
    folder = _secrets()
    for name in archive.namelist():
        secret = name.removeprefix(SECRETS)
        if name.startswith(SECRETS) and SECRET_NAME.fullmatch(secret):
            staged = folder / f".{secret}.{os.getpid()}"
            with _private(staged) as file:
                file.write(archive.read(name))
            staged.replace(folder / secret)
    settings.get.cache_clear()


def _put_database(archive: zipfile.ZipFile, manifest: Manifest, on_progress: Progress) -> None:
    # The roles belong to the server and are in no dump: the migrations make them. pg_restore then replaces the tables.
    migrate(_owner_url(), manifest.revision)
    align_passwords(_owner_url(), *_logins_urls())
    with psycopg.connect(_owner_url()) as owner:
        server = owner.info.server_version // 10_000
    program = _program("pg_restore", max(server, manifest.tools))
    arguments = ["--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error", "--verbose"]
    with _running([program, *arguments, *_connection()], stdin=subprocess.PIPE) as process:
        watcher = _watching(process, manifest.rows, on_progress)
        assert process.stdin is not None
        try:
            with archive.open(DUMP) as dump, process.stdin as feed:
                shutil.copyfileobj(dump, feed, CHUNK)
        except BrokenPipeError:
            pass  # it has given up: its last line says why
        watcher.finish(process, "pg_restore")


def _put_media(archive: zipfile.ZipFile, manifest: Manifest, on_progress: Progress) -> None:
    for number, name in enumerate(_media_in(archive)):
        on_progress(number, manifest.media, name)
        media.put_back(name.removeprefix(MEDIA), archive.read(name))


def _media_in(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if MEDIA_PATH.fullmatch(name.removeprefix(MEDIA))]


def _compare(manifest: Manifest) -> None:
    with psycopg.connect(_owner_url()) as owner:
        found = _counted(owner)
    wrong = sorted(name for name, count in manifest.rows.items() if found.rows.get(name) != count)
    if wrong:
        raise BackupError(f"not everything came back: {', '.join(wrong)}")
    verdict = chain.verify(SYSTEM)
    if not verdict.sound or verdict.head != manifest.head:
        raise BackupError(f"the audit log came back otherwise than it was written, from record {verdict.broken}")


def _doubt(taken_at: datetime) -> None:
    """What may have gone on after the backup was taken is no longer what the tables say."""
    with psycopg.connect(_owner_url()) as owner:
        for held in HELD:
            owner.execute(held)
    messages.doubt_since(taken_at)
    sessions.ask_everybody()


# --- programs and places ----------------------------------------------------------------------------------------------


class _Watcher:
    """Reads what a program says while it works: the table that it is at, and its last words."""

    def __init__(self, lines: IO[bytes], rows: dict[str, int], on_progress: Progress) -> None:
        self._lines, self._rows, self._on_progress = lines, rows, on_progress
        self._said = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self, process: "subprocess.Popen[bytes]", program: str) -> None:
        """Wait for the program's end. Raises BackupError with its last words where it failed."""
        self._thread.join()
        if process.wait():
            raise BackupError(f"{program} failed: {self._said}")
        total = sum(self._rows.values())
        self._on_progress(total, total, "")

    def _read(self) -> None:
        done, under_way, total = 0, 0, sum(self._rows.values())
        for line in self._lines:
            said = line.decode(errors="replace").strip()
            if "error:" in said or not self._said:
                self._said = said.partition("error: ")[2] or said
            if match := TABLE_LINE.search(said):
                done, under_way = done + under_way, self._rows.get(match["name"], 0)
                self._on_progress(done, total, match["name"])


def _watching(process: "subprocess.Popen[bytes]", rows: dict[str, int], on_progress: Progress) -> _Watcher:
    assert process.stderr is not None
    return _Watcher(process.stderr, rows, on_progress)


@contextmanager
def _running(command: list[Any], **pipes: Any) -> "Iterator[subprocess.Popen[bytes]]":
    password = conninfo_to_dict(_owner_url()).get("password")
    # Not in the arguments, which every account of the machine can read.
    secret = {"PGPASSWORD": str(password)} if password else {}
    environment = {**os.environ, "LC_ALL": "C", **secret}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()  # after its own end this does nothing; else it must not outlive whoever started it


def _connection() -> list[str]:
    given = {name: str(value) for name, value in conninfo_to_dict(_owner_url()).items() if name != "password"}
    return ["--no-password", f"--dbname={make_conninfo(**given)}"]


def _program(name: str, major: int) -> Path:
    """The oldest of the machine's programs that can read and write a server of that version."""
    on_path = shutil.which(name)
    folders = [*INSTALLED.glob("*/bin"), *([Path(on_path).parent] if on_path else [])]
    try:
        folders.append(packaged_binaries())
    except ConfigurationError:
        log.debug("no_packaged_programs")
    fitting = {_major(folder / name): folder / name for folder in folders if (folder / name).exists()}
    fit = (known for known in fitting if known >= major and (known >= UNKNOWN_BEFORE) == (major >= UNKNOWN_BEFORE))
    chosen = min(fit, default=None)
    if chosen is None:
        raise BackupError(f"no {name} for PostgreSQL {major} is installed; on Debian: postgresql-client-{major}")
    return fitting[chosen]


def _major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", said)[0])


def _owner_url() -> str:
    url = settings.get().database_url
    if url is None:
        raise ConfigurationError("DATABASE_URL is missing")
    return psycopg_url(url.get_secret_value())


def _logins_urls() -> tuple[str, str]:
    configured = settings.get()
    return configured.console_database_url.get_secret_value(), configured.system_database_url.get_secret_value()


def _logins() -> tuple[str, str]:
    console, system = (str(conninfo_to_dict(url).get("user")) for url in _logins_urls())
    return console, system


def _private(path: Path) -> IO[bytes]:
    """A new file that only its owner reads."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _secrets() -> Path:
    folder = settings.get().data_dir / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _one(connection: psycopg.Connection, query: str, *params: Any) -> Any:
    row = connection.execute(query, params or None).fetchone()
    return row[0] if row else None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "is no backup of an installation"


def _silently(_done: int, _of: int, _what: str) -> None:
    """Nobody watches."""
