"""Checks a server against the contract over HTTP, by a throw-away session of its own that nobody scans.

Nothing is asked that could harm others. `clear-session-data` and `start-all` with a wrong secret are not: the server
answers 400 and acts all the same, and its second answer to one request may end another version's process.
`/unhealthy` is not asked either.

What it leaves: the server writes a token file at each start and keeps it after `clear-session-data`, so the name stays
in `show-all-sessions`. A later check takes such a name again, so there is only ever one of them.
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import bcrypt

from services.wppconnect import contract, contract_facts, errors
from services.wppconnect.check_http import Caller, Listener
from services.wppconnect.check_run import WEBHOOK_SECONDS, ContractRun, OnFact
from services.wppconnect.contract import Answer
from services.wppconnect.contract_facts import Difference, Fact, Outcome, Report
from services.wppconnect.contract_shapes import Part
from services.wppconnect.session_tokens import BCRYPT_BYTES, create_session_token

LOOPBACK_ADDRESS = re.compile(r"127(\.[0-9]{1,3}){3}")
CHECK_SESSION_NAME = re.compile(r"check_[0-9a-f]{10}")
UNKNOWN_PHONE = "5511999990000"
UNKNOWN_MESSAGE = f"false_{UNKNOWN_PHONE}@c.us_3EB0C0FFEE0000000000"
FIRST_QR_SECONDS = 40.0
UNSCANNED_END_SECONDS = 100.0
MIN_WAIT_SECONDS = 5.0  # where the clock is a stand-in's, the machine's own slowness still takes its time
MIN_WEBHOOK_SECONDS = 0.5
POLL_SECONDS = 0.2


def check_server(
    url: str, secret: str, listen: tuple[str, int] | None = None, on_fact: OnFact | None = None, clock: float = 1.0
) -> Report:
    """Hold a server against all of `contract_facts.FACTS`; two minutes at most.

    `listen`: host and port at which that server reaches this process, 0 for any free port; without it the facts about
    webhooks are not checked. `on_fact` is told how many facts of how many are known.

    Whatever ends it, the session is closed and its data are cleared.

    Raises: WppUnreachable, WppUnauthorized where the server does not take the secret, and OSError where this process
        cannot listen there.
    """
    with Caller(url, secret, _create_session_name()) as caller, _open_listener(listen) as listener:
        walk = ContractRun(caller, listener, clock, on_fact)
        _check_reachable(caller)
        check_without_phone(walk)
        return Report(walk.version, tuple(_list_facts(walk)))


def is_on_this_machine(url: str) -> bool:
    """Whether an address is this machine's own, which nobody outside reaches."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or LOOPBACK_ADDRESS.fullmatch(host) is not None


def get_default_listen(url: str) -> tuple[str, int] | None:
    """Where to listen for a server on this machine; None for any other, of which nobody knows where it reaches us."""
    return ("127.0.0.1", 0) if is_on_this_machine(url) else None


@contextmanager
def _open_listener(listen: tuple[str, int] | None) -> Iterator[Listener | None]:
    if listen is None:
        yield None
        return
    with Listener(*listen) as listener:
        yield listener


def _create_session_name() -> str:
    return f"check_{secrets.token_hex(5)}"


def _check_reachable(caller: Caller) -> None:
    first = caller.api("GET", "status-session")
    if first.status is None:
        raise errors.WppUnreachable(f"status-session: {first.body}")
    if first.status == 401:
        raise errors.WppUnauthorized("status-session: 401")


def check_without_phone(walk: ContractRun) -> None:
    """Look at everything that nobody needs a phone for."""
    _check_tokens(walk)
    _check_never_started(walk)
    known = walk.hold("show-all", walk.caller.with_secret("GET", "", "show-all-sessions"))
    walk.caller.session = _find_leftover_name(walk.caller, known) or walk.caller.session
    try:
        _check_unscanned(walk)
    finally:
        _clean_up(walk)


def _check_tokens(walk: ContractRun) -> None:
    caller = walk.caller
    session, wrong = caller.session, secrets.token_hex(16)
    walk.hold("no token", caller.ask("GET", f"/api/{session}/status-session"))
    walk.hold("bad token", caller.api("GET", "status-session", token=create_session_token(session, wrong)))
    walk.hold("unknown route", caller.api("POST", "send-text", {}))
    made = walk.hold("generate-token", caller.with_secret("POST", f"{session}/", "generate-token"))
    if made.status == 201 and not _is_token_of(made.body.get("token"), session, caller.secret):
        other = Difference("generate-token", "token", Part.WORD, "bcrypt(session + SECRET_KEY)", "something else")
        walk.note("generate-token", "bcrypt(session + SECRET_KEY)", "something else", [other])
    walk.hold("generate-token, wrong secret", caller.with_secret("POST", f"{session}/", "generate-token", wrong))
    health = caller.ask("GET", "/healthz")
    if health.status == 200:
        walk.hold("healthz", health)
    else:
        walk.leave_out("healthz", "kept shut by something in front of the server")
    walk.hold("show-all, wrong secret", caller.with_secret("GET", "", "show-all-sessions", wrong))


def _is_token_of(token: object, session: str, secret: str) -> bool:
    digest = str(token).replace("_", "/").replace("-", "+").encode()
    try:
        return bcrypt.checkpw((session + secret).encode()[:BCRYPT_BYTES], digest)
    except ValueError:
        return False


