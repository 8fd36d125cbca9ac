"""`python -m sandbox` as a process of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from sandbox.calls import make_token
from tests.support.contract_sandbox import eventually

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-of-the-process"


def _environment(folder: Path, **names: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WPP_", "SANDBOX_", "DATABASE_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder), **names}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.ConnectError:
        return False


def test_it_refuses_to_stand_in_beside_a_real_server(tmp_path: Path) -> None:
    environment = _environment(tmp_path, WPP_SERVER_URL="https://wpp.example.com", WPP_SERVER_TOKEN="x")
    command = [sys.executable, "-m", "sandbox"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "WPP_SERVER_URL" in done.stderr
    assert done.stdout == ""


def test_it_serves_logs_no_secret_and_dies_of_unhealthy(tmp_path: Path) -> None:
    port = _free_port()
    environment = _environment(tmp_path, SANDBOX_PORT=str(port), WPP_SERVER_TOKEN=SECRET)
    command = [sys.executable, "-m", "sandbox"]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        base = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(f"{base}/healthz"), "the process's first answer")
        assert httpx.post(f"{base}/api/user_a/{SECRET}/generate-token").status_code == 201
        bearer = {"Authorization": f"Bearer {make_token('user_a', SECRET, 4)}"}
        assert httpx.get(f"{base}/api/user_a/status-session", headers=bearer).status_code == 200
        httpx.get(f"{base}/unhealthy")
        output, _ = process.communicate(timeout=20)
        assert SECRET not in output
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
