"""What a WPPConnect server answers and posts, as it was recorded, and how an answer is held against that.

The recorded situations lie beside this module (`recorded/`; its README says of which server). The contract test holds
the sandbox against all of them; `check.py` holds a real server against those that need no phone. Both read this
module, so it is one contract. Pure: no HTTP here.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.wppconnect.contract_facts import Difference
from services.wppconnect.contract_shapes import Part, find_shape_differences, get_shape

RECORDED = Path(__file__).with_name("recorded")
# A webhook's spacing may be twice or half the recorded, and some seconds more or less: machines are slow or quick.
SPACING_FACTOR = 2.0
SOONER, LATER = 0.15, 2.0


@dataclass(frozen=True)
class Answer:
    """What a server answered. `status` None: nothing in time, and then `body` is the name of what was seen instead."""

    status: int | None
    type: str
    body: Any = field(repr=False)


@dataclass(frozen=True)
class RecordedAnswer:
    """`words`: the places whose very words the console reads, as `error.code`, with all words that were recorded."""

    status: int | None
    type: str
    shape: Any
    words: Mapping[str, tuple[Any, ...]]

    def __str__(self) -> str:
        return _describe(
            self.status, self.type, self.shape, {path: "|".join(map(str, said)) for path, said in self.words.items()}
        )


@dataclass(frozen=True)
class RecordedPost:
    """One webhook: its kind, the shape of its body, and the seconds since the one before it."""

    kind: str
    shape: Any
    after: float


@dataclass(frozen=True)
class RecordedPosts:
    """The webhooks of one situation. `any_order`: seen in either. `besides`: kinds or events that may come too."""

    posts: tuple[RecordedPost, ...]
    any_order: bool
    besides: frozenset[str]


@dataclass(frozen=True)
class Post:
    """A webhook as it arrived, at a moment of a clock that only counts (seconds)."""

    body: Mapping[str, Any] = field(repr=False)
    at: float
    authorized: bool = True

    @property
    def kind(self) -> str:
        """`status-find inChat`, `onack chat 1`, `onmessage image`, else the event's name."""
        event = str(self.body.get("event"))
        more = {"status-find": ("status",), "onack": ("type", "ack"), "onmessage": ("type",)}.get(event, ())
        return " ".join([event, *(str(self.body.get(key)) for key in more)])


@functools.cache
def get_recorded_answers() -> Mapping[str, RecordedAnswer]:
    """Situation → the recorded answer."""
    rows = json.loads((RECORDED / "answers.json").read_text(encoding="utf-8"))
    return {
        name: RecordedAnswer(
            row["status"], row["type"], row["body"], {path: tuple(said) for path, said in row.get("words", {}).items()}
        )
        for name, row in rows.items()
    }


@functools.cache
def get_recorded_posts() -> Mapping[str, RecordedPosts]:
    """Situation → the recorded webhooks."""
    rows = json.loads((RECORDED / "webhooks.json").read_text(encoding="utf-8"))
    return {
        name: RecordedPosts(
            tuple(RecordedPost(post["kind"], post["body"], post["after"]) for post in row["posts"]),
            row.get("any_order", False),
            frozenset(row.get("besides", ())),
        )
        for name, row in rows.items()
    }


def find_answer_differences(situation: str, answer: Answer) -> list[Difference]:
    """In what an answer differs from the one recorded in that situation."""
    recorded = get_recorded_answers()[situation]
    if recorded.status != answer.status:
        return [
            Difference(situation, "", Part.STATUS, _describe_status(recorded.status), _describe_status(answer.status))
        ]
    if recorded.status is None:
        return []
    if recorded.type != answer.type:
        return [Difference(situation, "", Part.TYPE, recorded.type, answer.type)]
    found = [Difference(situation, *row) for row in find_shape_differences(recorded.shape, get_shape(answer.body))]
    for path, said in recorded.words.items():
        now = get_value_at(answer.body, path)
        if now not in said:
            found.append(Difference(situation, path, Part.WORD, "|".join(map(str, said)), str(now)))
    return found


def get_value_at(body: Any, path: str) -> Any:
    """What stands at a path like `error.code`; for a text, `contains …` says whether it does."""
    if path.startswith("contains "):
        return isinstance(body, str) and path.removeprefix("contains ") in body
    for name in path.split("."):
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def find_post_differences(situation: str, arrived: list[Post], clock: float = 1.0) -> list[Difference]:
    """In what webhooks differ from those recorded in a situation; `clock`: how many seconds a recorded one takes."""
    recorded = get_recorded_posts()[situation]
    expected = [post.kind for post in recorded.posts]
    there = [post for post in arrived if post.kind in expected]
    found = [
        Difference(situation, post.kind, Part.UNEXPECTED)
        for post in arrived
        if not recorded.besides.intersection((post.kind, post.kind.split(" ")[0])) and post.kind not in expected
    ]
    kinds = [post.kind for post in there]
    for kind in dict.fromkeys(expected):
        missing = expected.count(kind) - kinds.count(kind)
        part = Part.NOT_POSTED if missing > 0 else Part.UNEXPECTED
        found += [Difference(situation, kind, part)] * abs(missing)
    if sorted(kinds) == sorted(expected):
        found += _find_order_differences(situation, recorded, there, clock)
    for post in recorded.posts:
        for other in there:
            if other.kind == post.kind:
                rows = find_shape_differences(post.shape, get_shape(other.body))
                found += [Difference(situation, f"{post.kind}: {row[0]}", *row[1:]) for row in rows]
    return list(dict.fromkeys(found))


def _find_order_differences(
    situation: str, recorded: RecordedPosts, there: list[Post], clock: float
) -> Iterator[Difference]:
    expected, kinds = [post.kind for post in recorded.posts], [post.kind for post in there]
    if expected != kinds and not recorded.any_order:
        yield Difference(situation, "", Part.ORDER, ", ".join(expected), ", ".join(kinds))
        return
    for before, post, wanted in zip(there, there[1:], recorded.posts[1:], strict=False):
        seconds, usual = post.at - before.at, wanted.after * clock
        if not _is_near(seconds, usual, recorded.any_order):
            yield Difference(situation, post.kind, Part.SPACING, f"{usual:.1f} s", f"{seconds:.1f} s")


def _is_near(seconds: float, usual: float, any_order: bool = False) -> bool:
    least = 0.0 if any_order else usual / SPACING_FACTOR - SOONER
    return least <= seconds <= usual * SPACING_FACTOR + LATER


def find_lead_differences(situation: str, seconds: float, clock: float = 1.0) -> list[Difference]:
    """Whether a situation's first webhook came as many seconds after its cause as was recorded."""
    first = get_recorded_posts()[situation].posts[0]
    usual = first.after * clock
    if _is_near(seconds, usual):
        return []
    return [Difference(situation, first.kind, Part.SPACING, f"{usual:.1f} s", f"{seconds:.1f} s")]


def describe_answer(answer: Answer, words: Mapping[str, Any] | None = None) -> str:
    """An answer in a line, without what anybody wrote in it but those `words`."""
    if answer.status is None:
        return str(answer.body)
    return _describe(answer.status, answer.type, get_shape(answer.body), words or {})


def _describe(status: int | None, kind: str, body: Any, words: Mapping[str, Any]) -> str:
    if status is None:
        return "no answer"
    said = "".join(f", {path} = {word}" for path, word in words.items())
    shown = f" {json.dumps(body, ensure_ascii=False)}" if kind == "application/json" else ""
    return f"{status} {kind}{shown}{said}"


def _describe_status(status: int | None) -> str:
    return "no answer" if status is None else str(status)
