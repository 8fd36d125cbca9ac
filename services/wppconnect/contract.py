"""What a WPPConnect server answers and posts, as it was recorded, and how an answer is held against that.

The recorded situations lie beside this module (`recorded/`; its README says of which server). The sandbox is held
against all of them by the contract test, a real server by `check.py` against those that need no phone: both read this
module, so that it is one contract. Pure: no HTTP here.

A shape is JSON in which each value is replaced by its type: `text`, `number`, `boolean`, `null`, several of them with
`|` between; a list by the one shape of all its elements; a key that can be missing ends with `?`. What was sent by
anybody is no longer in it, so that shapes may be shown, logged and kept.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("recorded")
# A shape that was recorded as an empty list says nothing of its elements.
ANYTHING = "anything"
# A webhook's spacing may be twice or half the recorded, and some seconds more or less: machines are slow or quick.
SPACING_FACTOR = 2.0
SOONER, LATER = 0.15, 2.0


class Part(StrEnum):
    """In what an answer or a webhook differs."""

    STATUS = "status"
    TYPE = "content type"
    MISSING = "missing"  # a recorded key is not there
    EXTRA = "extra"  # a key is there that was not recorded
    KIND = "kind"  # a value of another JSON type
    WORD = "word"  # another word than the recorded one in a place where the console reads it
    NOT_POSTED = "not posted"
    UNEXPECTED = "posted too"
    ORDER = "order"
    SPACING = "spacing"
    UNREACHED = "not reached"  # the state in which it is asked could not be brought about


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
        return _told(
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


# --- what was recorded ------------------------------------------------------------------------------------------------


@functools.cache
def answers() -> Mapping[str, RecordedAnswer]:
    """Situation → the recorded answer."""
    rows = json.loads((RECORDED / "answers.json").read_text(encoding="utf-8"))
    return {
        name: RecordedAnswer(
            row["status"], row["type"], row["body"], {path: tuple(said) for path, said in row.get("words", {}).items()}
        )
        for name, row in rows.items()
    }


@functools.cache
def posts() -> Mapping[str, RecordedPosts]:
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


# --- shapes -----------------------------------------------------------------------------------------------------------


def shape(value: Any) -> Any:
    """The shape of a value that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [functools.reduce(merged, map(shape, value))] if value else []
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def merged(one: Any, other: Any) -> Any:
    """The one shape of two values."""
    sides = _alternatives(one)
    for added in _alternatives(other):
        like = next((place for place, side in enumerate(sides) if _is_like(side, added)), None)
        if like is None:
            sides.append(added)
        else:
            sides[like] = _merged_alike(sides[like], added)
    return sides[0] if len(sides) == 1 else {"either": sides}


