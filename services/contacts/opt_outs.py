"""Opt-outs: who asked never to be written to again, by a word of theirs or noted by the session's owner.

An opt-out has no end. Schedules and campaigns obey it; a person who writes by hand is only warned.
"""

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Text, cast, func, select
from sqlalchemy.dialects.postgresql import insert

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.contacts import opt_outs
from services.wppconnect.phone import list_spellings, normalise

# What a whole message must consist of, in capitals without accents. A sentence that only contains such a word ("vou
# sair às 5") is none: whoever would be wrongly silenced never hears of it.
OPT_OUT_WORDS = frozenset(
    {
        "SAIR",
        "SAIR DA LISTA",
        "QUERO SAIR",
        "PARAR",
        "PARE",
        "PARAR DE RECEBER",
        "STOP",
        "STOPALL",
        "UNSUBSCRIBE",
        "CANCELAR",
        "CANCELAR INSCRICAO",
        "CANCELE",
        "DESCADASTRAR",
        "DESCADASTRE",
        "ME DESCADASTRE",
        "DESINSCREVER",
        "REMOVER",
        "REMOVER DA LISTA",
        "ME REMOVA",
        "ME REMOVA DA LISTA",
        "ME TIRA DA LISTA",
        "ME TIRE DA LISTA",
        "NAO ENVIAR",
        "NAO ENVIE MAIS",
        "NAO QUERO RECEBER",
        "NAO QUERO MAIS RECEBER",
        "NAO QUERO RECEBER MAIS",
    }
)
# A longer text is a message to somebody, not a word; nor is it worth looking through.
MAX_LENGTH = 100
_COURTESY = re.compile(r"^(?:POR FAVOR |FAVOR )|(?: POR FAVOR| OBRIGADO| OBRIGADA)$")


def match_word(text: str) -> str | None:
    """The opt-out word that `text` consists of, as it stands in WORDS; None for any other text.

    Case, accents, punctuation, emojis and courtesies around it do not matter.
    """
    if len(text) > MAX_LENGTH:
        return None
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    plain = " ".join(re.sub(r"[^A-Z0-9]+", " ", bare.upper()).split())
    word = _COURTESY.sub("", plain)
    return word if word in OPT_OUT_WORDS else None


def record(tx: Connection, user_id: UUID, phone: str, word: str | None) -> bool:
    """Note that `phone` (digits) asked `user_id` for silence with `word`; False where it was noted before.

    Inside the caller's transaction: what came in and what it means are one step. A person notes without a word.
    """
    row = {"user_id": user_id, "phone": phone} | ({"trigger_word": word} if word is not None else {})
    noted = insert(opt_outs).values(row).on_conflict_do_nothing().returning(opt_outs.c.phone)
    return tx.execute(noted).first() is not None


def find_opted_out(tx: Connection, user_id: UUID, phones: Collection[str]) -> set[str]:
    """Those of `phones` (digits) that `user_id` may not write to by schedule or campaign.

    A line is one line with and without Brazil's ninth digit.
    """
    ways = {phone: list_spellings(phone) for phone in phones}
    if not ways:
        return set()
    asked = [one for spelt in ways.values() for one in spelt]
    # One array instead of a placeholder each: ten thousand phones are one statement of constant length.
    found = set(
        tx.execute(
            select(opt_outs.c.phone).where(
                opt_outs.c.user_id == user_id, opt_outs.c.phone == func.any(cast(asked, ARRAY(Text)))
            )
        ).scalars()
    )
    return {phone for phone, spelt in ways.items() if not found.isdisjoint(spelt)}


def filter_opted_out(actor: Actor, phones: Collection[str]) -> set[str]:
    """Those of `phones` (digits) that asked the actor for silence."""
    user_id = actor.require_user("only a signed-in user writes to people")
    with transaction(actor) as tx:
        return find_opted_out(tx, user_id, phones)


def list_newest(actor: Actor, limit: int = 100) -> list[tuple[str, datetime, str | None]]:
    """Who asked the actor for silence (digits), when, and by which word (None: the owner noted it), newest first."""
    found = select(opt_outs.c.phone, opt_outs.c.created_at, opt_outs.c.trigger_word).where(
        opt_outs.c.user_id == actor.user_id
    )
    with transaction(actor) as tx:
        rows = tx.execute(found.order_by(opt_outs.c.created_at.desc(), opt_outs.c.phone).limit(limit)).all()
    return [(row.phone, row.created_at, row.trigger_word) for row in rows]


def add(actor: Actor, phone: str) -> bool:
    """Note that the owner of `phone` (as people write it) asked for silence; False where it was noted before.

    Raises: InvalidPhone.
    """
    user_id = actor.require_user("only a signed-in user notes it")
    with transaction(actor) as tx:
        return record(tx, user_id, normalise(phone), None)
