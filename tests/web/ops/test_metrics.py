"""Who may read `/metrics`: the token's holder, or while there is none only this machine, and not through a proxy."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.databases import Database

TOKEN = "the-token-of-prometheus"


@pytest.fixture
def guarded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_TOKEN", TOKEN)


def ask(port: int, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_it_answers_this_machine_with_what_prometheus_reads(companion: int) -> None:
    answer = ask(companion)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"plushify_database_up", "plushify_sessions", "plushify_deliveries", "plushify_wpp_call_seconds"} <= names


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "via", "x_real_ip"])
def test_it_is_not_there_for_whoever_comes_through_a_proxy(companion: int, header: str) -> None:
    answer = ask(companion, **{header: "203.0.113.9"})
    assert (answer.status_code, answer.json()["code"]) == (404, "nao_encontrado")


def test_it_answers_the_tokens_holder_through_any_proxy(guarded: None, companion: int) -> None:
    assert ask(companion, authorization=f"Bearer {TOKEN}", x_forwarded_for="203.0.113.9").status_code == 200


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}"])
def test_it_is_not_there_for_anybody_else_once_there_is_a_token(guarded: None, companion: int, given: str) -> None:
    assert ask(companion, **({"authorization": given} if given else {})).status_code == 404
