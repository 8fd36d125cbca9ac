"""How many durable events a second the receiver takes, against plain inserts of `pgbench` on the same server."""

import base64
import json
import re
import statistics
import subprocess

from bench.http_load import Result, post
from bench.installation import BenchInstallation, figure, open_installation

CONNECTIONS = 64
PGBENCH_CLIENTS = 16
ROUNDS = 9
SECONDS = 2
NUMBER_DIGITS = 10
INSERT = "insert into bench_rows (body) values (repeat('x', 1000));\n"


def run() -> None:
    """Measure in turns, so that a slow moment of the machine hits both, and report the medians."""
    with open_installation() as installation, installation.running("webhook"):
        installation.execute("create table bench_rows (id bigint generated always as identity primary key, body text)")
        (installation.folder / "insert.sql").write_text(INSERT)
        user_id, secret = installation.session()
        _load(installation, f"user_{user_id}", secret, "warm", 1)
        inserts, loads = [], []
        for number in range(ROUNDS):
            inserts.append(_pgbench(installation))
            loads.append(_load(installation, f"user_{user_id}", secret, f"r{number}", SECONDS))
        _check(installation, loads)
    figure("webhook_per_s", statistics.median(load.per_second for load in loads), "events/s")
    figure("pgbench_per_s", statistics.median(inserts), "tx/s")
    ratios = [load.per_second / insert for load, insert in zip(loads, inserts, strict=True)]
    figure("webhook_vs_pgbench", statistics.median(ratios), "ratio")
    figure("webhook_p99_ms", statistics.median(load.percentile(0.99) for load in loads), "ms")


def _load(installation: BenchInstallation, session: str, secret: str, prefix: str, seconds: float) -> Result:
    credentials = base64.b64encode(f"wpp:{secret}".encode()).decode()
    before, after = _message(session).encode().split(b"NUMBER")
    marked = before + prefix.encode()
    head = (
        f"POST /functions/v1/whatsapp-qr-webhook/{session} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: axios/1.21.0\r\n"
        f"Authorization: Basic {credentials}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(marked) + NUMBER_DIGITS + len(after)}\r\n\r\n"
    )
    return post(installation.webhook_address, [head.encode() + marked], after, CONNECTIONS, seconds)


def _message(session: str) -> str:
    """An `onmessage` of 1 KB."""
    message = {
        "event": "onmessage",
        "session": session,
        "id": "false_5511999990000@c.us_3EB0NUMBER",
        "from": "5511999990000@c.us",
        "to": "5511888880000@c.us",
        "type": "chat",
        "body": "",
        "t": 1_700_000_000,
        "notifyName": "Fulano de Tal",
        "sender": {"id": "5511999990000@c.us", "name": "Fulano de Tal", "pushname": "Fulano"},
        "isGroupMsg": False,
        "chatId": "5511999990000@c.us",
        "fromMe": False,
    }
    message["body"] = "x" * (1024 - len(json.dumps(message)) - 8)
    return json.dumps(message)


def _pgbench(installation: BenchInstallation) -> float:
    done = subprocess.run(
        [
            installation.binaries / "pgbench",
            *("--no-vacuum", "--client", str(PGBENCH_CLIENTS), "--jobs", "2", "--time", str(SECONDS)),
            *("--file", installation.folder / "insert.sql", installation.url),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def _check(installation: BenchInstallation, loads: list[Result]) -> None:
    """Nothing that was answered may be missing, and nothing may have been refused."""
    ((stored, doubled),) = installation.execute(
        "select count(*), count(*) filter (where verdict = 'duplicate') from events"
    )
    answered = sum(len(load.latencies) for load in loads)
    refused = sum(load.refused for load in loads)
    assert int(str(stored)) >= answered, (stored, answered)
    assert (refused, doubled) == (0, 0), (refused, doubled)
    ((durable,),) = installation.execute("show synchronous_commit")
    assert durable == "on", durable


if __name__ == "__main__":
    run()
