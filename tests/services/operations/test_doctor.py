"""What `manage.py doctor` finds: each point well on a sound installation, and ill once it is broken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.server import SandboxServer
from sandbox.state import VERSION
from services import settings
from services.db.actor import Actor
from services.fleet import commands
from services.operations import doctor
from services.platform import heartbeats
from tests.support.databases import Database
from tests.support.process_state import forget_process_state


def found(name: str) -> doctor.CheckResult:
    (finding,) = [one for one in doctor.run_checks() if one.name == name]
    return finding


def test_it_finds_a_sound_installation_well_but_for_what_does_not_run(
    database: Database, server: SandboxServer
) -> None:
    heartbeats.beat("worker")
    findings = {one.name: one.ok for one in doctor.run_checks()}
    assert [name for name, ok in findings.items() if not ok] == ["receiver"]
    assert list(findings) == [
        "database", "migrations", "console login", "system login", "row level security", "clock", "receiver",
        "worker", "inbox", "WPPConnect server 1", "PUBLIC_WEBHOOK_URL", "secrets",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "damage", "mend", "told"),
    [
        ("migrations", "update alembic_version set version_num = '0003'", "select 1", "at 0003"),
        (
            "row level security",
            "alter table messages no force row level security",
            "select 1",
            "not forced on: messages",
        ),
        (
            "console login",
            "alter role plushify_console bypassrls",
            "alter role plushify_console nobypassrls",
            "bypasses row level security",
        ),
        (
            "system login",
            "alter role plushify_system superuser",
            "alter role plushify_system nosuperuser",
            "is a superuser",
        ),
        (
            "console login",
            "grant service_role to plushify_console",
            "revoke service_role from plushify_console",
            "authenticated, service_role",
        ),
        (
            "system login",
            "alter table heartbeats owner to plushify_system",
            "alter table heartbeats owner to current_user",
            "owns 1 objects",
        ),
        (
            "console login",
            "alter role plushify_console nologin",
            "alter role plushify_console login",
            "cannot sign in",
        ),
    ],
)
def test_it_names_what_is_wrong_in_the_database(
    database: Database, name: str, damage: str, mend: str, told: str
) -> None:
    assert found(name).ok
    database.execute(damage)
    try:
        finding = found(name)
    finally:
        database.execute(mend)  # the roles are the whole cluster's
    assert not finding.ok
    assert told in finding.detail


def test_it_says_so_where_the_database_cannot_be_reached(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:sesame@127.0.0.1:1/none")
    forget_process_state()
    finding = found("database")
    assert not finding.ok
    assert "sesame" not in finding.detail
    assert not [one for one in doctor.run_checks() if one.name == "worker" and one.ok]


@pytest.mark.parametrize(
    ("servers", "address", "ok"),
    [
        ("", "", True),
        ("http://wpp.example.com", "", False),
        ("http://wpp.example.com", "http://localhost:8088", False),
        ("http://wpp.example.com,http://127.0.0.1:9", "", False),
        ("http://wpp.example.com", "https://console.example.com/hooks", True),
        ("http://127.0.0.1:9", "http://127.0.0.1:8088", True),
        ("http://127.0.0.1:9", "https://me@console.example.com", False),
    ],
)
def test_it_knows_an_address_that_servers_cannot_reach(
    database: Database, monkeypatch: pytest.MonkeyPatch, servers: str, address: str, ok: bool
) -> None:
    if servers:
        monkeypatch.setenv("WPP_SERVER_URL", servers)
        monkeypatch.setenv("WPP_SERVER_TOKEN", "sesame")
    if address:
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", address)
    forget_process_state()
    assert found("PUBLIC_WEBHOOK_URL").ok is ok


def test_it_finds_a_server_that_is_down_and_one_that_has_another_key(
    database: Database, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WPP_SERVER_URL", f"{server.url},http://127.0.0.1:9")
    monkeypatch.setenv("WPP_SERVER_TOKEN", "another key")
    forget_process_state()
    found_here = [(one.ok, one.detail) for one in doctor.run_checks() if one.name.startswith("WPPConnect server")]
    assert found_here == [(False, "answers, but does not take our key"), (False, "does not answer")]


def test_it_tells_a_servers_version_once_a_session_runs_there(
    database: Database, server: SandboxServer, user: Actor
) -> None:
    assert found("WPPConnect server 1").detail.endswith("version not told while no session runs there")
    commands.connect(user)
    assert found("WPPConnect server 1").detail == f"answers and takes our key, version {VERSION}"


@pytest.mark.parametrize(("seconds", "ok"), [(0.1, True), (-0.1, True), (5.0, False), (-5.0, False)])
def test_it_finds_a_clock_that_runs_apart(seconds: float, ok: bool) -> None:
    assert doctor.check_clock_skew(seconds).ok is ok


def test_it_names_a_next_step_wherever_something_is_ill_and_never_a_secret(
    database: Database, server: SandboxServer
) -> None:
    lines = [one.line() for one in doctor.run_checks()]
    assert all(" -> " in line for line in lines if line.startswith("fault"))
    assert not [line for line in lines for secret in settings.get().secret_values() if secret in line]
    assert server.url not in "".join(lines)


def test_it_finds_a_secret_that_others_may_read(database: Database, call_secret: Callable[[], Path]) -> None:
    path = call_secret()
    assert found("secrets").ok
    path.chmod(0o640)
    finding = found("secrets")
    assert (finding.ok, finding.detail) == (False, f"others may read: {path.name}")


@pytest.fixture
def call_secret() -> Callable[[], Path]:
    def make() -> Path:
        settings.get().storage.generated_secret("one")
        return settings.get().storage.data_dir / "secrets" / "one"

    return make


def test_it_finds_a_worker_that_does_not_beat(database: Database) -> None:
    assert not found("worker").ok
    heartbeats.beat("worker")
    assert found("worker").ok
