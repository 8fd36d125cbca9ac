"""The sandbox against what a real server answered and posted: the same contract that `manage.py check-server` holds.

What the sandbox does otherwise is listed here by name, with the reason. What is not listed fails, and so does what is
listed and no longer differs.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.wppconnect import contract, contract_facts, contract_shapes
from services.wppconnect.contract import Answer, Post
from services.wppconnect.contract_facts import Difference
from services.wppconnect.contract_shapes import Part
from tests.support.contract_sandbox import Sandbox
from tests.support.contract_scenarios import SCENARIOS, Scenario

AT_ONCE = 8
READERS = ("responses.py", "client.py", "events.py", "payload_fields.py")


@dataclass(frozen=True)
class Listed:
    """Differences that are known: a pattern of `situation | part | path`, and why they are."""

    pattern: str
    why: str

    def covers(self, one: Difference) -> bool:
        return re.fullmatch(self.pattern, f"{one.situation} | {one.part} | {one.path}") is not None


LISTED = (
    Listed(
        r"a (document|voice note|video|contact's card) arrives \| missing \| .*: (title|duration|vcardFormattedName)",
        "the button that has a message arrive is not told what WhatsApp finds out about a file",
    ),
    Listed(
        r"list-chats \| missing \| \[\]\.contact\.pushname", "a chat in which nobody has written yet has no name here"
    ),
)


def words_read() -> set[str]:
    """Every word that what reads answers and webhooks has in quotes: a key that is not among them is never read."""
    folder = Path(contract.__file__).parent
    return {word for name in READERS for word in re.findall(r"[\"'](\w+)[\"']", (folder / name).read_text())}


def is_unread(one: Difference, read: set[str]) -> bool:
    """A key more or less that the console never reads: the sandbox need not imitate the whole of WhatsApp's models."""
    key = re.search(r"\w+$", one.path)
    return one.part in (Part.MISSING, Part.EXTRA) and key is not None and key[0] not in read


Outcomes = Mapping[str, "Future[list[Difference]]"]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Outcomes]:
    """The differences of each scenario; they wait more than they work, so they run side by side."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {scenario.name: pool.submit(scenario.differences) for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_it_answers_and_posts_as_recorded(scenario: Scenario, outcomes: Outcomes) -> None:
    read = words_read()
    told = [one for one in outcomes[scenario.name].result() if not is_unread(one, read)]
    unlisted = [str(one) for one in told if not any(listed.covers(one) for listed in LISTED)]
    assert not unlisted, "\n".join(unlisted)


def test_it_lists_only_what_still_differs(outcomes: Outcomes) -> None:
    read = words_read()
    told = [one for outcome in outcomes.values() for one in outcome.result() if not is_unread(one, read)]
    stale = [listed.pattern for listed in LISTED if not any(listed.covers(one) for one in told)]
    assert not stale, "these no longer differ: take them off the list"


def test_it_meets_every_recorded_situation() -> None:
    met = [situation for scenario in SCENARIOS for situation in scenario.meets]
    recorded = {*contract.get_recorded_answers(), *contract.get_recorded_posts(), contract_facts.WEBHOOK_CREDENTIALS}
    assert set(met) == recorded
    assert set(contract_facts.FACTS) <= recorded


# --- that the comparison sees -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (Answer(401, "application/json", {"message": "x"}), []),
        (Answer(400, "application/json", {"message": "x"}), [Part.STATUS]),
        (Answer(None, "", "ReadTimeout"), [Part.STATUS]),
        (Answer(401, "text/html", "x"), [Part.TYPE]),
        (Answer(401, "application/json", {}), [Part.MISSING]),
        (Answer(401, "application/json", {"message": "x", "more": 1}), [Part.EXTRA]),
        (Answer(401, "application/json", {"message": None}), [Part.KIND]),
        (Answer(401, "application/json", ["x"]), [Part.KIND]),
    ],
)
def test_it_sees_in_what_an_answer_differs(answer: Answer, parts: list[Part]) -> None:
    assert [one.part for one in contract.find_answer_differences("no token", answer)] == parts


def test_it_sees_another_word_where_the_console_reads_one() -> None:
    said = {"status": "OPEN", "qrcode": None}
    (one,) = contract.find_answer_differences("start-session", Answer(200, "application/json", said))
    assert (one.part, one.path, one.expected, one.answered) == (Part.WORD, "status", "CLOSED", "OPEN")


def posted(*rows: tuple[str, float]) -> list[Post]:
    return [Post({"event": "status-find", "status": status}, at) for status, at in rows]


@pytest.mark.parametrize(
    ("arrived", "differences"),
    [
        (posted(("isLogged", 0), ("inChat", 0.7)), []),
        (posted(("inChat", 0), ("isLogged", 0.7)), [(Part.ORDER, "")]),
        (posted(("isLogged", 0), ("inChat", 9)), [(Part.SPACING, "status-find inChat")]),
        (posted(("isLogged", 0), ("inChat", 0.01)), [(Part.SPACING, "status-find inChat")]),
        (posted(("isLogged", 0)), [(Part.NOT_POSTED, "status-find inChat")]),
        (
            posted(("isLogged", 0), ("inChat", 0.7), ("inChat", 0.8)),
            [(Part.UNEXPECTED, "status-find inChat")],
        ),
        (
            posted(("isLogged", 0), ("inChat", 0.7), ("autocloseCalled", 0.8)),
            [(Part.UNEXPECTED, "status-find autocloseCalled")],
        ),
    ],
)
def test_it_sees_in_what_webhooks_differ(arrived: list[Post], differences: list[tuple[Part, str]]) -> None:
    told = contract.find_post_differences("a paired session restarts", arrived)
    assert [(one.part, one.path) for one in told] == differences


def test_it_merges_the_shapes_of_a_list_and_says_what_is_not_in_all() -> None:
    shapes = contract_shapes.get_shape([{"a": 1, "b": None}, {"a": "x"}])
    assert shapes == [{"a": {"either": ["number", "text"]}, "b?": "null"}]
    assert contract_shapes.get_shape([{"a": None}, {"a": {"b": 1}}, {"a": {"b": None}}]) == [
        {"a": {"either": ["null", {"b": {"either": ["number", "null"]}}]}}
    ]
    assert list(contract_shapes.find_shape_differences([{"a": "number", "b": "null"}], shapes)) == [
        ("[].a", Part.KIND, "number", "text"),
        ("[].b", Part.MISSING, "null", "sometimes"),
    ]


def test_it_says_what_is_no_longer_imitated_by_name(sandbox: Sandbox) -> None:
    """A recorded situation is compared by its answer of now: change the sandbox's, and the comparison tells."""
    before = contract.find_answer_differences("no token", _answer(sandbox, {}))
    after = contract.find_answer_differences("no token", _answer(sandbox, {"Authorization": "Bearer x"}))
    assert before == []
    assert {str(one).partition(" (")[0] for one in after} == {"no token: missing message", "no token: extra error"}


def _answer(sandbox: Sandbox, headers: dict[str, str]) -> Answer:
    response = sandbox.anonymous().get("/api/user_a/status-session", headers=headers)
    return Answer(response.status_code, "application/json", response.json())
