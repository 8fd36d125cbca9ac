"""The result of the checks of one session: questions, answers and the problems found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.diagnostics.problems import PROBLEMS
from services.fleet import session_texts
from services.fleet.session import Session


class Result(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"  # works, or works still
    FAULT = "fault"  # this is why it does not work
    UNKNOWN = "unknown"  # no evidence either way


class Guide(StrEnum):
    """The overview's three questions."""

    QR = "qr"  # the QR does not appear
    SEND = "send"  # a message is not sent
    DROP = "drop"  # the session disconnects


class Step(StrEnum):
    """What can be done about it, each a button."""

    CONNECT = "connect"
    RECONNECT = "reconnect"
    DISCONNECT = "disconnect"
    PAIR = "pair"  # go to where the code is
    SEND = "send"  # go to where one sends
    MESSAGE = "message"  # open the trace of `Check.message`
    ASK = "ask"  # ask the server again
    SUPPORT = "support"  # hand the report to whoever runs the servers


SEVERITY = {Result.FAULT: 0, Result.WARNING: 1, Result.OK: 2, Result.UNKNOWN: 3}


@dataclass(frozen=True)
class Check:
    """One question with its answer. `fact` is the evidence (gettext source, filled with `params`), seen at `at`.

    `name` is a key of NAMES or of `session_texts.FAILURES` where what was found has one.
    """

    question: str
    result: Result
    fact: str
    at: datetime | None = None
    params: Mapping[str, str | int] = field(default_factory=dict)
    name: str = ""
    step: Step | None = None
    message: UUID | None = None


@dataclass(frozen=True)
class Report:
    """All checks of one session. `names`: what was found, the worst first."""

    session: Session | None
    guides: Mapping[Guide, tuple[Check, ...]]
    at: datetime

    def _named(self) -> list[Check]:
        order = [*PROBLEMS, *session_texts.FAILURES]
        found = {check.name: check for checks in self.guides.values() for check in checks if check.name}
        return sorted(found.values(), key=lambda check: (SEVERITY[check.result], order.index(check.name)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(check.name for check in self._named())

    @property
    def worst(self) -> Check | None:
        """The check that explains most, or None where nothing is wrong."""
        wrong = [one for one in self._named() if one.result in (Result.FAULT, Result.WARNING)]
        return wrong[0] if wrong else None


def get_fact_text(check: Check, translated: Callable[[str], str] = str) -> str:
    """The evidence as a sentence, each text of it `translated`; as it is, in Portuguese."""
    params = dict(check.params)
    if "proof" in params:
        params["proof"] = translated(session_texts.proof_label(str(params["proof"]) or None))
    return translated(check.fact).format(**params)


def mask_phone(digits: str) -> str:
    """A phone as staff may see it: who is written to is the owner's business, the last digits tell two apart."""
    return f"…{digits[-4:]}"
