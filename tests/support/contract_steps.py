"""What scenarios do to a session over and over."""

from collections.abc import Mapping
from typing import Any

from services.wppconnect import contract
from services.wppconnect.check_run import ContractRun
from services.wppconnect.contract import Answer
from tests.support.contract_phone import Phone
from tests.support.contract_sandbox import DEADLINE_SECONDS, eventually

# Seconds after what was awaited in which nothing more may come.
SETTLE = 0.5


def says(run: ContractRun) -> Any:
    """The word that the server has for the session now."""
    return contract.get_value_at(run.caller.api("GET", "status-session").body, "status")


def until(run: ContractRun, status: str) -> None:
    eventually(lambda: says(run) == status, status)


def start(run: ContractRun, **more: Any) -> Answer:
    return run.caller.api("POST", "start-session", {**run.start_body, **more})


def pass_over(run: ContractRun) -> None:
    """What was posted so far belongs to what was done before."""
    assert run.listener is not None
    run.taken += len(run.listener.wait(lambda posts: False, SETTLE, run.taken))


def pair(run: ContractRun, phone: Phone) -> None:
    """A connected session, of which all is announced."""
    start(run)
    until(run, "QRCODE")
    phone.scan()
    until(run, "CONNECTED")
    assert run.listener is not None
    run.listener.wait(lambda posts: any(post.kind.endswith("inChat") for post in posts), DEADLINE_SECONDS, run.taken)
    pass_over(run)


def ask(
    run: ContractRun, situation: str, method: str, route: str, body: Mapping[str, Any] | None = None, **more: Any
) -> Answer:
    """A call of the session's, held against the one recorded in a situation."""
    return run.hold(situation, run.caller.api(method, route, body, **more))


def id_of(answer: Answer) -> str:
    sent = answer.body.get("response") if isinstance(answer.body, dict) else None
    first = sent[0] if isinstance(sent, list) and sent else {}
    return str(first.get("id", "none")) if isinstance(first, dict) else "none"