def _merged_alike(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return _merged_objects(one, other)
    if isinstance(one, list):
        return [functools.reduce(merged, one + other)] if one + other else []
    return one


def _merged_objects(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(key.removesuffix("?") for key in [*one, *other])
    result = {}
    for name in names:
        sides = [side for side in (_at(one, name), _at(other, name)) if side is not None]
        always = name in one and name in other
        result[name if always else f"{name}?"] = functools.reduce(merged, sides)
    return result


def _at(shapes: Mapping[str, Any], name: str) -> Any:
    return shapes.get(name, shapes.get(f"{name}?"))


def _alternatives(one: Any) -> list[Any]:
    return list(one["either"]) if isinstance(one, Mapping) and set(one) == {"either"} else [one]


def shape_differences(recorded: Any, answered: Any, path: str = "") -> Iterator[tuple[str, Part, str, str]]:
    """Path, part, expected and answered of each difference between two shapes."""
    for one in _alternatives(answered):
        fitting = [each for each in _alternatives(recorded) if _is_like(each, one)]
        if not fitting:
            yield path, Part.KIND, _kind(recorded), _kind(one)
        elif isinstance(one, Mapping):
            yield from _object_differences(fitting[0], one, path)
        elif isinstance(one, list) and one and fitting[0]:
            yield from shape_differences(fitting[0][0], one[0], f"{path}[]")


def _is_like(recorded: Any, answered: Any) -> bool:
    if isinstance(recorded, Mapping) or isinstance(answered, Mapping):
        return isinstance(recorded, Mapping) and isinstance(answered, Mapping)
    if isinstance(recorded, list) or isinstance(answered, list):
        return isinstance(recorded, list) and isinstance(answered, list)
    return recorded in (answered, ANYTHING)


def _object_differences(
    recorded: Mapping[str, Any], answered: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Part, str, str]]:
    known = {key.removesuffix("?") for key in recorded}
    given = {key.removesuffix("?") for key in answered}
    for name in sorted(known - given):
        if name in recorded:
            yield _join(path, name), Part.MISSING, _kind(recorded[name]), ""
    for name in sorted(given - known):
        yield _join(path, name), Part.EXTRA, "", _kind(_at(answered, name))
    for name in sorted(known & given):
        if name in recorded and name not in answered:
            yield _join(path, name), Part.MISSING, _kind(recorded[name]), "sometimes"
        yield from shape_differences(_at(recorded, name), _at(answered, name), _join(path, name))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _kind(one: Any) -> str:
    if len(_alternatives(one)) > 1:
        return "|".join(_kind(each) for each in _alternatives(one))
    return "object" if isinstance(one, Mapping) else "list" if isinstance(one, list) else str(one)


# --- holding one against the other ------------------------------------------------------------------------------------


def answer_differences(situation: str, answer: Answer) -> list[Difference]:
    """In what an answer differs from the one recorded in that situation."""
    recorded = answers()[situation]
    if recorded.status != answer.status:
        return [Difference(situation, "", Part.STATUS, _status(recorded.status), _status(answer.status))]
    if recorded.status is None:
        return []
    if recorded.type != answer.type:
        return [Difference(situation, "", Part.TYPE, recorded.type, answer.type)]
    found = [Difference(situation, *row) for row in shape_differences(recorded.shape, shape(answer.body))]
    for path, said in recorded.words.items():
        now = said_at(answer.body, path)
        if now not in said:
            found.append(Difference(situation, path, Part.WORD, "|".join(map(str, said)), str(now)))
    return found


def said_at(body: Any, path: str) -> Any:
    """What stands at a path like `error.code`; for a text, `contains …` says whether it does."""
    if path.startswith("contains "):
        return isinstance(body, str) and path.removeprefix("contains ") in body
    for name in path.split("."):
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def post_differences(situation: str, arrived: list[Post], clock: float = 1.0) -> list[Difference]:
    """In what webhooks differ from those recorded in a situation; `clock`: how many seconds a recorded one takes."""
    recorded = posts()[situation]
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
        found += _order_differences(situation, recorded, there, clock)
    for post in recorded.posts:
        for other in there:
            if other.kind == post.kind:
                rows = shape_differences(post.shape, shape(other.body))
                found += [Difference(situation, f"{post.kind}: {row[0]}", *row[1:]) for row in rows]
    return list(dict.fromkeys(found))


def _order_differences(
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


def lead_differences(situation: str, seconds: float, clock: float = 1.0) -> list[Difference]:
    """Whether a situation's first webhook came as many seconds after its cause as was recorded."""
    first = posts()[situation].posts[0]
    usual = first.after * clock
    if _is_near(seconds, usual):
        return []
    return [Difference(situation, first.kind, Part.SPACING, f"{usual:.1f} s", f"{seconds:.1f} s")]


def told(answer: Answer, words: Mapping[str, Any] | None = None) -> str:
    """An answer in a line, without what anybody wrote in it but those `words`."""
    if answer.status is None:
        return str(answer.body)
    return _told(answer.status, answer.type, shape(answer.body), words or {})


def _told(status: int | None, kind: str, body: Any, words: Mapping[str, Any]) -> str:
    if status is None:
        return "no answer"
    said = "".join(f", {path} = {word}" for path, word in words.items())
    shown = f" {json.dumps(body, ensure_ascii=False)}" if kind == "application/json" else ""
    return f"{status} {kind}{shown}{said}"


def _status(status: int | None) -> str:
    return "no answer" if status is None else str(status)


# --- what can be seen without a phone ---------------------------------------------------------------------------------

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
