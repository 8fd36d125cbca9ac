"""What an archive holds, and when neither it nor a database is accepted. Under load: tests/faults/test_backup.py."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services import settings
from services.db.actor import Actor
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.operations import backup, backup_restore, postgres_programs
from services.operations.errors import BackupError
from services.platform import media_store
from services.security import audit_log
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sessions import connected

CONTENT = b"the bytes of a picture"


@pytest.fixture
def archive(database: Database, user: Actor, staff: Actor, tmp_path: Path) -> Path:
    """Of an installation with a session, a waiting message and a record of the audit log."""
    session_id = connected(database, user)
    for body, due in (("esperava", "now()"), ("para amanhã", "now() + interval '1 day'")):
        database.execute(
            "insert into messages (session_id, user_id, direction, state, phone, body, run_at)"
            f" values (%s, %s, 'out', 'queued', '5511987654321', %s, {due})",
            session_id, user.user_id, body,
        )  # fmt: skip
    media_store.save(user, CONTENT, "image/png")
    with transaction(staff) as tx:
        audit_log.record(tx, staff, "session.restart", str(user.user_id))
    path = tmp_path / "backup.zip"
    backup.create_backup(path)
    return path


@pytest.fixture
def elsewhere(
    archive: Path, cluster: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """An empty database, and this process's settings on it with a folder of its own."""
    name = f"t_{uuid4().hex}"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as owner:
        owner.execute(f"create database {name}")
        monkeypatch.setenv("DATABASE_URL", cluster.url(name))
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "anew"))
        forget_process_state()
        yield Database(cluster.url(name))
        forget_process_state()
        owner.execute(f"drop database {name} with (force)")


def test_it_brings_an_installation_back_with_its_rights_and_secrets(
    archive: Path, elsewhere: Database, database: Database, user: Actor, tmp_path: Path
) -> None:
    key = (tmp_path / "data" / "secrets" / "auth_cookie_key").read_text()
    taken = backup_restore.restore_backup(archive)
    kinds = "('public', 'app', 'jobs', 'auth')"
    rights = (
        "select c.oid::regclass::text, relrowsecurity::text, relforcerowsecurity::text, a.grantee::regrole::text,"
        " a.privilege_type from pg_class c, aclexplode(coalesce(relacl,"
        " acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner))) a"
        f" where relnamespace::regnamespace::text in {kinds} and relkind in ('r', 'S', 'v')"
        " union all select p.oid::regprocedure::text, prosecdef::text, null, a.grantee::regrole::text, a.privilege_type"
        " from pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a"
        f" where pronamespace::regnamespace::text in {kinds}"
        " union all select polname::text, polrelid::regclass::text, polroles::text,"
        " pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) from pg_policy"
        " order by 1, 2, 3, 4, 5"
    )
    assert elsewhere.execute(rights) == database.execute(rights)
    assert taken.rows["public.messages"] == elsewhere.one("select count(*) from messages") == 2
    assert settings.get().auth.cookie_key.get_secret_value() == key
    secret = tmp_path / "anew" / "secrets" / "auth_cookie_key"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert media_store.read(user, hashlib.sha256(CONTENT).digest()) == CONTENT
    with transaction(user) as tx:  # the console's login may still become what it was
        assert tx.exec_driver_sql("select count(*) from messages").scalar_one() == 2


def test_it_takes_nothing_for_granted_that_may_have_gone_on(archive: Path, elsewhere: Database) -> None:
    backup_restore.restore_backup(archive)
    states = dict(elsewhere.execute("select body, state from messages"))
    assert states == {"esperava": "uncertain", "para amanhã": "queued"}
    assert elsewhere.one("select sending_at is not null and reconcile_at is not null from messages"
                         " where state = 'uncertain'")  # fmt: skip
    assert elsewhere.one("select check_at <= now() from whatsapp_sessions")


def test_it_restores_into_an_empty_database_only(archive: Path, elsewhere: Database) -> None:
    backup_restore.restore_backup(archive)
    before = elsewhere.execute("select * from messages order by id")
    with pytest.raises(BackupError, match=r"in use.*restore into an empty database"):
        backup_restore.restore_backup(archive)
    assert elsewhere.execute("select * from messages order by id") == before


def test_it_finds_a_damaged_archive_before_anything_changes(archive: Path, elsewhere: Database, tmp_path: Path) -> None:
    for part, reason in (
        ("database.dump", "damaged"),
        ("secrets/auth_cookie_key", "damaged"),
        ("manifest.json", "no backup"),
        (next(name for name in zipfile.ZipFile(archive).namelist() if name.startswith("media/")), "damaged"),
    ):
        with pytest.raises(BackupError, match=reason):
            backup_restore.restore_backup(_copy(archive, tmp_path, {part: b"not what it was"}))
    assert elsewhere.one("select count(*) from pg_tables where schemaname = 'public'") == 0
    assert not (tmp_path / "anew" / "secrets" / "auth_cookie_key").exists()


def test_it_says_why_an_archive_does_not_fit(archive: Path, elsewhere: Database, tmp_path: Path) -> None:
    manifest = _manifest(archive)
    unfit: dict[str, dict[str, object]] = {
        "made by a newer release": {"format": 99},
        "by a newer release": {"revision": "9999"},
        "an older one": {"server": 99},
        "must be called other_console and other_system": {"logins": ["other_console", "other_system"]},
        "damaged": {"files": {}},
        "it does not hold what its manifest lists": {"media": 2},
    }
    for reason, said in unfit.items():
        changed = _copy(archive, tmp_path, {"manifest.json": json.dumps({**manifest, **said}).encode()})
        with pytest.raises(BackupError, match=reason):
            backup_restore.restore_backup(changed)
    assert elsewhere.one("select count(*) from pg_tables where schemaname = 'public'") == 0


