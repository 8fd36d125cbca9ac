"""The facts that this console relies on and that can be checked without a phone, and the report of a check."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.wppconnect.contract_shapes import Part


@dataclass(frozen=True)
class Difference:
    """One difference: in which situation, where in it (`response[].id`, or a webhook's kind), and what."""

    situation: str
    path: str
    part: Part
    expected: str = ""
    answered: str = ""

    @property
    def matters(self) -> bool:
        """Whether the console would notice. It reads no key that is new, and of an error's details the code only."""
        return self.part is not Part.EXTRA and (self.part is Part.WORD or not self.path.startswith("error."))

    def __str__(self) -> str:
        values = (
            f" (recorded {self.expected or '-'}, now {self.answered or '-'})" if self.expected or self.answered else ""
        )
        return f"{self.situation}: {self.part} {self.path}".rstrip() + values


WEBHOOK_CREDENTIALS = "webhook credentials"
# Situation → what this console relies on, in the order in which `check.py` looks. All of them are recorded but the
# credentials, which are no shape.
FACTS: Mapping[str, str] = {
    "no token": "A call without a token is refused with 401.",
    "bad token": "A token made with another secret is refused with 401.",
    "unknown route": "A route that does not exist is answered 404 by Express's own page, not by JSON.",
    "generate-token": "generate-token gives bcrypt(session + SECRET_KEY), so that tokens can be computed here.",
    "generate-token, wrong secret": "generate-token refuses another secret with 400.",
    "healthz": "healthz tells without a token since when the server is up.",
    "show-all, wrong secret": "show-all-sessions refuses another secret with 400.",
    "show-all": "show-all-sessions lists the names of the stored sessions.",
    "never started: status-session": "A session that was never started is CLOSED, and a token computed here is taken.",
    "never started: check-connection": "A session that was never started is answered 200 with status false.",
    "never started: close-session": "close-session of a session that was never started is a 500.",
    "never started: logout-session": "logout-session of a session that is not up is a 404 Disconnected.",
    "never started: get-phone-number": "A question to a session that is not up is a 404 Disconnected.",
    "never started: send-message": "A send by a session that is not up is a 404 Disconnected: nothing left.",
    "never started: list-chats": "list-chats of a session that is not up is a 404 Disconnected.",
    "never started: pn-lid": "contact/pn-lid of a session that is not up is a 404 Disconnected.",
    "never started: get-media-by-message": "get-media-by-message of a session that is not up is a 500.",
    "start-session": "start-session answers at once, with the state before the start.",
    "starting: status-session": "A start is INITIALIZING until its first QR, and tells the server's version.",
    "QR shown: status-session": "Then it is QRCODE, with the picture and the text of the QR.",
    "QR shown: start-session": "A second start changes nothing and answers with the QR that is shown.",
    "QR shown: qrcode-session": "qrcode-session draws the QR as a PNG.",
    "QR shown: check-connection": "A session that waits for its scan is not connected.",
    "QR shown: send-message": "A send before the scan is a 404 Disconnected: nothing left.",
    "QR shown: logout-session": "logout-session before the scan is a 404 Disconnected.",
    "QR shown: get-phone-number": "A question before the scan is a 404 Disconnected.",
    "a start shows its QR": "A start posts notLogged and the qrcode, with picture and text.",
    WEBHOOK_CREDENTIALS: "The user info of the webhook's address arrives as Basic authorization.",
    "nobody reads the QR": "After 60 s without a scan browserClose and qrReadError are posted, and no more.",
    "ended unscanned: status-session": "A start that nobody scanned ends by itself and is CLOSED.",
    "ended unscanned: check-connection": "A start that has ended is not connected.",
    "clear-session-data": "clear-session-data deletes what a stopped session left.",
}


class Outcome(StrEnum):
    """What came of a fact."""

    HOLDS = "holds"
    DIFFERS = "differs"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Fact:
    """One of FACTS as it was found. `expected` and `answered` hold types and known words only, no secrets."""

    name: str
    outcome: Outcome
    expected: str = ""
    answered: str = ""
    differences: tuple[Difference, ...] = ()

    @property
    def sentence(self) -> str:
        """What this console relies on, in English."""
        return FACTS[self.name]


@dataclass(frozen=True)
class Report:
    """How a server does. `version` None: it told none."""

    version: str | None
    facts: tuple[Fact, ...]

    def of(self, outcome: Outcome) -> list[Fact]:
        """The facts of that outcome."""
        return [fact for fact in self.facts if fact.outcome is outcome]
