"""A server held against the contract over HTTP, by a throw-away session of its own that nobody scans.

Nothing is asked that could harm others. `clear-session-data` and `start-all` with a wrong secret are not: the server
answers 400 and acts all the same, and its second answer to one request may end another version's process. `/unhealthy`
is not asked either.

What it leaves: the server writes a token file at each start and keeps it after `clear-session-data`, so that the name
stays in `show-all-sessions`. A later check takes such a name again, so that there is only ever one of them.
"""

import hmac
import json
import re
import secrets
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import quote, urlsplit

import bcrypt
import httpx

from services import errors
from services.wppconnect import contract
from services.wppconnect.client import BCRYPT_BYTES, KEEPALIVE_SECONDS, session_token
from services.wppconnect.contract import Answer, Difference, Fact, Outcome, Part, Post, Report

LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}")
OWN_NAME = re.compile(r"check_[0-9a-f]{10}")
# Where nobody listens (the discard port): an empty address would make the server post to the one of its configuration.
NOWHERE = "http://127.0.0.1:9/"
NOBODYS_PHONE = "5511999990000"
NOBODYS_MESSAGE = f"false_{NOBODYS_PHONE}@c.us_3EB0C0FFEE0000000000"

# Seconds. A whole check takes two minutes at most.
CONNECT = 3.0
ANSWER = 6.0
FIRST_QR = 40.0
UNSCANNED_END = 100.0
POSTED = 5.0
QUICKEST = 5.0  # where the clock is a stand-in's, the machine's own slowness still takes its time
QUICKEST_POST = 0.5
POLL = 0.2
SHOWN_CHARACTERS = 300
MAX_BYTES = 16 * 1024 * 1024

OnFact = Callable[[int, int], None]


class Caller:
    """Raw calls of one server, whose answers are looked at and not understood."""

    def __init__(self, url: str, secret: str, session: str) -> None:
        """`session`: whose calls they are unless a call says otherwise."""
        self.url = url.rstrip("/")
        self.secret = secret
        self.session = session
        self._http = httpx.Client(
            trust_env=False,
            follow_redirects=False,  # a redirect would carry the token, or a secret URL, to somebody else
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def api(self, method: str, route: str, body: Mapping[str, Any] | None = None, **more: Any) -> Answer:
        """A call of the session's (`session` names another), with the token computed here unless `token` is one."""
        session = more.pop("session", self.session)
        token = more.pop("token", None) or session_token(session, self.secret)
        return self.ask(method, f"/api/{session}/{route}", body, headers={"Authorization": f"Bearer {token}"}, **more)

    def with_secret(self, method: str, before: str, route: str, secret: str | None = None) -> Answer:
        """A call under the SECRET_KEY: `before` is the session's name and a slash, or nothing."""
        return self.ask(method, f"/api/{before}{quote(secret or self.secret, safe='')}/{route}")

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        seconds: float = ANSWER,
    ) -> Answer:
        """Any call; without an answer within `seconds` the answer's status is None."""
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {**(headers or {}), **({"Content-Type": content_type} if content is not None else {})}
        timeout = httpx.Timeout(seconds, connect=CONNECT)
        deadline = time.monotonic() + seconds + CONNECT
        try:
            with self._http.stream(method, self.url + path, content=content, headers=sent, timeout=timeout) as response:
                kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
                return Answer(response.status_code, kind, _body(kind, _read(response, deadline)))
        except (httpx.RequestError, httpx.InvalidURL) as error:
            return Answer(None, "", type(error).__name__)


def _read(response: httpx.Response, deadline: float) -> bytes:
    """The body, cut at MAX_BYTES or `deadline`: httpx's own time-out only bounds each piece."""
    read = b""
    for chunk in response.iter_bytes():
        read += chunk
        if len(read) > MAX_BYTES or time.monotonic() > deadline:
            break
    return read


def _body(kind: str, raw: bytes) -> Any:
    if kind == "application/json":
        try:
            return json.loads(raw)
        except ValueError:
            return "(no JSON)"
    return raw.decode("utf-8", "replace") if kind.startswith("text/") else "(binary)"


