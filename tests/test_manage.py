"""The command line and the Makefile, as a person calls them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import psycopg
import pytest

from services import settings
from services.db.actor import Actor
from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from services.errors import ConfigurationError
from tests.support.databases import Database
from tests.support.paths import ROOT
from tests.support.sessions import connected

Done = subprocess.CompletedProcess[str]
MANAGE = str(ROOT / "manage.py")
PASSWORD = "uma senha comprida"


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Done]:
    """Runs Python with no settings but the given ones, away from the checkout and whatever `.env` it has."""
    names = settings.variables()

    def run(*command: str, typed: str = "", **variables: str) -> Done:
        environment = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in names}
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT), **variables},
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short folder that the embedded server's account can pass."""
    folder = Path(tempfile.mkdtemp(prefix="mg-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "data"
    shutil.rmtree(folder)


def create_user(call: Callable[..., Done], email: str, typed: str, *options: str, **variables: str) -> Done:
    return call(MANAGE, "create-user", email, "--password-stdin", *options, typed=f"{typed}\n", **variables)


def test_it_creates_users_before_the_first_start_and_beside_a_running_installation(
    call: Callable[..., Done], data_dir: Path
) -> None:
    alone = create_user(call, "Ana@exemplo.com.br", PASSWORD, "--role", "admin", DATA_DIR=str(data_dir))
    assert (alone.returncode, alone.stderr) == (0, "")
    assert alone.stdout.startswith("Created Ana@exemplo.com.br (admin): ")
    server = EmbeddedPostgres(data_dir)
    assert not server.alive()  # it was started for the command alone
    with server:
        beside = create_user(call, "rui@exemplo.com.br", PASSWORD, "--name", "Rui", DATA_DIR=str(data_dir))
        assert (beside.returncode, beside.stderr) == (0, "")
        assert server.alive()
        with psycopg.connect(server.url()) as connection:
            found = connection.execute(
                "select email, raw_app_meta_data ->> 'role', raw_user_meta_data ->> 'name', encrypted_password"
                " from auth.users order by created_at"
            ).fetchall()
    assert [row[:3] for row in found] == [("ana@exemplo.com.br", "admin", None), ("rui@exemplo.com.br", "user", "Rui")]
    assert all(bcrypt.checkpw(PASSWORD.encode(), row[3].encode()) for row in found)
    assert PASSWORD not in alone.stdout + beside.stdout


@pytest.mark.parametrize(
    ("email", "typed", "reason"),
    [
        pytest.param("ANA@exemplo.com.br", PASSWORD, "Já existe um usuário com esse e-mail", id="duplicate"),
        pytest.param("rui@exemplo.com.br", "curta", "pelo menos 10 caracteres", id="weak", marks=pytest.mark.slow),
        pytest.param("rui@exemplo.com.br", "", "pelo menos 10 caracteres", id="empty", marks=pytest.mark.slow),
        pytest.param("rui", PASSWORD, "e-mail não é válido", id="email", marks=pytest.mark.slow),
    ],
)
def test_it_says_in_one_line_why_a_user_cannot_be_made(
    email: str, typed: str, reason: str, call: Callable[..., Done], database: Database, tmp_path: Path
) -> None:
    database.execute(
        "insert into auth.users (id, email, encrypted_password) values (gen_random_uuid(), 'ana@exemplo.com.br', '')"
    )
    done = create_user(call, email, typed, DATABASE_URL=database.url, DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert database.one("select count(*) from auth.users") == 1


def test_it_migrates_as_often_as_one_likes(call: Callable[..., Done], data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        for _ in range(2):
            done = call(MANAGE, "migrate", DATA_DIR=str(data_dir))
            assert (done.returncode, done.stdout, done.stderr) == (0, "The schema is up to date.\n", "")
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("select count(*) from public.alembic_version").fetchone() == (1,)


def test_it_says_what_is_past_its_retention_and_deletes_it_only_when_told(
    call: Callable[..., Done], database: Database, tmp_path: Path
) -> None:
    database.execute(
        "insert into security_events (kind, occurred_at) values ('x', now() - interval '1 year'), ('y', now())"
    )
    where = {"DATABASE_URL": database.url, "DATA_DIR": str(tmp_path / "data")}
    said = call(MANAGE, "cleanup", **where)
    assert (said.returncode, said.stderr) == (0, "")
    assert any(line.split()[:2] == ["security_events", "1"] for line in said.stdout.splitlines())
    assert database.one("select count(*) from security_events") == 2
    done = call(MANAGE, "cleanup", "--run", **where)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{said.stdout}Gone: security_events 1. Sessions postponed: 0.\n"
    assert database.execute("select kind from security_events") == [("y",)]


def test_it_counts_reports_anew(call: Callable[..., Done], database: Database, user: Actor, tmp_path: Path) -> None:
    session_id = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone) values (%s, %s, 'out', 'sent', '5511')",
        session_id, user.user_id,
    )  # fmt: skip
    database.execute("delete from report_dirty_buckets")
    done = call(MANAGE, "rebuild-reports", DATABASE_URL=database.url, DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (0, "Counted anew: 1 quarter hours of one person each.\n")
    assert database.one("select sum(sent) from report_buckets where span = 'quarter' and user_id is not null") == 1


def test_it_backs_up_and_restores_only_into_what_is_empty(
    call: Callable[..., Done], database: Database, tmp_path: Path
) -> None:
    create_user(call, "ana@exemplo.com.br", PASSWORD, DATABASE_URL=database.url, DATA_DIR=str(tmp_path / "data"))
    where = {"DATABASE_URL": database.url, "DATA_DIR": str(tmp_path / "data")}
    taken = call(MANAGE, "backup", "plushify.zip", **where)
    assert (taken.returncode, taken.stderr) == (0, "")
    assert taken.stdout.startswith("plushify.zip: ")
    assert (tmp_path / "plushify.zip").exists()
    refused = call(MANAGE, "restore", "plushify.zip", **where)
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert line == "error: this installation is in use (auth.users has rows): restore into an empty database"


def test_it_says_in_one_line_what_the_database_refuses_to_a_migration(database: Database) -> None:
    database.execute("update public.alembic_version set version_num = 'of-a-newer-release'")
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: the schema cannot be brought up to date: [^\n]+$"):
        migrate(database.url)


def test_it_quotes_no_password_when_a_migration_fails(database: Database) -> None:
    login = f"poor_{database.url.rpartition('t_')[2][:12]}"
    database.execute(f"create role {login} login")
    database.execute("update public.alembic_version set version_num = '0001'")
    with pytest.raises(ConfigurationError) as refused:
        migrate(database.url.replace("postgres@", f"{login}:sesame@"))
    database.execute(f"drop role {login}")
    assert "permission denied" in refused.value.detail
    assert "\n" not in refused.value.detail
    assert "sesame" not in refused.value.detail


def test_it_says_in_one_line_what_is_set_wrongly(call: Callable[..., Done]) -> None:
    done = call(MANAGE, "migrate", CONSOLE_PORT="85o1")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: CONSOLE_PORT: ")


def test_it_lists_its_commands(call: Callable[..., Done]) -> None:
    done = call(MANAGE, "--help")
    assert all(command in done.stdout for command in ("up", "migrate", "create-user"))


def test_the_sandbox_does_not_start_beside_a_real_server(call: Callable[..., Done], tmp_path: Path) -> None:
    real = {"WPP_SERVER_URL": "http://127.0.0.1:9", "WPP_SERVER_TOKEN": "sesame", "DATA_DIR": str(tmp_path)}
    done = call("-m", "sandbox", **real)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("sandbox: WPP_SERVER_URL is set")
    assert "sesame" not in line


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_alone_lists_the_targets() -> None:
    listed = [line.split()[1] for line in make().splitlines()]
    assert {"run", "test", "check", "bench", "help"} <= set(listed)
    assert all(len(line.split()) > 2 for line in make().splitlines())


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("run", ["-r requirements.txt", "manage.py up"]),
        ("test", ["-r requirements-dev.txt", "-m pytest"]),
        ("check", ["ruff check", "ruff format --check", "mypy"]),
        ("bench", ["-m bench"]),
    ],
)
def test_make_would_install_and_run(target: str, commands: list[str], tmp_path: Path) -> None:
    planned = make("-n", f"VENV={tmp_path}/venv", target)
    at = [planned.index(command) for command in commands]
    assert at == sorted(at)


def test_make_names_the_python_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", f"VENV={tmp_path}/venv", "PYTHON=false", "run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "error: Python 3.11 or newer is needed" in done.stdout


def test_what_the_ci_calls_is_a_sound_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    calls = [line for line in script.read_text().splitlines() if line.startswith("make ")]
    assert " ".join(calls).replace("make", "").split() == ["check", "test", "test-slow"]


def test_the_doctor_gives_each_point_a_line_and_the_exit_code_1_where_one_is_ill(
    call: Callable[..., Done], database: Database
) -> None:
    data_dir = os.environ["DATA_DIR"]
    done = call(MANAGE, "doctor", DATABASE_URL=database.url, DATA_DIR=data_dir, WEBHOOK_PORT="9")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert all(line.startswith(("ok     ", "fault  ")) for line in lines)
    assert any(line.startswith("ok     migrations: at ") for line in lines)
    assert "fault  receiver: does not answer /healthz -> start it: python webhook.py" in done.stdout


def test_the_doctor_says_in_a_line_that_no_database_answers(call: Callable[..., Done], tmp_path: Path) -> None:
    gone = "postgresql://plushify:sesame@127.0.0.1:1/none"
    done = call(MANAGE, "doctor", DATABASE_URL=gone, DATA_DIR=str(tmp_path), WEBHOOK_PORT="9")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("fault  database: cannot be reached")
    assert "sesame" not in done.stdout


def test_the_doctor_starts_nothing(call: Callable[..., Done], tmp_path: Path) -> None:
    done = call(MANAGE, "doctor", DATA_DIR=str(tmp_path / "data"), WEBHOOK_PORT="9")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("fault  database: none runs here")
    assert not (tmp_path / "data" / "postgres").exists()
