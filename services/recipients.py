"""Whom a message goes to: looked at before anything is sent, each with what is wrong with it.

    written, from wherever ──examine──▶ normalised, each line once, no one who asked for silence, on WhatsApp

What is wrong is a code on each recipient, never an exception: a list of ten thousand has a mistake in it. Numbers that
nobody asked about yet and for which the hour's budget is spent stay `unchecked`; sending checks them once more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select

from services import messages, numbers, optouts, templates
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.models import contacts as contact_rows
from services.db.models import sessions as session_rows
from services.entries import Entry, is_rounded, valid
from services.errors import (
    N_,
    ConfigurationError,
    EmptyList,
    EmptyMessage,
    Forbidden,
    ListTooLong,
    MessageTooLong,
    MissingVariable,
    SessionNotConnected,
    WppError,
)
from services.messages import Content
from services.sessions import Status, asked_if_disconnected
from services.templates import NAME, PHONE, Draft, Template
from services.wppconnect.connection import client
from services.wppconnect.phone import display, is_group, spellings

log = structlog.get_logger(__name__)

# Whom one may write to at once without a campaign's governor.
SEVERAL = 50


class Problem(StrEnum):
    """What is wrong with a recipient."""

    INVALID = "invalid"
    FORMULA = "formula"
    ROUNDED = "rounded"
    DUPLICATE = "duplicate"
    OPTED_OUT = "opted_out"
    NOT_ON_WHATSAPP = "not_on_whatsapp"
    MISSING_VALUE = "missing_value"
    UNSUITABLE = "unsuitable"
    UNCHECKED = "unchecked"  # the only one that does not keep a message from being sent


# Problem → what it means and what to do.
PROBLEMS: dict[Problem, str] = {
    Problem.INVALID: N_("Não é um número de telefone válido. Informe DDD e número, ou +código do país."),
    Problem.FORMULA: N_("A célula tem uma fórmula, que não calculamos. Cole o valor dela."),
    Problem.ROUNDED: N_("A planilha arredondou o número. Formate a coluna como texto e exporte de novo."),
    Problem.DUPLICATE: N_("Já está na lista, em outra linha; recebe uma vez só."),
    Problem.OPTED_OUT: N_("Pediu para não receber mais mensagens."),
    Problem.NOT_ON_WHATSAPP: N_("Esse número não está no WhatsApp."),
    Problem.MISSING_VALUE: N_("Falta o valor de uma variável do modelo."),
    Problem.UNSUITABLE: N_("Com os valores desta linha, a mensagem fica vazia ou longa demais."),
    Problem.UNCHECKED: N_("Ainda não conferido: será conferido na hora do envio."),
}


@dataclass(frozen=True)
class Recipient:
    """One recipient. `phone` is digits, or a group's `…@g.us`; None where none could be read.

    `row` is where it was written, counted from 1. `values` fill a template, `nome` and `telefone` included; `missing`
    names the variable of a MISSING_VALUE.
    """

    row: int
    written: str
    phone: str | None
    name: str | None = field(default=None, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    problem: Problem | None = None
    missing: str | None = None

    @property
    def sendable(self) -> bool:
        return self.problem in (None, Problem.UNCHECKED)

    @property
    def is_group(self) -> bool:
        return self.phone is not None and is_group(self.phone)


@dataclass(frozen=True)
class Acquaintance:
    """Somebody, or a group, whom the session knows. `address`: digits, or a group's `…@g.us`."""

    address: str
    name: str | None = field(default=None, repr=False)


Progress = Callable[[int, int], None]


# --- whom the session knows -------------------------------------------------------------------------------------------


def people(actor: Actor) -> list[Acquaintance]:
    """The people of the actor's conversations and of their phone's address book, by name.

    Where the server does not answer, those of the conversations.
    """
    found = {one.address: one for one in _book(actor, groups=False)}
    for one in _contacts(actor, groups=False):
        found[one.address] = one if one.name else replace(one, name=_named(found, one.address))
    return _by_name(found.values())


def groups(actor: Actor) -> list[Acquaintance]:
    """The groups that the actor's session is in, by name. Where the server does not answer, those that wrote."""
    found = {one.address: one for one in _contacts(actor, groups=True)}
    for one in _book(actor, groups=True):
        found[one.address] = one if one.name else replace(one, name=_named(found, one.address))
    return _by_name(found.values())