class Listener:
    """Takes a server's webhooks on an address of its own, answers 200 and keeps them."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises OSError where it cannot listen there."""
        self._posts: list[Post] = []
        self._more = threading.Condition()
        self._path = f"/check/{secrets.token_urlsafe(16)}"
        password = secrets.token_urlsafe(16)
        self._authorization = "Basic " + b64encode(f"wpp:{password}".encode()).decode()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            timeout = ANSWER

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                known = self.path == listener._path and length.isdigit() and int(length) <= MAX_BYTES
                self.send_response(200 if known else 404)
                if known:
                    listener._take(self.rfile.read(int(length)), self.headers.get("Authorization", ""))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Its path is a secret."""

        server = _Server6 if ":" in host else ThreadingHTTPServer
        self._server = server((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://wpp:{password}@{shown}:{self._server.server_address[1]}{self._path}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, raw: bytes, authorization: str) -> None:
        try:
            body = json.loads(raw)
        except ValueError:
            body = {}
        known = hmac.compare_digest(authorization.encode(), self._authorization.encode())
        with self._more:
            self._posts.append(Post(body if isinstance(body, dict) else {}, time.monotonic(), known))
            self._more.notify_all()

    def wait(self, enough: Callable[[list[Post]], bool], seconds: float, since: int = 0) -> list[Post]:
        """What arrived since the first `since`, as soon as it is enough, after `seconds` at the latest."""
        with self._more:
            self._more.wait_for(lambda: enough(self._posts[since:]), seconds)
            return self._posts[since:]

    def __len__(self) -> int:
        return len(self._posts)


def _never(_posts: list[Post]) -> bool:
    return False


class _Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@dataclass
class Walk:
    """What one walk through the recorded situations found.

    `clock`: how many seconds a recorded second takes. `strict`: also what the console would not notice is a difference.
    `settle`: how many seconds to wait for webhooks that should not come, after those that should.
    """

    caller: Caller
    listener: Listener | None = None
    clock: float = 1.0
    on_fact: OnFact | None = None
    strict: bool = False
    settle: float = 0.0
    facts: dict[str, Fact] = field(default_factory=dict)
    taken: int = 0
    version: str | None = None

    def hold(self, situation: str, answer: Answer) -> Answer:
        """Hold an answer against the recorded one; a situation that is met twice keeps the differences of both."""
        recorded = contract.answers()[situation]
        words = {path: self.clean(contract.said_at(answer.body, path)) for path in recorded.words}
        found = [self._cleaned(one) for one in contract.answer_differences(situation, answer)]
        self.note(situation, str(recorded), self.clean(contract.told(answer, words)), found)
        return answer

    def hold_posts(self, situation: str, seconds: float = POSTED, lead: float | None = None) -> list[Post]:
        """Hold the webhooks since the last such call against the recorded ones; waits for them, `seconds` at most.

        `lead`: the moment from which the first one's spacing counts, by the clock of `time.monotonic`.
        """
        if self.listener is None:
            return []
        recorded = contract.posts()[situation]
        expected = [post.kind for post in recorded.posts]

        def enough(arrived: list[Post]) -> bool:
            kinds = [post.kind for post in arrived]
            return all(kinds.count(kind) >= expected.count(kind) for kind in expected)

        self.listener.wait(enough, seconds, self.taken)
        arrived = self.listener.wait(_never, self.settle, self.taken)
        self.taken += len(arrived)
        found = [self._cleaned(one) for one in contract.post_differences(situation, arrived, self.clock)]
        if lead is not None and arrived and recorded.posts[0].after:
            first = next((post.at for post in arrived if post.kind == expected[0]), arrived[0].at)
            found += contract.lead_differences(situation, first - lead, self.clock)
        self.note(situation, ", ".join(expected), ", ".join(self.clean(post.kind) for post in arrived), found)
        return arrived

    def note(self, situation: str, expected: str, answered: str, found: list[Difference]) -> None:
        """Write down what was found in a situation."""
        found = [one for one in found if self.strict or one.matters]
        before = self.facts.get(situation)
        kept = before.differences if before else ()
        outcome = Outcome.DIFFERS if found or kept else Outcome.HOLDS
        if not (before and kept and not found):
            self.facts[situation] = Fact(situation, outcome, expected, answered, tuple(dict.fromkeys([*kept, *found])))
        if self.on_fact is not None and before is None:
            self.on_fact(len(self.facts), len(contract.FACTS))

    @property
    def start_body(self) -> dict[str, Any]:
        """What a start is told: always a webhook, because the body replaces the session's configuration."""
        return {"webhook": self.listener.url if self.listener is not None else NOWHERE, "waitQrCode": False}

    def leave_out(self, situation: str, why: str) -> None:
        """A situation that could not be looked at, which is no difference."""
        self.facts.setdefault(situation, Fact(situation, Outcome.UNCHECKED, answered=why))

    def differences(self) -> list[Difference]:
        """Everything that differs."""
        return [one for fact in self.facts.values() for one in fact.differences]

    def clean(self, said: Any) -> str:
        """What a server said, short and without the secret, should it say that."""
        text = str(said)  # the secret goes before anything is cut, or half of it would stay
        for spelling in (self.caller.secret, quote(self.caller.secret, safe="")):
            text = text.replace(spelling, "…")
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"

    def _cleaned(self, one: Difference) -> Difference:
        return Difference(one.situation, self.clean(one.path), one.part, one.expected, self.clean(one.answered))


