"""What is wrong with the fields of a request, in words: which field, what it should be, and its limit.

Nothing of what was given is repeated: it may be private.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails

MOST_FIELDS: Final = 10

# By pydantic's type of error; `ctx` fills the placeholders.
_SHAPES: Final = {
    "missing": "obrigatório",
    "string_type": "deve ser um texto",
    "string_too_long": "até {max_length} caracteres",
    "string_too_short": "pelo menos {min_length} caractere(s)",
    "string_unicode": "deve ser um texto em UTF-8",
    "int_type": "deve ser um número inteiro",
    "int_parsing": "deve ser um número inteiro",
    "int_parsing_size": "número grande demais",
    "int_from_float": "deve ser um número inteiro",
    "float_type": "deve ser um número",
    "float_parsing": "deve ser um número",
    "finite_number": "deve ser um número finito",
    "bool_type": "deve ser true ou false",
    "bool_parsing": "deve ser true ou false",
    "greater_than_equal": "no mínimo {ge}",
    "greater_than": "maior que {gt}",
    "less_than_equal": "no máximo {le}",
    "less_than": "menor que {lt}",
    "enum": "deve ser {expected}",
    "literal_error": "deve ser {expected}",
    "list_type": "deve ser uma lista",
    "tuple_type": "deve ser uma lista",
    "too_long": "até {max_length} itens",
    "too_short": "pelo menos {min_length} item(ns)",
    "dict_type": "deve ser um objeto JSON",
    "model_type": "deve ser um objeto JSON",
    "model_attributes_type": "deve ser um objeto JSON",
    "timezone_aware": "falta o fuso: use data e hora como 2024-05-01T09:00:00-03:00",
    "timezone_naive": "sem fuso: use data e hora como 2024-05-01T09:00",
    "value_error": "{error}",
}
# By the beginning of the type: dates have many ways to be wrong.
_FAMILIES: Final = {
    "uuid": "deve ser um id (UUID)",
    "datetime": "deve ser data e hora no formato ISO 8601",
    "date": "deve ser uma data, como 2024-05-01",
    "time": "deve ser uma hora, como 09:30",
}
_WORDS_OF_PATTERNS: Final = {
    "^[0-9a-f]{64}$": "deve ser o id de um arquivo, com 64 algarismos hexadecimais",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": "deve ser uma hora, de 00:00 a 23:59",
}
_WHOLE_BODY: Final = "(corpo)"


def describe_errors(errors: Sequence[ErrorDetails]) -> str:
    """The fields with what each should be, `phone (obrigatório); message (até 4.096 caracteres)`: the first few."""
    described: dict[str, str] = {}
    for error in errors:
        described.setdefault(_name_field(error["loc"]), _describe(error))
    shown = [f"{name} ({shape})" for name, shape in list(described.items())[:MOST_FIELDS]]
    more = len(described) - len(shown)
    return "; ".join(shown) + (f"; e mais {more}" if more else "")


def _name_field(place: tuple[int | str, ...]) -> str:
    """`recipients[2].phone`, counted from 0 as programs do."""
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return name.removeprefix(".") or _WHOLE_BODY


def _describe(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return _WORDS_OF_PATTERNS.get(str(context.get("pattern")), f"no formato {context.get('pattern')}")
    if (shape := _SHAPES.get(kind)) is not None:
        return shape.format_map({name: _write(value) for name, value in context.items()})
    return next((shape for family, shape in _FAMILIES.items() if kind.startswith(family)), "não é válido")


def _write(value: Any) -> str:
    """A limit as people here write numbers."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", ".")
    return str(value).replace(" or ", " ou ")