def _check_never_started(walk: ContractRun) -> None:
    api = walk.caller.api
    text = {"phone": UNKNOWN_PHONE, "message": "check", "isGroup": False}
    walk.hold("never started: status-session", api("GET", "status-session"))
    walk.hold("never started: check-connection", api("GET", "check-connection-session"))
    walk.hold("never started: close-session", api("POST", "close-session"))
    walk.hold("never started: logout-session", api("POST", "logout-session"))
    walk.hold("never started: get-phone-number", api("GET", "get-phone-number"))
    walk.hold("never started: send-message", api("POST", "send-message", text))
    walk.hold("never started: list-chats", api("POST", "list-chats", {}))
    walk.hold("never started: pn-lid", api("GET", f"contact/pn-lid/{UNKNOWN_PHONE}@c.us"))
    walk.hold("never started: get-media-by-message", api("GET", f"get-media-by-message/{UNKNOWN_MESSAGE}"))


def _find_leftover_name(caller: Caller, known: Answer) -> str | None:
    """A name that an earlier check left behind and nobody uses now."""
    listed = known.body.get("response") if isinstance(known.body, dict) else None
    for name in listed if isinstance(listed, list) else ():
        if isinstance(name, str) and CHECK_SESSION_NAME.fullmatch(name):
            state = caller.api("GET", "status-session", session=name)
            if contract.get_value_at(state.body, "status") == "CLOSED":
                return name
    return None


def _check_unscanned(walk: ContractRun) -> None:
    begun = time.monotonic()
    if start_session(walk):
        _check_shown_qr(walk)
        _check_first_webhooks(walk)
        _check_unscanned_end(walk, begun)


def start_session(walk: ContractRun) -> bool:
    """Start the session and look at it until its QR is shown; False where none was in time."""
    begun = time.monotonic()
    walk.hold("start-session", walk.caller.api("POST", "start-session", walk.start_body))
    while True:
        answer = walk.caller.api("GET", "status-session")
        said, waited = contract.get_value_at(answer.body, "status"), time.monotonic() - begun
        if said == "QRCODE" or waited > max(FIRST_QR_SECONDS * walk.clock, MIN_WAIT_SECONDS):
            walk.hold("QR shown: status-session", answer)
            version = contract.get_value_at(answer.body, "version")
            walk.version = walk.clean(version) if isinstance(version, str) else None
            return bool(said == "QRCODE")
        if said != "CLOSED" or waited > 1.0:  # the start may not have begun yet
            walk.hold("starting: status-session", answer)
        time.sleep(POLL_SECONDS * walk.clock)


def _check_shown_qr(walk: ContractRun) -> None:
    api = walk.caller.api
    text = {"phone": UNKNOWN_PHONE, "message": "check", "isGroup": False}
    walk.hold("QR shown: start-session", api("POST", "start-session", walk.start_body))
    walk.hold("QR shown: qrcode-session", api("GET", "qrcode-session"))
    walk.hold("QR shown: check-connection", api("GET", "check-connection-session"))
    walk.hold("QR shown: send-message", api("POST", "send-message", text))
    walk.hold("QR shown: logout-session", api("POST", "logout-session"))
    walk.hold("QR shown: get-phone-number", api("GET", "get-phone-number"))


def _check_first_webhooks(walk: ContractRun) -> None:
    if walk.listener is None or not walk.listener.wait(bool, WEBHOOK_SECONDS):
        return
    posts = walk.hold_posts("a start shows its QR", max(WEBHOOK_SECONDS * walk.clock, MIN_WEBHOOK_SECONDS))
    basic = all(post.authorized for post in posts)
    lost = Difference(contract_facts.WEBHOOK_CREDENTIALS, "Authorization", Part.MISSING)
    walk.note(contract_facts.WEBHOOK_CREDENTIALS, "Basic", "Basic" if basic else "another", [] if basic else [lost])


def _check_unscanned_end(walk: ContractRun, begun: float) -> None:
    deadline = begun + max(UNSCANNED_END_SECONDS * walk.clock, MIN_WAIT_SECONDS)
    answer = walk.caller.api("GET", "status-session")
    while contract.get_value_at(answer.body, "status") != "CLOSED" and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        answer = walk.caller.api("GET", "status-session")
    if walk.taken:
        walk.hold_posts("nobody reads the QR", lead=begun)
    walk.hold("ended unscanned: status-session", answer)
    walk.hold("ended unscanned: check-connection", walk.caller.api("GET", "check-connection-session"))


def _clean_up(walk: ContractRun) -> None:
    caller = walk.caller
    state = caller.api("GET", "status-session")
    if contract.get_value_at(state.body, "status") not in (None, "CLOSED"):
        caller.api("POST", "close-session")
    walk.hold("clear-session-data", caller.with_secret("POST", f"{caller.session}/", "clear-session-data"))


def _list_facts(walk: ContractRun) -> Iterator[Fact]:
    for name in contract_facts.FACTS:
        why = (
            "no webhook has arrived"
            if name in contract.get_recorded_posts() or name == contract_facts.WEBHOOK_CREDENTIALS
            else ""
        )
        yield walk.facts.get(name) or Fact(name, Outcome.UNCHECKED, answered=why or "not reached")
