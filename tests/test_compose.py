"""`compose.yaml` without Docker: that it fits together, keeps private what must be, and that its commands start."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from deploy.health import well
from services import settings
from tests.support.databases import Database
from tests.support.paths import ROOT
from tests.support.processes import free_ports, running_processes
from tests.support.waiting import wait_for

COMPOSE = ROOT / "compose.yaml"
CADDYFILE = ROOT / "deploy" / "Caddyfile"
# Variables of others, and of which program each is.
FOREIGN = {
    "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS",  # the postgres image
    "SECRET_KEY_FILE",  # deploy/wppconnect/server.js
    "PLUSHIFY_DOMAIN",  # deploy/Caddyfile
    "FORWARDED_ALLOW_IPS",  # uvicorn, inside Streamlit
}  # fmt: skip
OURS = ("migrate", "receiver", "worker", "console")
UPSTREAM = re.compile(r"reverse_proxy (\w+):(\d+)")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


@pytest.fixture(scope="module")
def parts(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_it_names_only_settings_that_there_are(parts: dict[str, dict[str, Any]]) -> None:
    known = set(settings.variables())
    known |= {f"{name}_FILE" for name in known} | FOREIGN
    for name, part in parts.items():
        assert set(part.get("environment", {})) <= known, name
    for variable in ("SECRET_KEY_FILE", "PLUSHIFY_DOMAIN"):
        where = {"SECRET_KEY_FILE": ROOT / "deploy" / "wppconnect" / "server.js", "PLUSHIFY_DOMAIN": CADDYFILE}
        assert variable in where[variable].read_text()


def test_it_refers_only_to_what_it_has(compose: dict[str, Any], parts: dict[str, dict[str, Any]]) -> None:
    for name, part in parts.items():
        assert set(part.get("networks", [])) <= set(compose["networks"]), name
        assert set(part.get("secrets", [])) <= set(compose["secrets"]), name
        assert set(part.get("depends_on", {})) <= set(parts), name
        for volume in part.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"], name
        for value in part.get("environment", {}).values():
            for secret in re.findall(r"/run/secrets/(\w+)", str(value)):
                assert secret in part["secrets"], name
            for host in re.findall(r"https?://(\w+):\d+", str(value)):
                assert host in parts, name
                assert set(part["networks"]) & set(parts[host]["networks"]) or name == "migrate", name
        for secret in re.findall(r"/run/secrets/(\w+)", str(part.get("command", ""))):
            assert secret in part["secrets"], name
    every = {volume for part in parts.values() for volume in part.get("networks", [])}
    assert every == set(compose["networks"])


def test_it_waits_for_what_it_needs(parts: dict[str, dict[str, Any]]) -> None:
    for name, part in parts.items():
        for needed, how in part.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in parts[needed], f"{name} waits for the health of {needed}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert parts[needed]["restart"] == "no"
    assert all("healthcheck" in part for name, part in parts.items() if name != "migrate")
    assert all("migrate" in parts[name]["depends_on"] for name in ("receiver", "worker", "console"))


def test_it_publishes_the_proxy_and_nothing_else(compose: dict[str, Any], parts: dict[str, dict[str, Any]]) -> None:
    assert [name for name, part in parts.items() if "ports" in part or "network_mode" in part] == ["caddy"]
    assert compose["networks"]["database"]["internal"] is True
    # Whoever reaches a WPPConnect server can end it: the proxy must not.
    assert not set(parts["caddy"]["networks"]) & set(parts["wppconnect"]["networks"])
    assert parts["wppconnect"]["networks"] == ["whatsapp"]
    assert parts["postgres"]["networks"] == ["database"]


def test_it_believes_forwarded_addresses_from_the_proxys_network_only(
    compose: dict[str, Any], parts: dict[str, dict[str, Any]]
) -> None:
    (edge,) = compose["networks"]["edge"]["ipam"]["config"]
    assert parts["receiver"]["environment"]["TRUSTED_PROXIES"] == edge["subnet"]
    assert parts["console"]["environment"]["FORWARDED_ALLOW_IPS"] == edge["subnet"]
    assert [name for name, part in parts.items() if "edge" in part["networks"]] == ["receiver", "console", "caddy"]


def test_it_writes_no_secret_down(compose: dict[str, Any], parts: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    made = _made_secrets(tmp_path)
    assert _made_secrets(tmp_path) == made  # what is there stays
    assert set(made) == set(compose["secrets"])
    assert made["database_password"] in made["database_url"]
    assert all(len(value) >= 64 for value in made.values())
    assert (tmp_path / "deploy" / "secrets").stat().st_mode & 0o777 == 0o700
    assert {one["file"] for one in compose["secrets"].values()} == {f"deploy/secrets/{name}" for name in made}
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text()
    written = {str(value) for part in parts.values() for value in part.get("environment", {}).values()}
    assert not any(re.search(r"://[^/]*:[^/]*@", value) for value in written)


def _made_secrets(root: Path) -> dict[str, str]:
    subprocess.run([root / "deploy" / "make-secrets"], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (root / "deploy" / "secrets").iterdir()}


def test_it_pins_every_image(parts: dict[str, dict[str, Any]]) -> None:
    dockerfiles = [ROOT / "Dockerfile", ROOT / "deploy" / "wppconnect" / "Dockerfile"]
    based_on = [
        line.split()[1] for path in dockerfiles for line in path.read_text().splitlines() if line[:5] == "FROM "
    ]
    taken = [part["image"] for part in parts.values() if "build" not in part]
    for image in based_on + taken:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.-]+)?", image), f"{image} moves by itself"


def test_its_image_holds_what_the_processes_need(parts: dict[str, dict[str, Any]]) -> None:
    listed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / path).exists() for path in listed)
    rooms = {"services", "demo", "ui", "pages", "web", "migrations", "sandbox", "locales", ".streamlit"}
    assert rooms <= set(listed)
    assert "data" not in listed
    assert ".env" not in listed
    for name in OURS:
        words = shlex.split(" ".join(parts[name]["command"])) + parts[name].get("healthcheck", {}).get("test", [])
        scripts = [word for word in words if word.endswith(".py")]
        assert scripts
        assert all(script in listed for script in scripts), name


def test_its_commands_are_those_of_the_readme(parts: dict[str, dict[str, Any]]) -> None:
    readme = (ROOT / "README.md").read_text()
    for name in OURS:
        assert _said(parts[name]["command"]) in readme, name


def _said(command: list[str]) -> str:
    """A command as the README says it."""
    if command[0] != "sh":
        return " ".join(command)
    found = re.search(r"exec (streamlit run app\.py)", command[2])
    assert found
    return found[1]


def test_the_proxys_upstreams_are_parts_of_it(parts: dict[str, dict[str, Any]]) -> None:
    upstreams = UPSTREAM.findall(CADDYFILE.read_text())
    assert {host for host, _port in upstreams} == {"receiver", "console"}
    ports = {"receiver": str(settings.variables()["WEBHOOK_PORT"].default), "console": "8501"}
    for host, port in upstreams:
        assert port == ports[host]
        assert "edge" in parts[host]["networks"]
    assert "--server.port 8501" in parts["console"]["command"][2]


def test_its_processes_start_and_are_well(
    parts: dict[str, dict[str, Any]], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own command and environment, on this machine's addresses; the proxy too where there is a Caddy."""
    webhook, console, door = free_ports(3)
    secrets = {"database_url": database.url, "wpp_server_token": "k" * 40, "streamlit_cookie_secret": "c" * 40}
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
    with running_processes(database.url, tmp_path, ("sandbox",)) as processes, contextlib.ExitStack() as stack:
        here = {
            "/run/secrets/": f"{tmp_path}/", "http://wppconnect:21465": processes.sandbox_url, "0.0.0.0": "127.0.0.1",
            "receiver:8088": f"127.0.0.1:{webhook}", "127.0.0.1:8088": f"127.0.0.1:{webhook}", "8501": str(console),
            "console:8501": f"127.0.0.1:{console}",
        }  # fmt: skip
        for name in OURS:
            environment = {key: _moved(value, here) for key, value in parts[name]["environment"].items()}
            environment |= {"WEBHOOK_PORT": str(webhook), "DATA_DIR": str(tmp_path / "volume")}
            stack.enter_context(_running(_moved_all(parts[name]["command"], here), environment, tmp_path / name))
        for name in ("receiver", "worker", "console"):
            _cmd, _python, _script, *arguments = parts[name]["healthcheck"]["test"]
            wait_for(partial(well, *_moved_all(arguments, here)), 60, f"{name} to be well")
        assert not well(f"http://127.0.0.1:{door}/")
        assert not well(f"http://127.0.0.1:{webhook}/healthz", "no such part")
        if shutil.which("caddy"):
            _through_the_proxy(stack, door, {**here, "console:8501": f"127.0.0.1:{console}"}, tmp_path)