# --- the walk without a phone -----------------------------------------------------------------------------------------


def check(
    url: str, secret: str, listen: tuple[str, int] | None = None, on_fact: OnFact | None = None, clock: float = 1.0
) -> Report:
    """Hold a server against all of `contract.FACTS`; two minutes at most.

    `listen`: host and port at which that server reaches this process, 0 for any free port; without it the facts about
    webhooks are not checked. `on_fact` is told how many facts of how many are known.

    Raises WppUnreachable, WppUnauthorized where the server does not take the secret, and OSError where this process
    cannot listen there. Whatever ends it, the session is closed and its data are cleared.
    """
    with Caller(url, secret, _new_name()) as caller, _listening(listen) as listener:
        walk = Walk(caller, listener, clock, on_fact)
        _meet(caller)
        without_phone(walk)
        return Report(walk.version, tuple(_all_facts(walk)))


def is_here(url: str) -> bool:
    """Whether an address is this machine's own, which nobody outside reaches."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or LOOPBACK.fullmatch(host) is not None


def default_listen(url: str) -> tuple[str, int] | None:
    """Where to listen for a server on this machine; None for any other, of which nobody knows where it reaches us."""
    return ("127.0.0.1", 0) if is_here(url) else None


@contextmanager
def _listening(listen: tuple[str, int] | None) -> Iterator[Listener | None]:
    if listen is None:
        yield None
        return
    with Listener(*listen) as listener:
        yield listener


def _new_name() -> str:
    return f"check_{secrets.token_hex(5)}"


def _meet(caller: Caller) -> None:
    first = caller.api("GET", "status-session")
    if first.status is None:
        raise errors.WppUnreachable(f"status-session: {first.body}")
    if first.status == 401:
        raise errors.WppUnauthorized("status-session: 401")


def without_phone(walk: Walk) -> None:
    """Look at everything that nobody needs a phone for."""
    _tokens(walk)
    _never_started(walk)
    known = walk.hold("show-all", walk.caller.with_secret("GET", "", "show-all-sessions"))
    walk.caller.session = _leftover(walk.caller, known) or walk.caller.session
    try:
        _unscanned(walk)
    finally:
        _clean_up(walk)


def _tokens(walk: Walk) -> None:
    caller = walk.caller
    session, wrong = caller.session, secrets.token_hex(16)
    walk.hold("no token", caller.ask("GET", f"/api/{session}/status-session"))
    walk.hold("bad token", caller.api("GET", "status-session", token=session_token(session, wrong)))
    walk.hold("unknown route", caller.api("POST", "send-text", {}))
    made = walk.hold("generate-token", caller.with_secret("POST", f"{session}/", "generate-token"))
    if made.status == 201 and not _is_token(made.body.get("token"), session, caller.secret):
        other = Difference("generate-token", "token", Part.WORD, "bcrypt(session + SECRET_KEY)", "something else")
        walk.note("generate-token", "bcrypt(session + SECRET_KEY)", "something else", [other])
    walk.hold("generate-token, wrong secret", caller.with_secret("POST", f"{session}/", "generate-token", wrong))
    health = caller.ask("GET", "/healthz")
    if health.status == 200:
        walk.hold("healthz", health)
    else:
        walk.leave_out("healthz", "kept shut by something in front of the server")
    walk.hold("show-all, wrong secret", caller.with_secret("GET", "", "show-all-sessions", wrong))


def _is_token(token: object, session: str, secret: str) -> bool:
    digest = str(token).replace("_", "/").replace("-", "+").encode()
    try:
        return bcrypt.checkpw((session + secret).encode()[:BCRYPT_BYTES], digest)
    except ValueError:
        return False


def _never_started(walk: Walk) -> None:
    api = walk.caller.api
    text = {"phone": NOBODYS_PHONE, "message": "check", "isGroup": False}
    walk.hold("never started: status-session", api("GET", "status-session"))
    walk.hold("never started: check-connection", api("GET", "check-connection-session"))
    walk.hold("never started: close-session", api("POST", "close-session"))
    walk.hold("never started: logout-session", api("POST", "logout-session"))
    walk.hold("never started: get-phone-number", api("GET", "get-phone-number"))
    walk.hold("never started: send-message", api("POST", "send-message", text))
    walk.hold("never started: list-chats", api("POST", "list-chats", {}))
    walk.hold("never started: pn-lid", api("GET", f"contact/pn-lid/{NOBODYS_PHONE}@c.us"))
    walk.hold("never started: get-media-by-message", api("GET", f"get-media-by-message/{NOBODYS_MESSAGE}"))


def _leftover(caller: Caller, known: Answer) -> str | None:
    """A name that an earlier check left behind and nobody uses now."""
    listed = known.body.get("response") if isinstance(known.body, dict) else None
    for name in listed if isinstance(listed, list) else ():
        if isinstance(name, str) and OWN_NAME.fullmatch(name):
            state = caller.api("GET", "status-session", session=name)
            if contract.said_at(state.body, "status") == "CLOSED":
                return name
    return None


def _unscanned(walk: Walk) -> None:
    begun = time.monotonic()
    if start(walk):
        _look_at_qr(walk)
        _first_posts(walk)
        _unscanned_end(walk, begun)


def start(walk: Walk) -> bool:
    """Start the session and look at it until its QR is shown; False where none was in time."""
    begun = time.monotonic()
    walk.hold("start-session", walk.caller.api("POST", "start-session", walk.start_body))
    while True:
        answer = walk.caller.api("GET", "status-session")
        said, waited = contract.said_at(answer.body, "status"), time.monotonic() - begun
        if said == "QRCODE" or waited > max(FIRST_QR * walk.clock, QUICKEST):
            walk.hold("QR shown: status-session", answer)
            version = contract.said_at(answer.body, "version")
            walk.version = walk.clean(version) if isinstance(version, str) else None
            return bool(said == "QRCODE")
        if said != "CLOSED" or waited > 1.0:  # the start may not have begun yet
            walk.hold("starting: status-session", answer)
        time.sleep(POLL * walk.clock)


def _look_at_qr(walk: Walk) -> None:
    api = walk.caller.api
    text = {"phone": NOBODYS_PHONE, "message": "check", "isGroup": False}
    walk.hold("QR shown: start-session", api("POST", "start-session", walk.start_body))
    walk.hold("QR shown: qrcode-session", api("GET", "qrcode-session"))
    walk.hold("QR shown: check-connection", api("GET", "check-connection-session"))
    walk.hold("QR shown: send-message", api("POST", "send-message", text))
    walk.hold("QR shown: logout-session", api("POST", "logout-session"))
    walk.hold("QR shown: get-phone-number", api("GET", "get-phone-number"))


def _first_posts(walk: Walk) -> None:
    if walk.listener is None or not walk.listener.wait(bool, POSTED):
        return
    posts = walk.hold_posts("a start shows its QR", max(POSTED * walk.clock, QUICKEST_POST))
    basic = all(post.authorized for post in posts)
    lost = Difference(contract.WEBHOOK_CREDENTIALS, "Authorization", Part.MISSING)
    walk.note(contract.WEBHOOK_CREDENTIALS, "Basic", "Basic" if basic else "another", [] if basic else [lost])


def _unscanned_end(walk: Walk, begun: float) -> None:
    deadline = begun + max(UNSCANNED_END * walk.clock, QUICKEST)
    answer = walk.caller.api("GET", "status-session")
    while contract.said_at(answer.body, "status") != "CLOSED" and time.monotonic() < deadline:
        time.sleep(POLL)
        answer = walk.caller.api("GET", "status-session")
    if walk.taken:
        walk.hold_posts("nobody reads the QR", lead=begun)
    walk.hold("ended unscanned: status-session", answer)
    walk.hold("ended unscanned: check-connection", walk.caller.api("GET", "check-connection-session"))


def _clean_up(walk: Walk) -> None:
    caller = walk.caller
    state = caller.api("GET", "status-session")
    if contract.said_at(state.body, "status") not in (None, "CLOSED"):
        caller.api("POST", "close-session")
    walk.hold("clear-session-data", caller.with_secret("POST", f"{caller.session}/", "clear-session-data"))


def _all_facts(walk: Walk) -> Iterator[Fact]:
    for name in contract.FACTS:
        why = "no webhook has arrived" if name in contract.posts() or name == contract.WEBHOOK_CREDENTIALS else ""
        yield walk.facts.get(name) or Fact(name, Outcome.UNCHECKED, answered=why or "not reached")