def chosen(found: Iterable[Acquaintance]) -> tuple[Entry, ...]:
    """People and groups that were chosen, to be examined."""
    return tuple(Entry(row, one.address, one.name) for row, one in enumerate(found, 1))


def _named(found: Mapping[str, Acquaintance], address: str) -> str | None:
    return found[address].name if address in found else None


def _by_name(found: Iterable[Acquaintance]) -> list[Acquaintance]:
    return sorted(found, key=lambda one: (one.name is None, (one.name or one.address).casefold()))


def _contacts(actor: Actor, *, groups: bool) -> list[Acquaintance]:
    query = select(
        contact_rows.c.address,
        contact_rows.c.phone,
        func.coalesce(contact_rows.c.name, contact_rows.c.pushname).label("called"),
    ).where(
        contact_rows.c.user_id == actor.user_id,
        contact_rows.c.is_group == groups,
        contact_rows.c.blocked_at.is_(None),
    )
    with transaction(actor) as tx:
        rows = tx.execute(query).all()
    return [Acquaintance(row.address if groups else row.phone, row.called) for row in rows if groups or row.phone]


def _book(actor: Actor, *, groups: bool) -> list[Acquaintance]:
    """What the session's server knows, as far as it is connected and answers."""
    line = _line(actor)
    if line is None or line.status != Status.CONNECTED:
        return []
    try:
        if groups:
            with asked_if_disconnected(actor, line.session_id):
                chats = client().list_chats(line.server_url, line.session_id)
            return [Acquaintance(one.id, one.name) for one in chats if one.is_group and valid(one.id)]
        with asked_if_disconnected(actor, line.session_id):
            book = client().all_contacts(line.server_url, line.session_id)
    except (WppError, ConfigurationError) as error:
        log.info("book_unanswered", groups=groups, error=type(error).__name__)
        return []
    phones = ((valid(f"+{one.id.removesuffix('@c.us')}"), one.name) for one in book if one.id.endswith("@c.us"))
    return [Acquaintance(phone, name) for phone, name in phones if phone]


# --- looking at them --------------------------------------------------------------------------------------------------


def examine(
    actor: Actor,
    entries: Sequence[Entry],
    progress: Progress = lambda _done, _of: None,
    *,
    ask: bool = True,
) -> tuple[Recipient, ...]:
    """Each of `entries` as a recipient, in the same order, with what is wrong with it.

    What WhatsApp knows of a number is taken from what is remembered; with `ask` the session's server is asked about the
    others, within the hour's budget and while it answers, and `progress(done, of)` is called after each. Raises
    Forbidden where nobody is signed in.
    """
    if actor.user_id is None:
        raise Forbidden("only a signed-in user writes to people")
    read = _without_twins([_read(entry) for entry in entries])
    silent = optouts.among(actor, _phones(read))
    read = [replace(one, problem=Problem.OPTED_OUT) if one.phone in silent else one for one in read]
    known = _known(actor, _phones(read), progress, ask=ask)
    return tuple(_judged(one, known) for one in read)


def for_template(
    recipients: Sequence[Recipient], template: Template | Draft, common: Mapping[str, str] | None = None
) -> tuple[Recipient, ...]:
    """`recipients`, those marked for whom the template cannot be filled; `common` as in `content`.

    Raises TemplateInvalid and UnknownVariable, which concern everybody.
    """
    return tuple(_fillable(one, template, common) if one.sendable else one for one in recipients)


def content(recipient: Recipient, template: Template | Draft, common: Mapping[str, str] | None = None) -> Content:
    """What a recipient gets; `common` values stand where they have none of their own. Raises as `templates.render`."""
    return templates.render(template, {**(common or {}), **recipient.values})


def sendable(recipients: Iterable[Recipient]) -> tuple[Recipient, ...]:
    """Those to whom a message can go."""
    return tuple(one for one in recipients if one.sendable)