def _through_the_proxy(stack: contextlib.ExitStack, door: int, here: dict[str, str], folder: Path) -> None:
    written = CADDYFILE.read_text().replace("{$PLUSHIFY_DOMAIN:localhost}", f"http://127.0.0.1:{door}")
    for host in ("receiver:8088", "console:8501"):
        written = written.replace(host, here[host])
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{written}")
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    stack.enter_context(_running(command, {"HOME": str(folder)}, folder / "caddy"))
    url = f"http://127.0.0.1:{door}"
    wait_for(lambda: well(f"{url}/_stcore/health"), 30, "the console through the proxy")
    assert httpx.get(f"{url}/metrics").status_code == 404
    assert httpx.get(f"{url}/metrics/").status_code == 404
    assert set(httpx.get(f"{url}/healthz").json()["parts"]) >= {"receiver", "worker", "database"}
    assert httpx.get(f"{url}/openapi.json").json()["openapi"]
    refused = httpx.post(f"{url}/functions/v1/enviar-mensagem-whatsapp", json={})
    assert refused.status_code == 401
    assert refused.headers["content-type"].startswith("application/json")
    assert (
        httpx.get(f"{url}/unhealthy").headers["content-type"].startswith("text/html")
    )  # Streamlit's page, no server's
    stream = f"ws://127.0.0.1:{door}/_stcore/stream"
    with connect(stream, subprotocols=[Subprotocol("streamlit")], origin=Origin(url)) as socket:
        assert socket.subprotocol == "streamlit"


def _moved(value: str, here: dict[str, str]) -> str:
    for there, place in here.items():
        value = str(value).replace(there, place)
    return value


def _moved_all(words: list[str], here: dict[str, str]) -> list[str]:
    return [_moved(word, here).replace("$$", "$") for word in words]


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """The command as it stands, with this environment's Python; one that ends by itself must have ended well."""
    names = set(settings.variables())
    around = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in names}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**around, **environment, "PATH": path}, stdout=out, stderr=out
        )
    try:
        if command[-1] == "migrate":
            assert process.wait(60) == 0, log.read_text()
        yield
        assert command[-1] == "migrate" or process.poll() is None, log.read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(30)
