"""`manage.py check-server` as a person calls it: against a server that keeps to the contract, lies, or is away."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services import settings
from services.wppconnect import check, check_run, contract_facts
from services.wppconnect.check import CHECK_SESSION_NAME
from services.wppconnect.check_http import Caller
from services.wppconnect.contract_facts import Outcome, Report
from services.wppconnect.errors import WppUnreachable
from tests.support.contract_sandbox import SECRET, Sandbox, sandbox_with
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

CLOCK = 0.02

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def server() -> Iterator[Sandbox]:
    """A server that ends an unscanned start as the real one does, by a quicker clock."""
    with sandbox_with(clock_scale=CLOCK, auto_close=60.0) as running:
        yield running


def command(url: str, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "check-server", url, "--clock", str(CLOCK), *options]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    names = settings.variables()
    kept = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in names}
    return {**kept, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data"), **variables}


def call(folder: Path, url: str, *options: str, secret: str = SECRET, **variables: str) -> Done:
    return subprocess.run(
        command(url, "--secret-stdin", *options),
        cwd=folder, env=environment(folder, **variables), input=f"{secret}\n",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def names(done: Done, outcome: Outcome) -> set[str]:
    lines = [line.removeprefix(f"{outcome:<12}") for line in done.stdout.splitlines() if line.startswith(outcome)]
    return {
        name
        for name in contract_facts.FACTS
        for line in lines
        if line.startswith(f"{name}: {contract_facts.FACTS[name]}")
    }


def test_it_says_the_version_and_each_fact_and_leaves_nothing_running(server: Sandbox, tmp_path: Path) -> None:
    server.pair("user_other")
    done = call(tmp_path, server.base_url)
    assert done.stderr == ""
    assert done.stdout.startswith("version 2.10.4\n")
    assert names(done, Outcome.DIFFERS) == set(), done.stdout
    assert names(done, Outcome.HOLDS) == set(contract_facts.FACTS), done.stdout
    assert done.returncode == 0
    assert SECRET not in done.stdout
    sessions = {one["name"]: one["status"] for one in server.state()["sessions"]}
    assert sessions.pop("user_other") == "CONNECTED", "nobody else's is touched"
    assert sessions, "it has started one of its own"
    assert all(
        CHECK_SESSION_NAME.fullmatch(name) and status in (None, "CLOSED") for name, status in sessions.items()
    ), sessions


def test_it_exits_with_1_and_says_what_was_expected_and_answered_but_no_secret(server: Sandbox, tmp_path: Path) -> None:
    server.fault("other_answer", route="get-phone-number", status=404, body={"status": f"at {SECRET}", SECRET: 1})
    done = call(tmp_path, server.base_url)
    assert done.returncode == 1
    differing = {"never started: get-phone-number", "QR shown: get-phone-number"}
    assert names(done, Outcome.DIFFERS) == differing, done.stdout
    assert "expected: 404 application/json" in done.stdout
    assert 'answered: 404 application/json {"status": "text", "…": "number"}, status = at …' in done.stdout
    assert "word status (recorded Disconnected, now at …)" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def checked_at(server: Sandbox) -> Report:
    return check.check_server(server.base_url, SECRET, check.get_default_listen(server.base_url), clock=CLOCK)


@pytest.mark.parametrize(
    ("fault", "options", "differing", "said"),
    [
        (
            "other_answer",
            {"route": "check-connection-session", "body": {"connected": False}},
            {"never started: check-connection", "QR shown: check-connection", "ended unscanned: check-connection"},
            "ended unscanned: check-connection: missing status (recorded boolean, now -)",
        ),
        (
            "other_answer",
            {"route": "status-session", "body": {"status": "UNPAIRED", "qrcode": None, "version": "9.9.9"}},
            {
                *("no token", "bad token", "never started: status-session", "starting: status-session"),
                *("QR shown: status-session",),
            },
            "never started: status-session: word status (recorded CLOSED, now UNPAIRED)",
        ),
        (
            "other_answer",
            {"route": "generate-token", "status": 201, "body": {"status": "success", "token": "x", "full": "y"}},
            {"generate-token", "generate-token, wrong secret"},
            "generate-token: word token (recorded bcrypt(session + SECRET_KEY), now something else)",
        ),
        ("webhook_lost", {"event": "qrcode"}, {"a start shows its QR"}, "a start shows its QR: not posted qrcode"),
        (
            "stuck_initializing",
            {},
            {"QR shown: status-session"},
            "QR shown: status-session: word status (recorded QRCODE, now INITIALIZING)",
        ),
    ],
    ids=["other keys", "other words", "another token", "a lost webhook", "no QR"],
)
def test_it_tells_where_a_server_differs(
    server: Sandbox, fault: str, options: dict[str, Any], differing: set[str], said: str
) -> None:
    server.fault(fault, **options)
    report = checked_at(server)
    assert {fact.name for fact in report.of(Outcome.DIFFERS)} == differing
    assert said in [str(one) for fact in report.facts for one in fact.differences]


def test_it_does_not_call_a_difference_what_nobody_would_notice(server: Sandbox) -> None:
    """A newer version's key more."""
    server.fault(
        "other_answer", route="check-connection-session", body={"status": False, "message": "Disconnected", "new": 1}
    )
    assert {fact.name for fact in checked_at(server).of(Outcome.DIFFERS)} == set()


