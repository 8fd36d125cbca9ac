"""The one way from a row to a dataclass: each field takes the column of its own name.

So no caller lists columns in an order, and a column that is missing or has another type raises at once, with the
field's name. Pydantic is no fit: lax, it reads the text "5" as a number and a number as a time; strict, it refuses
stored text for an enum and a mapping for a dataclass.
"""

import dataclasses
import functools
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar
from uuid import UUID

from services.db.tables.base import Record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

# Makes a field's value of what the database gave, or raises TypeError.
Convert = Callable[[Any], Any]

_COLLECTIONS: Mapping[Any, type] = {tuple: tuple, frozenset: frozenset, list: list, Sequence: tuple}
# What JSON has as text only.
_FROM_JSON_TEXT: Mapping[type, Convert] = {
    UUID: UUID,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
}


def read_row(cls: type[T], row: Record, **computed: object) -> T:
    """Builds a `cls` from the columns of `row`, by name; `computed` holds the values that are no column of the row.

    Stored text becomes its enum, an array the field's collection, a JSON object its dataclass or mapping; a number
    becomes a float where the field is one. Nothing else is converted, and other columns are ignored.

    A row or a value that does not fit `cls` is a fault of the program: TypeError.
    """
    return _build(cls, _get_columns(row), computed)


def read_rows(cls: type[T], rows: Iterable[Record]) -> list[T]:
    """Builds a `cls` from each row, as `read_row` does."""
    return [_build(cls, _get_columns(row), {}) for row in rows]


def read_object(cls: type[T], values: Mapping[str, Any], **computed: object) -> T:
    """Builds a `cls` from a JSON object of the database, as `read_row` does; its texts may also be times and UUIDs."""
    return _build(cls, values, computed, json=True)


def _get_columns(row: Record) -> dict[str, Any]:
    columns = dict(zip(row._fields, row, strict=True))
    if len(columns) < len(row):
        # Which of two of one name is meant, nobody knows.
        for name, count in Counter(row._fields).items():
            if count > 1:
                del columns[name]
    return columns


def _build(cls: type[T], values: Mapping[str, Any], computed: Mapping[str, object], *, json: bool = False) -> T:
    fields = dict(computed)
    for field in _list_fields(cls, json):
        name = field.name
        try:
            value = fields[name] if name in fields else values[name]
        except KeyError as error:
            raise TypeError(f"{cls.__name__}.{name}: there is no such column, or more than one") from error
        fields[name] = field.read(value)
    return cls(**fields)


@dataclass(frozen=True)
class _Reading:
    """How a value becomes one of a type: a value whose type is exactly one of `kept` stays, any other is converted.

    Exactly, because a bool is an int and a datetime is a date.
    """

    kept: frozenset[type]
    convert: Convert

    def read(self, value: Any) -> Any:
        return value if type(value) in self.kept else self.convert(value)


@dataclass(frozen=True)
class _Field(_Reading):
    name: str


@dataclass(frozen=True)
class _Place:
    """What is read: `field` names it in errors, `json` says that it comes out of a JSON object."""

    field: str
    json: bool

    def refuse(self, value: Any) -> NoReturn:
        # Without the value, which may be somebody's message or secret.
        raise TypeError(f"{self.field}: a value of type {type(value).__name__} does not fit")


@functools.cache
def _list_fields(cls: "type[DataclassInstance]", json: bool) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    readings = [_get_reading(_Place(f"{cls.__name__}.{name}", json), hints[name]) for name in names]
    return tuple(_Field(reading.kept, reading.convert, name) for name, reading in zip(names, readings, strict=True))


def _get_reading(place: _Place, hint: Any) -> _Reading:
    """How a value becomes one of the type `hint`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:
        return _Reading(frozenset(), lambda value: value)
    if origin in (types.UnionType, typing.Union):
        return _get_optional_reading(place, arguments)
    if origin is Literal:
        return _Reading(frozenset(), functools.partial(_check_literal, place, arguments))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _get_tuple_reading(place, arguments)
    if origin in _COLLECTIONS:
        return _get_collection_reading(place, _COLLECTIONS[origin], arguments[0])
    if origin in (Mapping, dict):
        return _get_mapping_reading(place, *arguments)
    if not isinstance(hint, type) or origin is not None:
        raise TypeError(f"{place.field}: no value can be read into {hint}")
    return _Reading(frozenset({hint}), _get_class_conversion(place, hint))


def _get_optional_reading(place: _Place, members: Iterable[Any]) -> _Reading:
    readings = [_get_reading(place, member) for member in members if member is not types.NoneType]
    if len(readings) > 1:
        raise TypeError(f"{place.field}: a value is read into one type or None")
    return _Reading(readings[0].kept | {types.NoneType}, readings[0].convert)


def _get_tuple_reading(place: _Place, members: Sequence[Any]) -> _Reading:
    reads = [_get_reading(place, member).read for member in members]

    def convert(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(reads):
            place.refuse(value)
        return tuple(read(item) for read, item in zip(reads, value, strict=True))

    return _Reading(frozenset(), convert)


def _get_collection_reading(place: _Place, made: type, member: Any) -> _Reading:
    read = _get_reading(place, member).read

    def convert(value: Any) -> Any:
        if not isinstance(value, (list, tuple, frozenset)):
            place.refuse(value)
        return made(read(item) for item in value)

    return _Reading(frozenset(), convert)


def _get_mapping_reading(place: _Place, key: Any, member: Any) -> _Reading:
    read_key, read = _get_reading(place, key).read, _get_reading(place, member).read

    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            place.refuse(value)
        return {read_key(name): read(item) for name, item in value.items()}

    return _Reading(frozenset(), convert)


def _get_class_conversion(place: _Place, cls: type) -> Convert:
    if issubclass(cls, Enum):
        return functools.partial(_find_member, place, cls)
    if cls is float:
        return functools.partial(_widen_number, place)
    if dataclasses.is_dataclass(cls):
        return functools.partial(_build_nested, place, cls)
    if place.json and cls in _FROM_JSON_TEXT:
        return functools.partial(_parse_text, place, _FROM_JSON_TEXT[cls])
    return place.refuse


def _find_member(place: _Place, cls: type[Enum], value: Any) -> Enum:
    member = cls._value2member_map_.get(value) if type(value) in (str, int) else None
    return place.refuse(value) if member is None else member


def _widen_number(place: _Place, value: Any) -> float:
    return float(value) if type(value) in (int, Decimal) else place.refuse(value)


def _build_nested(place: _Place, cls: type[T], value: Any) -> T:
    return _build(cls, value, {}, json=True) if isinstance(value, dict) else place.refuse(value)


def _parse_text(place: _Place, parse: Convert, value: Any) -> Any:
    if not isinstance(value, str):
        place.refuse(value)
    try:
        return parse(value)
    except ValueError:
        place.refuse(value)


def _check_literal(place: _Place, allowed: Sequence[Any], value: Any) -> Any:
    return value if value in allowed else place.refuse(value)
