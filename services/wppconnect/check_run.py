"""One run through the recorded situations: holds each answer and webhook against the contract."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from services.wppconnect import contract, contract_facts
from services.wppconnect.check_http import Caller, Listener
from services.wppconnect.contract import Answer, Post
from services.wppconnect.contract_facts import Difference, Fact, Outcome

# Where nobody listens (the discard port): an empty address would make the server post to the one of its configuration.
CLOSED_ADDRESS = "http://127.0.0.1:9/"
WEBHOOK_SECONDS = 5.0
SHOWN_CHARACTERS = 300

OnFact = Callable[[int, int], None]


def _never_enough(_posts: list[Post]) -> bool:
    return False


@dataclass
class ContractRun:
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
        recorded = contract.get_recorded_answers()[situation]
        words = {path: self.clean(contract.get_value_at(answer.body, path)) for path in recorded.words}
        found = [self._cleaned(one) for one in contract.find_answer_differences(situation, answer)]
        self.note(situation, str(recorded), self.clean(contract.describe_answer(answer, words)), found)
        return answer

    def hold_posts(self, situation: str, seconds: float = WEBHOOK_SECONDS, lead: float | None = None) -> list[Post]:
        """Hold the webhooks since the last such call against the recorded ones; waits for them, `seconds` at most.

        `lead`: the moment from which the first one's spacing counts, by the clock of `time.monotonic`.
        """
        if self.listener is None:
            return []
        recorded = contract.get_recorded_posts()[situation]
        expected = [post.kind for post in recorded.posts]

        def enough(arrived: list[Post]) -> bool:
            kinds = [post.kind for post in arrived]
            return all(kinds.count(kind) >= expected.count(kind) for kind in expected)

        self.listener.wait(enough, seconds, self.taken)
        arrived = self.listener.wait(_never_enough, self.settle, self.taken)
        self.taken += len(arrived)
        found = [self._cleaned(one) for one in contract.find_post_differences(situation, arrived, self.clock)]
        if lead is not None and arrived and recorded.posts[0].after:
            first = next((post.at for post in arrived if post.kind == expected[0]), arrived[0].at)
            found += contract.find_lead_differences(situation, first - lead, self.clock)
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
            self.on_fact(len(self.facts), len(contract_facts.FACTS))

    @property
    def start_body(self) -> dict[str, Any]:
        """What a start is told: always a webhook, because the body replaces the session's configuration."""
        return {"webhook": self.listener.url if self.listener is not None else CLOSED_ADDRESS, "waitQrCode": False}

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
