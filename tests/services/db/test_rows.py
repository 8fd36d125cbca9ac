"""Rows become dataclasses by column name, and what does not fit is refused with the field's name."""

import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData

from services.db.rows import read_object, read_row, read_rows
from services.db.tables.base import Record

NOW = datetime(2024, 5, 4, 12, tzinfo=UTC)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Part:
    name: str
    colour: Colour


@dataclass(frozen=True)
class Thing:
    id: int
    name: str
    colour: Colour | None


def make_row(**columns: object) -> Record:
    return make_row_of(list(columns), tuple(columns.values()))


def make_row_of(names: Sequence[str], values: tuple[object, ...]) -> Record:
    row: Record = IteratorResult(SimpleResultMetaData(names), iter([values])).one()
    return row


def read_value(hint: Any, value: object) -> object:
    """`value` as it is read into a field of the type `hint`."""
    one_field: Any = make_dataclass("OneField", [("value", hint)], frozen=True)
    found: object = read_row(one_field, make_row(value=value)).value
    return found


def test_it_fills_each_field_by_its_column_whatever_their_order() -> None:
    row = make_row(colour="red", name="a", other="left out", id=1)
    assert read_row(Thing, row) == Thing(id=1, name="a", colour=Colour.RED)
    assert read_rows(Thing, [row, make_row(id=2, name="b", colour=None)])[1] == Thing(2, "b", None)


def test_it_takes_what_is_computed_before_a_column() -> None:
    row = make_row(id=1, name="a", colour="red")
    assert read_row(Thing, row, name="b", colour="blue") == Thing(1, "b", Colour.BLUE)
    with pytest.raises(TypeError, match="other"):
        read_row(Thing, row, other="no field")
    with pytest.raises(TypeError, match=r"Thing\.name: a value of type int"):
        read_row(Thing, row, name=3)


def test_it_names_a_column_that_is_missing_even_where_the_field_has_a_default() -> None:
    @dataclass(frozen=True)
    class WithDefault:
        name: str = ""

    with pytest.raises(TypeError, match=r"WithDefault\.name"):
        read_row(WithDefault, make_row(called="a"))


def test_it_refuses_a_column_that_came_twice() -> None:
    row = make_row_of(["id", "other", "id", "name", "other", "colour"], (1, 0, 2, "a", 0, None))
    with pytest.raises(TypeError, match=r"Thing\.id"):
        read_row(Thing, row)
    assert read_row(Thing, row, id=3) == Thing(3, "a", None)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, True),
        (int, "5"),
        (int, Decimal(5)),
        (int, 5.0),
        (bool, 1),
        (str, 5),
        (str, None),
        (str, b"text"),
        (float, "1.5"),
        (float, True),
        (date, NOW),
        (datetime, NOW.date()),
        (datetime, "2024-05-04T12:00:00+00:00"),
        (UUID, "00000000-0000-0000-0000-000000000000"),
        (time, "12:00"),
        (Colour, "green"),
        (Colour, 1),
        (Colour, ["red"]),
        (Level, "1"),
        (Level, True),
        (Literal["in", "out"], "up"),
        (tuple[int, ...], "12"),
        (tuple[int, ...], [1, "2"]),
        (tuple[int, int], [1]),
        (list[Colour], ["green"]),
        (Mapping[str, int], [1]),
        (Mapping[str, int], {"a": "1"}),
        (Part, ["a", "red"]),
        (int | None, "5"),
    ],
)
def test_it_refuses_a_value_of_another_type_and_does_not_quote_it(hint: Any, value: object) -> None:
    with pytest.raises(TypeError, match=r"^OneField\.value: a value of type \w+ does not fit$"):
        read_value(hint, value)


@pytest.mark.parametrize(
    ("hint", "value", "read"),
    [
        (int | None, None, None),
        (float, 2, 2.0),
        (float | None, Decimal("0.5"), 0.5),
        (Colour | None, "red", Colour.RED),
        (Level, 1, Level.LOW),
        (Literal["in", "out"], "in", "in"),
        (tuple[Colour, ...], ["red", "blue"], (Colour.RED, Colour.BLUE)),
        (frozenset[Colour], ["red", "red"], frozenset({Colour.RED})),
        (list[int], (1, 2), [1, 2]),
        (Sequence[int], [1, 2], (1, 2)),
        (tuple[int, str] | None, [1, "a"], (1, "a")),
        (tuple[tuple[int, int] | None, ...], [[1, 2], None], ((1, 2), None)),
        (dict[Colour, int], {"red": 1}, {Colour.RED: 1}),
        (Mapping[str, Any], {"a": [1]}, {"a": [1]}),
        (Any, "whatever", "whatever"),
        (object, 1, 1),
        (Part, {"name": "a", "colour": "red", "other": 1}, Part("a", Colour.RED)),
        (tuple[Part, ...], [{"name": "a", "colour": "red"}], (Part("a", Colour.RED),)),
        (Part, Part("a", Colour.RED), Part("a", Colour.RED)),
    ],
)
def test_it_reads_what_the_database_gives_into_the_fields_type(hint: Any, value: object, read: object) -> None:
    found = read_value(hint, value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize("hint", [int | str, type[int], Sequence[int | bytes]])
def test_it_refuses_a_field_of_a_type_that_no_column_has(hint: Any) -> None:
    with pytest.raises(TypeError, match=r"OneField\.value"):
        read_value(hint, 1)


def test_it_reads_times_and_ids_out_of_a_json_object_only() -> None:
    @dataclass(frozen=True)
    class Told:
        id: UUID
        at: datetime
        day: date | None
        parts: tuple[Part, ...]

    given = {"id": str(uuid4()), "at": NOW.isoformat(), "day": None, "parts": [{"name": "a", "colour": "blue"}]}
    assert read_object(Told, given) == Told(UUID(str(given["id"])), NOW, None, (Part("a", Colour.BLUE),))
    assert read_object(Told, given, day=date(2024, 5, 4)).day == date(2024, 5, 4)
    with pytest.raises(TypeError, match=r"Told\.at: a value of type str"):
        read_object(Told, {**given, "at": "yesterday"})
    with pytest.raises(TypeError, match=r"Told\.id: a value of type int"):
        read_object(Told, {**given, "id": 5})
    with pytest.raises(TypeError, match=r"Part\.colour"):
        read_object(Told, {**given, "parts": [{"name": "a"}]})
    with pytest.raises(TypeError, match=r"Told\.id"):
        read_row(Told, make_row(**given))


def test_it_leaves_out_what_the_dataclass_makes_itself() -> None:
    @dataclass(frozen=True)
    class Counted:
        name: str
        length: int = field(init=False, default=0)

    assert read_row(Counted, make_row(name="a")) == Counted("a")


def test_it_costs_little_more_than_to_build_by_hand() -> None:
    names = [f"field_{number}" for number in range(20)]
    wide: Any = make_dataclass("Wide", [(name, int | None) for name in names], frozen=True)
    row = make_row_of(names, tuple(range(20)))

    def build_by_hand() -> object:
        return wide(**{name: getattr(row, name) for name in names})

    def build_by_name() -> object:
        return read_row(wide, row)

    assert build_by_name() == build_by_hand()
    by_hand, by_name = (min(timeit.repeat(build, number=200, repeat=5)) for build in (build_by_hand, build_by_name))
    assert (by_name - by_hand) / 200 < 20e-6, "a page of a conversation maps 40 rows"