@pytest.mark.parametrize("content", [b"", b"PGDMP and more", b"PK\x03\x04 cut off"])
def test_it_says_in_a_sentence_what_is_no_archive(database: Database, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "something"
    path.write_bytes(content)
    with pytest.raises(BackupError, match="is no backup of an installation"):
        backup_restore.restore_backup(path)
    with pytest.raises(BackupError, match="No such file"):
        backup_restore.restore_backup(tmp_path / "nowhere.zip")


def test_it_says_when_rows_are_missing_afterwards(archive: Path, elsewhere: Database, tmp_path: Path) -> None:
    manifest = _manifest(archive)
    manifest["rows"]["public.messages"] += 1
    with pytest.raises(BackupError, match=r"not everything came back: public\.messages"):
        backup_restore.restore_backup(_copy(archive, tmp_path, {"manifest.json": json.dumps(manifest).encode()}))


def test_it_overwrites_nothing_and_leaves_nothing_half_done(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(BackupError, match="exists already"):
        backup.create_backup(archive)
    assert archive.read_bytes() == before
    with pytest.raises(BackupError, match="No such file"):
        backup.create_backup(tmp_path / "nowhere" / "backup.zip")
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".backup")] == []


def test_it_lists_media_that_the_store_no_longer_gives(database: Database, user: Actor, tmp_path: Path) -> None:
    kept, gone, spoilt = (media_store.save(user, content, "image/png") for content in (b"one", b"two", b"three"))
    (tmp_path / "data" / "media" / gone.path).unlink()
    (tmp_path / "data" / "media" / spoilt.path).write_bytes(b"another")
    taken = backup.create_backup(tmp_path / "backup.zip")
    assert (taken.media, sorted(taken.missing)) == (1, sorted([gone.path, spoilt.path]))
    assert f"media/{kept.path}" in zipfile.ZipFile(tmp_path / "backup.zip").namelist()


def test_it_refuses_an_owner_who_does_not_see_every_row(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row level security would leave the others' rows out without a word."""
    poor = f"poor_{uuid4().hex[:12]}"
    database.execute(f"create role {poor} login; grant authenticated, service_role to {poor}")
    for name in ("public", "auth", "app", "jobs"):
        database.execute(
            f"grant usage on schema {name} to {poor}; grant select on all tables in schema {name} to {poor}"
        )
    monkeypatch.setenv("DATABASE_URL", database.url.replace("postgres@", f"{poor}@", 1))
    settings.get.cache_clear()
    with pytest.raises(BackupError, match="does not see every row"):
        backup.create_backup(tmp_path / "half.zip")
    database.execute(f"drop owned by {poor}; drop role {poor}")
    assert not (tmp_path / "half.zip").exists()


def test_it_refuses_where_the_users_are_somebody_elses(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"other_{uuid4().hex[:12]}"
    database.execute(f"create role {other} bypassrls login; grant usage on schema public, auth to {other}")
    for name in ("public", "auth"):
        database.execute(f"grant select on all tables in schema {name} to {other}")
    monkeypatch.setenv("DATABASE_URL", database.url.replace("postgres@", f"{other}@", 1))
    settings.get.cache_clear()
    with pytest.raises(BackupError, match="belong to Supabase"):
        backup.create_backup(tmp_path / "half.zip")
    database.execute(f"drop owned by {other}; drop role {other}")


def test_it_keeps_the_owners_password_out_of_the_process_list(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database.url.replace("postgres@", "postgres:sesame@", 1))
    settings.get.cache_clear()
    assert "sesame" not in " ".join(postgres_programs.connection_arguments())
    backup.create_backup(tmp_path / "backup.zip")


def test_it_says_what_the_database_program_said(
    archive: Path, elsewhere: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "pg_restore"
    broken.write_text("#!/bin/sh\ncat >/dev/null\necho 'pg_restore: error: out of luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(backup_restore, "find_program", lambda *_: broken)
    with pytest.raises(BackupError, match="pg_restore failed: out of luck"):
        backup_restore.restore_backup(archive)


def _manifest(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as read:
        found: dict[str, Any] = json.loads(read.read("manifest.json"))
    return found


def _copy(archive: Path, folder: Path, changed: dict[str, bytes]) -> Path:
    """The archive with other parts."""
    path = folder / "changed.zip"
    with zipfile.ZipFile(archive) as read, zipfile.ZipFile(path, "w") as write:
        for name in read.namelist():
            write.writestr(name, changed.get(name, read.read(name)))
    return path


def test_it_finds_programs_that_know_the_server(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    server = int(database.one("select current_setting('server_version_num')::integer / 10000"))
    assert shutil.which(str(postgres_programs.find_program("pg_dump", server)))
    monkeypatch.setattr(postgres_programs, "DEBIAN_FOLDER", Path("/nowhere"))
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    packaged = postgres_programs.get_major_version(postgres_programs.find_program("pg_dump", 17))
    assert packaged >= 17
    with pytest.raises(BackupError, match="no pg_dump for PostgreSQL 16"):  # its pg_restore would be refused there
        postgres_programs.find_program("pg_dump", 16)
    with pytest.raises(BackupError, match="no pg_dump for PostgreSQL 99"):
        postgres_programs.find_program("pg_dump", 99)
