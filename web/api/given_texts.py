"""Texts as programs give them: spreadsheets and flows send numbers without quotes."""

import math
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

# Beyond it a number in JSON has lost digits before anybody reads it.
MOST_EXACT = 2**53


def text_of_number(given: Any) -> Any:
    """A number as the text that it is: `3` → "3", `120.5` → "120.5", `5511987650023.0` → "5511987650023"; anything else
    as it came.

    Raises: ValueError for a number that may not be the one that was meant.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        return given
    if not math.isfinite(given):
        raise ValueError("deve ser um texto ou um número")
    if isinstance(given, float) and abs(given) >= MOST_EXACT:
        raise ValueError("um número desse tamanho perde algarismos: envie-o como texto, entre aspas")
    if isinstance(given, float) and given.is_integer():
        return str(int(given))
    return format(Decimal(repr(given)), "f")


def text_of_value(given: Any) -> Any:
    """Also `true` and `false`, as JSON writes them."""
    return str(given).lower() if isinstance(given, bool) else text_of_number(given)


def without_nulls(given: Any) -> Any:
    """An object without what is null: that counts as not given."""
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


Text = Annotated[str, BeforeValidator(text_of_number, json_schema_input_type=str | int | float)]
Value = Annotated[str, BeforeValidator(text_of_value, json_schema_input_type=str | int | float | bool)]
Values = Annotated[
    dict[str, Value], BeforeValidator(without_nulls, json_schema_input_type=dict[str, str | int | float | bool | None])
]