def queue(
    actor: Actor,
    recipients: Sequence[Recipient],
    template: Template | Draft,
    idempotency_key: str,
    common: Mapping[str, str] | None = None,
) -> list[UUID]:
    """Queue the template for each of `recipients` that is sendable, in their order: all of them or none.

    Who asked for silence meanwhile is left out. The same key queues once for each phone. For a few; many go through a
    campaign. Returns the messages' ids. Raises
    ListTooLong past SEVERAL, EmptyList, SessionNotConnected, and as `content`, `templates.own` and `messages.put`.
    """
    if actor.user_id is None:
        raise Forbidden("only a signed-in user sends")
    silent = optouts.among(actor, _phones(recipients))
    to = [one for one in sendable(recipients) if one.phone not in silent]
    if not to:
        raise EmptyList("nobody to send to")
    if len(to) > SEVERAL:
        raise ListTooLong(f"{len(to)} recipients", limit=SEVERAL)
    file = templates.own(actor, Content(template.kind, media=template.media)).media
    filled = [content(one, replace(template, media=file), common) for one in to]
    origin = template.origin if isinstance(template, Template) else None
    line = _line(actor)
    if line is None or line.status != Status.CONNECTED:
        raise SessionNotConnected(f"session of {actor.user_id}")
    queued = []
    with transaction(actor) as tx:
        for one, text in zip(to, filled, strict=True):
            key = f"{idempotency_key}:{one.phone}"
            row = messages.put(tx, actor.user_id, line.id, one.phone or "", text, key, one.name, origin=origin)
            queued.append(row.id)
    return queued


def values_of(entry: Entry) -> dict[str, str]:
    """What fills a template for this entry: its own values, its name and its phone."""
    return dict(_read(entry).values)


def _read(entry: Entry) -> Recipient:
    phone = valid(entry.written)
    values = dict(entry.values)
    if phone and not is_group(phone):
        values[PHONE] = display(phone)
    if entry.name:
        values[NAME] = entry.name
    return Recipient(entry.row, entry.written, phone, entry.name, values, None if phone else _fault(entry.written))


def _fault(written: str) -> Problem:
    if written.startswith("="):
        return Problem.FORMULA
    return Problem.ROUNDED if is_rounded(written) else Problem.INVALID


def _without_twins(recipients: list[Recipient]) -> list[Recipient]:
    """The first of each line stays; with and without Brazil's ninth digit it is one line."""
    seen: set[str] = set()
    marked = []
    for one in recipients:
        ways = spellings(one.phone) if one.phone else ()
        marked.append(replace(one, problem=Problem.DUPLICATE) if seen.intersection(ways) else one)
        seen.update(ways)
    return marked


def _phones(recipients: Iterable[Recipient]) -> list[str]:
    """Of those that nothing is wrong with so far; WhatsApp is not asked about groups."""
    return [one.phone for one in recipients if one.phone and one.sendable and not one.is_group]


def _known(actor: Actor, phones: list[str], progress: Progress, *, ask: bool) -> dict[str, numbers.Known]:
    line = _line(actor)
    if line is None:
        return {}
    session_id: UUID = line.id
    found = numbers.known(actor, session_id, phones)
    missing = [phone for phone in phones if phone not in found]
    if ask and missing and line.status == Status.CONNECTED:
        try:
            numbers.check(actor, session_id, missing, progress)
        except (WppError, ConfigurationError) as error:
            log.info("numbers_unanswered", error=type(error).__name__)
        found |= numbers.known(actor, session_id, missing)
    return found


def _judged(one: Recipient, known: Mapping[str, numbers.Known]) -> Recipient:
    if one.problem is not None or one.is_group or one.phone is None:
        return one
    answer = known.get(one.phone)
    if answer is None:
        return replace(one, problem=Problem.UNCHECKED)
    return one if answer.exists else replace(one, problem=Problem.NOT_ON_WHATSAPP)


def _fillable(one: Recipient, template: Template | Draft, common: Mapping[str, str] | None) -> Recipient:
    try:
        content(one, template, common)
    except MissingVariable as error:
        return replace(one, problem=Problem.MISSING_VALUE, missing=error.params["name"])
    except (EmptyMessage, MessageTooLong):
        return replace(one, problem=Problem.UNSUITABLE)
    return one


def _line(actor: Actor) -> Any:
    query = select(
        session_rows.c.id, session_rows.c.session_id, session_rows.c.server_url, session_rows.c.status
    ).where(session_rows.c.user_id == actor.user_id)
    with transaction(actor) as tx:
        return tx.execute(query).one_or_none()