def test_it_does_not_call_a_difference_what_it_could_not_see(server: Sandbox) -> None:
    """A server that does not reach us, and a proxy that keeps healthz to itself."""
    server.fault("silent")
    server.fault("other_answer", route="healthz", status=403, body={})
    report = checked_at(server)
    unseen = {"a start shows its QR", contract_facts.WEBHOOK_CREDENTIALS, "nobody reads the QR", "healthz"}
    assert {fact.name for fact in report.of(Outcome.UNCHECKED)} == unseen
    assert {fact.name for fact in report.of(Outcome.DIFFERS)} == set()


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("http://127.0.0.1:21465", ("127.0.0.1", 0)),
        ("http://localhost:21465", ("127.0.0.1", 0)),
        ("http://[::1]:21465", ("127.0.0.1", 0)),
        ("https://wpp.example.com", None),
        ("http://127.example.com", None),
    ],
)
def test_it_listens_by_itself_for_a_server_on_this_machine_only(url: str, listen: tuple[str, int] | None) -> None:
    assert check.get_default_listen(url) == listen


def test_it_knows_a_configured_servers_secret_and_listens_where_it_is_told(server: Sandbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configured = {"WPP_SERVER_URL": server.base_url, "WPP_SERVER_TOKEN": SECRET}
    done = subprocess.run(
        command(server.base_url, "--listen", f"localhost:{port}"),
        cwd=tmp_path, env=environment(tmp_path, **configured), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert {"a start shows its QR", contract_facts.WEBHOOK_CREDENTIALS} <= names(done, Outcome.HOLDS), (
        done.stdout + done.stderr
    )


@pytest.mark.parametrize(
    ("options", "secret", "reason"),
    [
        pytest.param((), "another-secret", "does not take this SECRET_KEY", id="secret"),
        pytest.param((), "", "--secret-stdin", id="no secret", marks=pytest.mark.slow),
        pytest.param(
            ("--listen", "192.0.2.1:80"),
            SECRET,
            "cannot listen on 192.0.2.1:80",
            id="listen",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_it_exits_with_2_where_it_cannot_look(
    server: Sandbox, tmp_path: Path, options: tuple[str, ...], secret: str, reason: str
) -> None:
    done = call(tmp_path, server.base_url, *options, secret=secret)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert reason in line
    assert server.state()["sessions"] == [], "nothing was started"


def test_it_exits_with_2_where_nobody_answers(tmp_path: Path) -> None:
    done = call(tmp_path, "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the server does not answer (status-session: ConnectError)\n"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "wpp", "http://127.0.0.1:99999"])
def test_it_knows_no_server_at_what_is_no_address(url: str) -> None:
    with pytest.raises(WppUnreachable):
        check.check_server(url, SECRET)


def test_it_tidies_up_when_it_is_interrupted(tmp_path: Path) -> None:
    with sandbox_with(auto_close=60_000.0) as server:
        process = subprocess.Popen(
            command(server.base_url, "--secret-stdin"), cwd=tmp_path, env=environment(tmp_path),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            process.stdin.write(f"{SECRET}\n")
            process.stdin.close()
            wait_for(lambda: any(one["status"] == "QRCODE" for one in server.state()["sessions"]), what="a QR")
            process.send_signal(signal.SIGINT)
            process.wait(30)
            (left,) = server.state()["sessions"]
            assert left["status"] in (None, "CLOSED")
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()


def test_it_takes_up_the_name_that_an_earlier_check_has_left(server: Sandbox) -> None:
    """The token file of a name stays on a real server whatever is cleared: so there is one, not one more each time."""
    with Caller(server.base_url, SECRET, "check_0123456789") as caller:
        started = caller.api("POST", "start-session", {"webhook": check_run.CLOSED_ADDRESS})
        assert started.status == 200
        caller.api("POST", "close-session")
        known = caller.with_secret("GET", "", "show-all-sessions")
        assert check._find_leftover_name(caller, known) == "check_0123456789"
        caller.api("POST", "start-session", {"webhook": check_run.CLOSED_ADDRESS})
        assert check._find_leftover_name(caller, known) is None, "somebody else's check runs under that name"
