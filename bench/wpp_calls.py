"""What an authenticated call costs with the server's own kind of token and with ours, computed locally.

Against the sandbox, which checks real bcrypt on each call as the server does.
"""

import statistics
import time
import urllib.request
from collections.abc import Callable

import httpx

from bench.installation import figure
from sandbox.calls import make_token
from sandbox.server import running_sandbox
from sandbox.state import Config
from services.wppconnect.session_tokens import create_session_token

SESSION = "user_00000000-0000-4000-8000-000000000000"
SECRET = "bench-secret"
# generate-token hashes with bcrypt's default cost.
SERVER_COST = 10
CALLS = 60


def run() -> None:
    """Both tokens in turns, so that the machine's moods hit both; medians of 60 calls."""
    with running_sandbox(Config(secret=SECRET)) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        urllib.request.urlopen(f"{server.url}/healthz").close()
        slow = _caller(http, make_token(SESSION, SECRET, SERVER_COST))
        fast = _caller(http, create_session_token(SESSION, SECRET))
        pairs = [(_timed(slow), _timed(fast)) for _ in range(CALLS)]
    theirs = statistics.median(pair[0] for pair in pairs)
    ours = statistics.median(pair[1] for pair in pairs)
    figure("wpp_call_server_token_ms", theirs * 1000, "ms")
    figure("wpp_call_local_token_ms", ours * 1000, "ms")
    figure("wpp_call_speedup", theirs / ours, "ratio")


def _caller(http: httpx.Client, token: str) -> Callable[[], None]:
    def call() -> None:
        answer = http.get(f"/api/{SESSION}/status-session", headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()

    return call


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    run()
