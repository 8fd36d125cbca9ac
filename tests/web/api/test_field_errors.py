"""What is wrong with a request's fields, in words, and the texts that programs give as numbers."""

from datetime import date, time
from typing import Annotated, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, NaiveDatetime, ValidationError

from web.api.field_errors import describe_errors
from web.api.given_texts import Text, Values


class Everything(BaseModel):
    text: Annotated[str, Field(min_length=1, max_length=4000)] = "x"
    clock: str = Field("09:00", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
    other: str = Field("a", pattern="^[a-z]$")
    count: int = Field(1, ge=1, le=2000)
    share: float = Field(0.5, gt=0, lt=1)
    on: bool = True
    id: UUID | None = None
    at: NaiveDatetime | None = None
    day: date | None = None
    hour: time | None = None
    kind: Literal["a", "b"] = "a"
    many: list[int] = Field([1], min_length=1, max_length=2)
    given: Text = ""
    values: Values = {}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("text", 1, "text (deve ser um texto)"),
        ("text", "", "text (pelo menos 1 caractere(s))"),
        ("text", "x" * 4001, "text (até 4.000 caracteres)"),
        ("clock", "9h", "clock (deve ser uma hora, de 00:00 a 23:59)"),
        ("other", "1", "other (no formato ^[a-z]$)"),
        ("count", 2001, "count (no máximo 2.000)"),
        ("count", 1.5, "count (deve ser um número inteiro)"),
        ("share", 1, "share (menor que 1)"),
        ("share", "muito", "share (deve ser um número)"),
        ("on", "talvez", "on (deve ser true ou false)"),
        ("id", "x", "id (deve ser um id (UUID))"),
        ("at", "ontem", "at (deve ser data e hora no formato ISO 8601)"),
        ("at", "2024-05-01T09:00:00Z", "at (sem fuso: use data e hora como 2024-05-01T09:00)"),
        ("day", "ontem", "day (deve ser uma data, como 2024-05-01)"),
        ("hour", "x", "hour (deve ser uma hora, como 09:30)"),
        ("kind", "c", "kind (deve ser 'a' ou 'b')"),
        ("many", [1, 2, 3], "many (até 2 itens)"),
        ("many", [1, "x"], "many[1] (deve ser um número inteiro)"),
        ("given", True, "given (deve ser um texto)"),
        ("given", float("nan"), "given (deve ser um texto ou um número)"),
        ("given", 1e20, "given (um número desse tamanho perde algarismos: envie-o como texto, entre aspas)"),
        ("values", [], "values (deve ser um objeto JSON)"),
    ],
)
def test_it_says_what_a_field_should_be(field: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Everything.model_validate({field: value})
    assert describe_errors(raised.value.errors()) == words


def test_it_names_the_first_fields_of_many() -> None:
    wrong = {name: object() for name in Everything.model_fields}
    with pytest.raises(ValidationError) as raised:
        Everything.model_validate(wrong)
    assert describe_errors(raised.value.errors()).endswith("; e mais 4")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (5511987650023, "5511987650023"),
        (5511987650023.0, "5511987650023"),
        (-3, "-3"),
        (120.5, "120.5"),
        (0.0000001, "0.0000001"),
        (2**60, str(2**60)),
        ("1e20", "1e20"),
    ],
)
def test_a_number_is_the_text_that_it_is(given: object, text: str) -> None:
    assert Everything.model_validate({"given": given}).given == text


def test_what_is_true_is_no_word_of_python() -> None:
    assert Everything.model_validate({"values": {"a": True, "b": False, "c": None}}).values == {
        "a": "true", "b": "false"
    }  # fmt: skip
