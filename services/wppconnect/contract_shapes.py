"""Shapes of JSON values, and the differences between two shapes.

A shape is JSON in which each value is replaced by its type: `text`, `number`, `boolean`, `null`, several of them with
`|` between; a list by the one shape of all its elements; a key that can be missing ends with `?`. What was sent by
anybody is no longer in it, so shapes may be shown, logged and kept.
"""

import functools
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

# A shape that was recorded as an empty list says nothing of its elements.
ANYTHING = "anything"


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


def get_shape(value: Any) -> Any:
    """The shape of a value that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): get_shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [functools.reduce(merge_shapes, map(get_shape, value))] if value else []
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def merge_shapes(one: Any, other: Any) -> Any:
    """The one shape of two values."""
    sides = _list_alternatives(one)
    for added in _list_alternatives(other):
        like = next((place for place, side in enumerate(sides) if _is_like(side, added)), None)
        if like is None:
            sides.append(added)
        else:
            sides[like] = _merge_alike(sides[like], added)
    return sides[0] if len(sides) == 1 else {"either": sides}


def _merge_alike(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return _merge_objects(one, other)
    if isinstance(one, list):
        return [functools.reduce(merge_shapes, one + other)] if one + other else []
    return one


def _merge_objects(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(key.removesuffix("?") for key in [*one, *other])
    result = {}
    for name in names:
        sides = [side for side in (_get_key_shape(one, name), _get_key_shape(other, name)) if side is not None]
        always = name in one and name in other
        result[name if always else f"{name}?"] = functools.reduce(merge_shapes, sides)
    return result


def _get_key_shape(shapes: Mapping[str, Any], name: str) -> Any:
    return shapes.get(name, shapes.get(f"{name}?"))


def _list_alternatives(one: Any) -> list[Any]:
    return list(one["either"]) if isinstance(one, Mapping) and set(one) == {"either"} else [one]


def find_shape_differences(recorded: Any, answered: Any, path: str = "") -> Iterator[tuple[str, Part, str, str]]:
    """Path, part, expected and answered of each difference between two shapes."""
    for one in _list_alternatives(answered):
        fitting = [each for each in _list_alternatives(recorded) if _is_like(each, one)]
        if not fitting:
            yield path, Part.KIND, _describe_shape(recorded), _describe_shape(one)
        elif isinstance(one, Mapping):
            yield from _find_object_differences(fitting[0], one, path)
        elif isinstance(one, list) and one and fitting[0]:
            yield from find_shape_differences(fitting[0][0], one[0], f"{path}[]")


def _is_like(recorded: Any, answered: Any) -> bool:
    if isinstance(recorded, Mapping) or isinstance(answered, Mapping):
        return isinstance(recorded, Mapping) and isinstance(answered, Mapping)
    if isinstance(recorded, list) or isinstance(answered, list):
        return isinstance(recorded, list) and isinstance(answered, list)
    return recorded in (answered, ANYTHING)


def _find_object_differences(
    recorded: Mapping[str, Any], answered: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Part, str, str]]:
    known = {key.removesuffix("?") for key in recorded}
    given = {key.removesuffix("?") for key in answered}
    for name in sorted(known - given):
        if name in recorded:
            yield _join(path, name), Part.MISSING, _describe_shape(recorded[name]), ""
    for name in sorted(given - known):
        yield _join(path, name), Part.EXTRA, "", _describe_shape(_get_key_shape(answered, name))
    for name in sorted(known & given):
        if name in recorded and name not in answered:
            yield _join(path, name), Part.MISSING, _describe_shape(recorded[name]), "sometimes"
        yield from find_shape_differences(
            _get_key_shape(recorded, name), _get_key_shape(answered, name), _join(path, name)
        )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _describe_shape(one: Any) -> str:
    if len(_list_alternatives(one)) > 1:
        return "|".join(_describe_shape(each) for each in _list_alternatives(one))
    return "object" if isinstance(one, Mapping) else "list" if isinstance(one, list) else str(one)
