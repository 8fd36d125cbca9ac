"""The words by which people ask for silence, and those by which they take that back.

A word counts only where it is the whole message. A sentence that contains one ("vou sair às 5") is none: whoever would
be wrongly silenced never hears of it.
"""

import re
import unicodedata
from typing import Final

# In capitals without accents, as `_simplify` writes them.
OPT_OUT_WORDS: Final = frozenset(
    {
        "SAIR",
        "SAIR DA LISTA",
        "QUERO SAIR",
        "QUERO SAIR DA LISTA",
        "PARAR",
        "PARE",
        "PARAR DE RECEBER",
        "STOP",
        "STOPALL",
        "UNSUBSCRIBE",
        "CANCELAR INSCRICAO",
        "DESCADASTRAR",
        "DESCADASTRE",
        "ME DESCADASTRE",
        "DESINSCREVER",
        "REMOVER DA LISTA",
        "ME REMOVA",
        "ME REMOVA DA LISTA",
        "ME TIRA DA LISTA",
        "ME TIRE DA LISTA",
        "NAO ENVIE MAIS",
        "NAO QUERO RECEBER",
        "NAO QUERO MAIS RECEBER",
        "NAO QUERO RECEBER MAIS",
    }
)
# What people also say of an appointment or an order: they ask for silence only in answer to a campaign. Word → how
# every form of it begins.
AMBIGUOUS_WORDS: Final = {
    "CANCELAR": "CANCEL",
    "CANCELE": "CANCEL",
    "CANCELA": "CANCEL",
    "CANCEL": "CANCEL",
    "QUERO CANCELAR": "CANCEL",
    "REMOVER": "REMOV",
    "REMOVA": "REMOV",
    "REMOVE": "REMOV",
    "NAO ENVIAR": "ENVI",
    "NAO ENVIE": "ENVI",
}
OPT_IN_WORDS: Final = frozenset(
    {
        "START",
        "UNSTOP",
        "SUBSCRIBE",
        "VOLTAR",
        "QUERO VOLTAR",
        "VOLTAR A RECEBER",
        "QUERO VOLTAR A RECEBER",
        "QUERO RECEBER",
        "QUERO RECEBER DE NOVO",
        "QUERO RECEBER NOVAMENTE",
        "RECEBER DE NOVO",
        "RECEBER NOVAMENTE",
        "PODE ENVIAR DE NOVO",
        "RECADASTRAR",
        "REINSCREVER",
    }
)
# A longer text is a message to somebody, not a word; nor is it worth looking through.
MAX_LENGTH = 100
BARE_OFFER_WORDS = 3
_COURTESY = re.compile(r"^(?:(?:POR FAVOR|FAVOR) )+|(?: (?:POR FAVOR|OBRIGADO|OBRIGADA))+$")
_SENTENCE_END = re.compile(r"(?:[.!?;\n]\s*)+")
# What a sentence speaks of that offers a word against further messages.
_OF_MESSAGES = re.compile(
    r"\b(?:RECEB|MENSAGE|LISTA|SAIR\b|AVISOS?\b|NOVIDADE|PROMOC|OFERTA|INSCRI|ASSINATURA|DESCADASTR)"
)


def match_opt_out(text: str) -> str | None:
    """The word for silence that `text` consists of, as it stands in the tables; None for any other text.

    Case, accents, punctuation, emojis and courtesies around it do not matter.
    """
    word = _get_word(text)
    return word if word in OPT_OUT_WORDS or word in AMBIGUOUS_WORDS else None


def match_opt_in(text: str) -> str | None:
    """The word that takes an opt-out back of which `text` consists; None for any other text."""
    word = _get_word(text)
    return word if word in OPT_IN_WORDS else None


def may_answer(sent: str, word: str) -> bool:
    """Whether `word` said after the message `sent` asks for silence, as far as that message goes.

    "Responda CONFIRMAR ou CANCELAR" offers an ambiguous word for something else; "CANCELAR para não receber mais" does
    not.
    """
    start = AMBIGUOUS_WORDS.get(word)
    if start is None:
        return True
    offer = re.compile(rf"\b{start}")
    sentences = [_simplify(sentence) for sentence in _SENTENCE_END.split(sent)]
    return all(
        _OF_MESSAGES.search(_add_context(before, sentence))
        for before, sentence in zip(["", *sentences], sentences, strict=False)
        if offer.search(sentence)
    )


def _add_context(before: str, sentence: str) -> str:
    """ "Responda CANCELAR" says by itself nothing of what for: the sentence before it does."""
    return sentence if len(sentence.split()) > BARE_OFFER_WORDS else f"{before} {sentence}"


def _get_word(text: str) -> str:
    return _COURTESY.sub("", _simplify(text)) if len(text) <= MAX_LENGTH else ""


def _simplify(text: str) -> str:
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", bare.upper()).split())
