"""By which words people ask for silence, and by which they take it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contacts import consent_words


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SAIR", "SAIR"),
        ("sair", "SAIR"),
        ("  Sair!! 🙏 ", "SAIR"),
        ("*PARAR*", "PARAR"),
        ("Parar, por favor", "PARAR"),
        ("por favor, pare.", "PARE"),
        ("sair, por favor. Obrigada!", "SAIR"),
        ("não quero mais receber", "NAO QUERO MAIS RECEBER"),
        ("Cancelar inscrição", "CANCELAR INSCRICAO"),
        ("Stop.", "STOP"),
        ("descadastrar", "DESCADASTRAR"),
        ("Cancelar", "CANCELAR"),
        ("não enviar", "NAO ENVIAR"),
    ],
)
def test_it_knows_a_word_however_it_is_written(text: str, word: str) -> None:
    assert consent_words.match_opt_out(text) == word
    assert consent_words.match_opt_in(text) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("START", "START"),
        ("unstop", "UNSTOP"),
        ("Voltar, por favor", "VOLTAR"),
        ("quero receber", "QUERO RECEBER"),
        ("Quero receber de novo 🙂", "QUERO RECEBER DE NOVO"),
    ],
)
def test_it_knows_a_word_that_takes_it_back(text: str, word: str) -> None:
    assert consent_words.match_opt_in(text) == word
    assert consent_words.match_opt_out(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "vou sair às 5", "pode cancelar a de terça?", "não para!", "sairam", "SAIR" * 200, "por favor", "👍",
     "volto já", "quero receber o boleto"],
)  # fmt: skip
def test_it_takes_nothing_else_for_a_word(text: str) -> None:
    assert consent_words.match_opt_out(text) is consent_words.match_opt_in(text) is None


@given(st.text())
def test_it_answers_any_text_with_a_word_or_none(text: str) -> None:
    found = consent_words.match_opt_out(text)
    assert found is None or found in consent_words.OPT_OUT_WORDS | set(consent_words.AMBIGUOUS_WORDS)
    assert consent_words.match_opt_in(text) in consent_words.OPT_IN_WORDS | {None}


def test_no_word_means_two_things() -> None:
    assert not consent_words.OPT_OUT_WORDS & consent_words.OPT_IN_WORDS
    assert not set(consent_words.AMBIGUOUS_WORDS) & (consent_words.OPT_OUT_WORDS | consent_words.OPT_IN_WORDS)


@pytest.mark.parametrize(
    ("sent", "word", "answers"),
    [
        ("Novidades da semana!", "CANCELAR", True),
        ("Novidades! Para não receber mais, responda CANCELAR.", "CANCELAR", True),
        ("Não quer mais receber?\nResponda CANCELAR", "CANCELE", True),
        ("Para sair, digite REMOVER", "REMOVER", True),
        ("Consulta amanhã 10h. Responda CONFIRMAR ou CANCELAR", "CANCELAR", False),
        ("Consulta amanhã 10h. Responda CONFIRMAR ou CANCELAR", "CANCELE", False),
        ("Consulta amanhã 10h. Responda CANCELAR.", "CANCELAR", False),
        ("Sua oferta espera. Se quiser cancelar a consulta, responda Cancelar", "CANCELAR", False),
        ("Responda REMOVER para tirar o item do pedido", "REMOVER", False),
        ("Responda REMOVER para tirar o item do pedido", "CANCELAR", True),
        ("Responda CONFIRMAR ou SAIR", "SAIR", True),
        ("", "CANCELAR", True),
    ],
)
def test_a_word_that_was_offered_for_something_else_is_no_answer(sent: str, word: str, answers: bool) -> None:
    assert consent_words.may_answer(sent, word) is answers
