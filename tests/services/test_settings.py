"""The settings: where each value comes from, and what is said about a wrong one."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from services import settings
from services.errors import ConfigurationError
from tests.support.paths import ROOT

KEY = "k" * 32


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without `.env` and an environment without settings; secrets go to its `data`."""
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"CONSOLE_PORT": "85o1"}, "CONSOLE_PORT: "),
        ({"WEBHOOK_PORT": "70000"}, "WEBHOOK_PORT: "),
        ({"SANDBOX_PORT": "0"}, "SANDBOX_PORT: "),
        ({"COOKIE_SECURE": "perhaps"}, "COOKIE_SECURE: "),
        ({"SEND_PACE_SECONDS": "-1"}, "SEND_PACE_SECONDS: "),
        ({"SEND_PACE_SECONDS": "inf"}, "SEND_PACE_SECONDS: "),
        ({"SEND_CONCURRENCY": "0"}, "SEND_CONCURRENCY: "),
        ({"LOG_LEVEL": "chatty"}, "LOG_LEVEL: must be one of DEBUG"),
        ({"AUTH_COOKIE_KEY": "sesame"}, "AUTH_COOKIE_KEY must have at least 32 bytes"),
        ({"WPP_SERVER_URL": "10.0.0.5:21465", "WPP_SERVER_TOKEN": "sesame"}, "WPP_SERVER_URL: must be an http:// or"),
        ({"WPP_SERVER_URL": "http://h:x", "WPP_SERVER_TOKEN": "sesame"}, "WPP_SERVER_URL: "),
        ({"WPP_SERVER_URL": "http://h,", "WPP_SERVER_TOKEN": "sesame"}, "WPP_SERVER_URL: must be an http:// or"),
        ({"WPP_SERVER_URL": ",", "WPP_SERVER_TOKEN": "sesame"}, "WPP_SERVER_URL: must be an http:// or"),
        ({"WPP_SERVER_URL": "http://h"}, "WPP_SERVER_TOKEN is missing"),
        (
            {"WPP_SERVER_URL": "http://a,http://b,http://c", "WPP_SERVER_TOKEN": "sesame,open"},
            "WPP_SERVER_TOKEN lists 2 secrets for 3 servers",
        ),
        (
            {"WPP_SERVER_URL": "http://a,http://b", "WPP_SERVER_TOKEN": "sesame,"},
            "WPP_SERVER_TOKEN lists 1 secrets for 2 servers",
        ),
        ({"PUBLIC_WEBHOOK_URL": "console.example.com"}, "PUBLIC_WEBHOOK_URL: must be an http:// or"),
        ({"ALERT_WEBHOOK_URL": "sesame"}, "ALERT_WEBHOOK_URL: must be an http:// or"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, proxy"}, "TRUSTED_PROXIES: "),
        ({"RATE_LIMIT_SIGN_IN": "often"}, "RATE_LIMIT_SIGN_IN: "),
        ({"REPORT_TIME_ZONE": "Brazil/Nowhere"}, "REPORT_TIME_ZONE: must be a time zone"),
        ({"HEALTH_NUMBERS": "+55 11 99999-0000, 123"}, "HEALTH_NUMBERS: must list full numbers"),
        ({"CLEANUP_MEDIA_DAYS": "36501"}, "CLEANUP_MEDIA_DAYS: "),
        ({"JWT_SECRET": "sesame"}, "JWT_SECRET must have at least 32 bytes"),
        ({"CAMPAIGN_OPENS": "20:00"}, "CAMPAIGN_OPENS must be before CAMPAIGN_CLOSES"),
        ({"DATABASE_URL": "mysql://u:sesame@h/d"}, "DATABASE_URL: must be a postgresql:// address"),
        ({"DATABASE_URL": "host=h password=sesame"}, "DATABASE_URL: must be a postgresql:// address"),
        ({"DATABASE_URL": "postgresql://"}, "DATABASE_URL: must be a postgresql:// address"),
        ({"DATABASE_URL": "postgresql://u:sesame@h:99999/d"}, "DATABASE_URL: is not a well-formed address"),
        # Unencoded passwords, each of which libpq would quote in its complaint or send to a name server.
        ({"DATABASE_URL": "postgresql://u:ses@me@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"DATABASE_URL": "postgresql://u:ses/ame@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"DATABASE_URL": "postgresql://u:12/sesame@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"DATABASE_URL": "postgresql://u:12?sesame@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"DATABASE_URL": "postgresql://u:ses#ame@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"DATABASE_URL": "postgresql://u:sesame%zz@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"DATABASE_URL": "postgresql://u:[sesame@h/d"}, "DATABASE_URL: is not a well-formed address"),
        ({"CONSOLE_DATABASE_URL": "sesame"}, "CONSOLE_DATABASE_URL: must be a postgresql:// address"),
        ({"SYSTEM_DATABASE_URL": "sesame"}, "SYSTEM_DATABASE_URL: must be a postgresql:// address"),
        ({"AUTH_COOKIE_KEY_FILE": "/nowhere/key"}, "AUTH_COOKIE_KEY_FILE: cannot read /nowhere/key: No such file"),
        ({"ADMIN_EMAIL_FILE": "/"}, "ADMIN_EMAIL_FILE: cannot read /: Is a directory"),
        ({"DATABASE_URL_FILE": "/dev/null"}, "DATABASE_URL_FILE: /dev/null is empty"),
        ({"DATA_DIR": "/dev/null/data"}, "DATA_DIR: cannot keep secrets in /dev/null/data/secrets: Not a directory"),
    ],
)
def test_it_names_the_wrong_variable_in_one_line(
    variables: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        settings.load()
    assert refused.value.detail.startswith(line)
    assert "\n" not in refused.value.detail
    assert not any(part in refused.value.detail for part in ("sesame", "ame@", "ses", "me@"))


def test_it_names_every_wrong_variable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE_PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "x")
    with pytest.raises(ConfigurationError, match=r"^CONSOLE_PORT: .*; LOG_LEVEL: [^\n]*$"):
        settings.load()


def test_it_names_wrong_variables_of_several_groups_and_makes_no_secret_for_them(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")
    monkeypatch.setenv("CAMPAIGN_OPENS", "21:00")
    with pytest.raises(ConfigurationError, match=r"^JWT_SECRET must [^;]*; CAMPAIGN_OPENS must be before [^;]*$"):
        settings.load()
    assert not (bare / "data").exists()


def test_it_reads_each_variable_into_one_field_that_nothing_changes() -> None:
    found = settings.load(cleanup_media_days="3")
    assert found.retention.media_days == 3
    assert len(settings.variables()) == sum(len(type(group).model_fields) for _, group in found)
    with pytest.raises(ValidationError, match="frozen"):
        found.retention.media_days = 4  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        found.retention = settings.load().retention  # type: ignore[misc]


def test_it_names_a_file_that_is_no_text(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "key").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setenv("AUTH_COOKIE_KEY_FILE", str(bare / "key"))
    with pytest.raises(ConfigurationError, match=r"^AUTH_COOKIE_KEY_FILE: .*/key is not a text file$"):
        settings.load()


def test_it_names_a_dotenv_that_is_no_text(bare: Path) -> None:
    (bare / ".env").write_bytes("LOG_LEVEL=INFO\n".encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"^\.env: "):
        settings.load()


def test_it_reads_any_setting_from_a_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "auth_cookie_key": KEY,
        "wpp_server_token": "from-a-file",
        "database_url": "postgresql://h/d",
        "console_port": "9001",
        "admin_email": "eu@exemplo.com.br",
    }
    for name, value in values.items():
        (bare / name).write_text(f"{value}\n")
        monkeypatch.setenv(f"{name.upper()}_FILE", str(bare / name))
    found = settings.load()
    assert found.auth.cookie_key.get_secret_value() == KEY
    assert found.wppconnect.server_token.get_secret_value() == "from-a-file"
    assert found.database.url is not None
    assert found.database.url.get_secret_value() == "postgresql://h/d"
    assert (found.http.console_port, found.auth.admin_email) == (9001, "eu@exemplo.com.br")


def test_it_prefers_environment_then_file_then_dotenv_then_what_it_made(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def token() -> str:
        return settings.load().http.qr_webhook_verify_token.get_secret_value()

    made = token()
    assert made == (bare / "data" / "secrets" / "qr_webhook_verify_token").read_text()
    (bare / ".env").write_text("QR_WEBHOOK_VERIFY_TOKEN=from-dotenv\n")
    assert token() == "from-dotenv"
    (bare / "token").write_text("from-the-file\n")
    monkeypatch.setenv("QR_WEBHOOK_VERIFY_TOKEN_FILE", str(bare / "token"))
    assert token() == "from-the-file"
    monkeypatch.setenv("QR_WEBHOOK_VERIFY_TOKEN", "from-the-environment")
    assert token() == "from-the-environment"
    monkeypatch.setenv("QR_WEBHOOK_VERIFY_TOKEN", "")  # as compose files set what their user left out
    assert token() == "from-the-file"


def test_it_takes_the_name_of_a_file_from_dotenv(bare: Path) -> None:
    (bare / "key").write_text(KEY)
    (bare / ".env").write_text(f"AUTH_COOKIE_KEY_FILE={bare / 'key'}\n")
    assert settings.load().auth.cookie_key.get_secret_value() == KEY


def test_it_makes_secrets_once_each_of_its_own_and_readable_by_nobody_else(bare: Path) -> None:
    previous = os.umask(0)  # the modes must not depend on it
    try:
        first = settings.load(database_url="postgresql://h/d")
    finally:
        os.umask(previous)
    folder = bare / "data" / "secrets"
    files = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(files) == {
        "auth_cookie_key",
        "jwt_secret",
        "qr_webhook_verify_token",
        "wpp_server_token",
        "plushify_console_password",
        "plushify_system_password",
    }
    assert len(set(files.values())) == len(files)
    assert all(len(value) >= 43 for value in files.values())  # 256 bits
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    again = settings.load(database_url="postgresql://h/d")
    assert set(again.secret_values()) == set(first.secret_values()) == set(files.values())


def test_it_gives_racing_processes_the_same_secrets(bare: Path) -> None:
    script = (
        "import sys; from services import settings; found = settings.load(); print('ready', flush=True);"
        " sys.stdin.readline(); print(*(found.storage.generated_secret(f'raced_{n}') for n in range(300)), flush=True)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=bare,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = {racer.communicate()[0] for racer in racers}
    assert len(answers) == 1
    assert len(set(answers.pop().split())) == 300
    assert not [path for path in (bare / "data" / "secrets").iterdir() if path.name.startswith(".")]


def test_it_shows_no_secret_in_its_repr(bare: Path) -> None:
    found = settings.load(
        database_url=f"postgresql://owner:{quote('p@ss word')}@h/d",
        wpp_server_url="http://wpp.internal:21465",
        wpp_server_token="one-token",
        admin_password="admins-password",
        auth_cookie_key=KEY,
    )
    hidden = {*found.secret_values(), "p@ss word", "wpp.internal"}
    assert {"one-token", "admins-password", KEY, "p@ss word", quote("p@ss word")} <= hidden
    for shown in (repr(found), str(found), f"{found}", repr(found.database.url)):
        assert not [secret for secret in hidden if secret in shown]


def test_it_lists_the_secret_of_each_of_several_servers() -> None:
    found = settings.load(wpp_server_url="http://a:1/, http://b:2", wpp_server_token="first, second")
    assert found.wppconnect.servers() == {"http://a:1": "first", "http://b:2": "second"}
    assert list(found.wppconnect.servers()) == ["http://a:1", "http://b:2"]
    assert {"first", "second"} <= set(found.secret_values())
    shared = settings.load(wpp_server_url="http://a:1,http://b:2", wpp_server_token="only")
    assert shared.wppconnect.servers() == {"http://a:1": "only", "http://b:2": "only"}
    assert not shared.wppconnect.sandboxed
    alone = settings.load(sandbox_port=21999)
    assert alone.wppconnect.sandboxed
    assert list(alone.wppconnect.servers()) == ["http://127.0.0.1:21999"]


def test_it_reads_the_secret_of_each_server_from_its_own_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [bare / "one", bare / "two"]
    for path, secret in zip(files, ("first", "second"), strict=True):
        path.write_text(f"{secret}\n")
    monkeypatch.setenv("WPP_SERVER_URL", "http://a:1,http://b:2")
    monkeypatch.setenv("WPP_SERVER_TOKEN_FILE", f"{files[0]}, {files[1]}")
    found = settings.load()
    assert found.wppconnect.servers() == {"http://a:1": "first", "http://b:2": "second"}
    assert {"first", "second"} <= set(found.secret_values())
    files[1].write_text("sec,ond")
    with pytest.raises(ConfigurationError, match=r"WPP_SERVER_TOKEN_FILE: .*two: a comma"):
        settings.load()
    monkeypatch.setenv("WPP_SERVER_TOKEN_FILE", f"{files[0]},{bare / 'missing'}")
    with pytest.raises(ConfigurationError, match=r"WPP_SERVER_TOKEN_FILE: cannot read .*missing"):
        settings.load()
    monkeypatch.setenv("WPP_SERVER_TOKEN_FILE", str(files[0]))
    assert settings.load().wppconnect.servers() == {"http://a:1": "first", "http://b:2": "first"}


def test_it_refuses_a_password_in_a_servers_address() -> None:
    with pytest.raises(ConfigurationError, match="WPP_SERVER_URL") as refused:
        settings.load(wpp_server_url="http://me:hidden@a:1", wpp_server_token="x")
    assert "hidden" not in refused.value.detail


def test_it_points_the_server_at_its_own_receiver_unless_told_otherwise() -> None:
    assert settings.load(webhook_port=8099).http.public_webhook_url == "http://127.0.0.1:8099"
    assert settings.load(public_webhook_url="https://c.example.com/").http.public_webhook_url == "https://c.example.com"


@pytest.mark.parametrize(
    ("owner", "kept"),
    [
        (
            "postgresql://owner:pw@db.example.com:6543/shop?sslmode=require&options=-c%20statement_timeout%3D5s",
            {
                "host": "db.example.com",
                "port": "6543",
                "dbname": "shop",
                "sslmode": "require",
                "options": "-c statement_timeout=5s",
            },
        ),
        ("postgresql://owner@/shop?host=%2Fvar%2Frun%2Fpg&port=5433", {"host": "/var/run/pg", "port": "5433"}),
        ("postgresql:///shop?host=/tmp", {"host": "/tmp", "dbname": "shop"}),
        ("postgresql://owner@%2Fvar%2Frun%2Fpg/shop", {"host": "/var/run/pg", "dbname": "shop"}),
        ("postgresql://owner:p%40s%2Fs%3A%23@[::1]:5432/shop", {"host": "::1", "port": "5432", "dbname": "shop"}),
        ("postgres://postgres.ref:pw@aws-0.pooler.supabase.com:5432/postgres", {"host": "aws-0.pooler.supabase.com"}),
        ("postgresql+psycopg://owner:pw@h/shop", {"host": "h", "dbname": "shop"}),
        # In the query libpq lets it overrule what stands before the @.
        ("postgresql://h/shop?user=owner&password=pw&connect_timeout=3", {"host": "h", "connect_timeout": "3"}),
    ],
)
def test_it_derives_both_login_roles_addresses_from_the_owners(owner: str, kept: dict[str, str], bare: Path) -> None:
    found = settings.load(database_url=owner)
    assert found.database.url is not None
    assert found.database.url.get_secret_value().startswith("postgresql://")
    for url, role in (
        (found.database.console_url, "plushify_console"),
        (found.database.system_url, "plushify_system"),
    ):
        parts = conninfo_to_dict(url.get_secret_value())
        password = (bare / "data" / "secrets" / f"{role}_password").read_text()
        assert (parts.pop("user"), parts.pop("password")) == (role, password)
        assert kept.items() <= parts.items()
        assert not {"owner", "pw"} & set(map(str, parts.values()))


def test_it_keeps_a_given_login_roles_address_with_any_password() -> None:
    password = "ç@/:?#[]%&+ x"
    given = f"postgres://me:{quote(password, safe='')}@h/d"
    found = settings.load(database_url="postgresql://o:pw@h/d", console_database_url=given)
    parts = conninfo_to_dict(found.database.console_url.get_secret_value())
    assert (parts["user"], parts["password"]) == ("me", password)
    assert {password, quote(password, safe="")} <= set(found.secret_values())
