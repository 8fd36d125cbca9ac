"""Who asked for silence: by which words, and that it holds for a line however it is written."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contacts import opt_outs
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.wppconnect import phone
from tests.support.databases import Database

LONG, SHORT = "5511987654321", "551187654321"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SAIR", "SAIR"),
        ("sair", "SAIR"),
        ("  Sair!! 🙏 ", "SAIR"),
        ("*PARAR*", "PARAR"),
        ("Parar, por favor", "PARAR"),
        ("por favor, pare.", "PARE"),
        ("não quero mais receber", "NAO QUERO MAIS RECEBER"),
        ("Cancelar inscrição", "CANCELAR INSCRICAO"),
        ("Stop.", "STOP"),
        ("descadastrar", "DESCADASTRAR"),
    ],
)
def test_it_knows_a_word_however_it_is_written(text: str, word: str) -> None:
    assert opt_outs.match_word(text) == word


@pytest.mark.parametrize(
    "text", ["", "vou sair às 5", "pode cancelar a de terça?", "não para!", "sairam", "SAIR" * 200, "por favor", "👍"]
)
def test_it_takes_nothing_else_for_a_word(text: str) -> None:
    assert opt_outs.match_word(text) is None


@given(st.text())
def test_it_answers_any_text_with_a_word_or_none(text: str) -> None:
    found = opt_outs.match_word(text)
    assert found is None or found in opt_outs.OPT_OUT_WORDS


def test_it_holds_with_and_without_the_ninth_digit(user: Actor, new_actor: Callable[..., Actor]) -> None:
    assert user.user_id is not None
    with transaction(SYSTEM) as tx:
        assert opt_outs.record(tx, user.user_id, SHORT, "SAIR")
        assert not opt_outs.record(tx, user.user_id, SHORT, "PARAR")
        assert opt_outs.find_opted_out(tx, user.user_id, [LONG, SHORT, "5511900000000"]) == {LONG, SHORT}
        assert opt_outs.find_opted_out(tx, user.user_id, []) == set()
    assert opt_outs.filter_opted_out(user, [LONG]) == {LONG}
    assert opt_outs.filter_opted_out(new_actor(), [LONG]) == set(), "it was said to one sender, not to all"


def test_it_lets_the_owner_note_it_for_them(user: Actor, database: Database) -> None:
    assert opt_outs.add(user, "(11) 98765-4321")
    assert not opt_outs.add(user, "11 98765 4321")
    assert database.execute("select phone, trigger_word from opt_outs") == [(LONG, None)]
    assert [(one, word) for one, _at, word in opt_outs.list_newest(user)] == [(LONG, None)]


def test_it_asks_for_ten_thousand_in_one_statement(user: Actor) -> None:
    opt_outs.add(user, LONG)
    phones = [str(5511900000000 + number) for number in range(10_000)]
    assert opt_outs.filter_opted_out(user, [*phones, SHORT]) == {SHORT}


@pytest.mark.parametrize(
    ("digits", "ways"),
    [
        (LONG, (LONG, SHORT)),
        (SHORT, (SHORT, LONG)),
        ("551133334444", ("551133334444",)),
        ("14155550100", ("14155550100",)),
    ],
)
def test_a_line_is_spelt_in_one_way_or_two(digits: str, ways: tuple[str, ...]) -> None:
    assert phone.list_spellings(digits) == ways
