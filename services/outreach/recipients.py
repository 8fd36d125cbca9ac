"""Whom a message goes to: recipients are checked before anything is sent, and each carries its problem.

    written row ──examine──▶ phone normalised, each phone once, not opted out, on WhatsApp

A problem is a code on the recipient, never an exception: a list of ten thousand rows has mistakes in it. Numbers that
were never checked stay `unchecked` once the hour's budget is spent; sending checks them again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

import structlog

from services.contacts import number_checks, opt_outs
from services.db.actor import Actor
from services.db.engine import transaction
from services.errors import N_, ConfigurationError
from services.fleet.session import Status
from services.messaging import outbox
from services.messaging.content import Content, EmptyMessage, MessageTooLong
from services.messaging.errors import SessionNotConnected
from services.outreach import template_content, templates
from services.outreach.address_book import get_session_row
from services.outreach.errors import EmptyList, ListTooLong
from services.outreach.recipient_row import RecipientRow
from services.outreach.template_content import NAME_VARIABLE, PHONE_VARIABLE, Template, TemplateDraft
from services.outreach.template_language import MissingVariable
from services.wppconnect.errors import DocumentNotPhone, InvalidPhone, RoundedNumber, WppError
from services.wppconnect.phone import (
    format_phone,
    get_address_key,
    is_group,
    list_spellings_to_ask,
    read_address,
)

log = structlog.get_logger(__name__)

# Whom one may write to at once without a campaign's pacing.
MAX_WITHOUT_CAMPAIGN = 50


class Problem(StrEnum):
    """What is wrong with a recipient."""

    INVALID = "invalid"
    FORMULA = "formula"
    DOCUMENT = "document"
    ROUNDED = "rounded"
    DUPLICATE = "duplicate"
    OPTED_OUT = "opted_out"
    NOT_ON_WHATSAPP = "not_on_whatsapp"
    MISSING_VALUE = "missing_value"
    UNSUITABLE = "unsuitable"
    UNCHECKED = "unchecked"  # the only one that does not keep a message from being sent


# Problem → what it means and what to do.
PROBLEM_SENTENCES: dict[Problem, str] = {
    Problem.INVALID: N_("Não é um número de telefone válido. Informe DDD e número, ou +código do país."),
    Problem.FORMULA: N_("A célula tem uma fórmula, que não calculamos. Cole o valor dela."),
    Problem.DOCUMENT: N_("É um CPF ou outro documento, não um número de telefone."),
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
    """One recipient. `phone` is digits, a person's `…@lid` or a group's `…@g.us`; None where none could be read.

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

    @property
    def has_number(self) -> bool:
        """Whether WhatsApp can be asked about it: a group and a `@lid` are addresses already."""
        return self.phone is not None and "@" not in self.phone


ProgressCallback = Callable[[int, int], None]


def examine(
    actor: Actor,
    entries: Sequence[RecipientRow],
    progress: ProgressCallback = lambda _done, _of: None,
    *,
    ask: bool = True,
) -> tuple[Recipient, ...]:
    """Each of `entries` as a recipient, in the same order, with what is wrong with it.

    What WhatsApp knows of a number is taken from what is remembered; with `ask` the session's server is asked about the
    others, within the hour's budget and while it answers, and `progress(done, of)` is called after each.

    Raises: Forbidden where nobody is signed in.
    """
    actor.require_user("only a signed-in user writes to people")
    read = _mark_duplicates([_recipient_from_row(entry) for entry in entries])
    silent = opt_outs.filter_opted_out(actor, _people(read))
    read = [replace(one, problem=Problem.OPTED_OUT) if one.phone in silent else one for one in read]
    known = _check_numbers(actor, _phones_to_check(read), progress, ask=ask)
    return tuple(_with_number_check(one, known) for one in read)


def check_for_template(
    recipients: Sequence[Recipient], template: Template | TemplateDraft, common: Mapping[str, str] | None = None
) -> tuple[Recipient, ...]:
    """`recipients`, those marked for whom the template cannot be filled; `common` as in `render_for`.

    Raises: TemplateInvalid and UnknownVariable, which concern everybody.
    """
    return tuple(_check_fillable(one, template, common) if one.sendable else one for one in recipients)


def render_for(
    recipient: Recipient, template: Template | TemplateDraft, common: Mapping[str, str] | None = None
) -> Content:
    """What a recipient gets; `common` values stand where they have none of their own.

    Raises: what `template_content.render` raises.
    """
    return template_content.render(template, {**(common or {}), **recipient.values})


def only_sendable(recipients: Iterable[Recipient]) -> tuple[Recipient, ...]:
    """Those to whom a message can go."""
    return tuple(one for one in recipients if one.sendable)


def queue(
    actor: Actor,
    recipients: Sequence[Recipient],
    template: Template | TemplateDraft,
    idempotency_key: str,
    common: Mapping[str, str] | None = None,
) -> list[UUID]:
    """Queue the template for each of `recipients` that is sendable, in their order: all of them or none.

    Who asked for silence meanwhile is left out. The same key queues once for each phone. For a few; many go through a
    campaign. Returns the messages' ids.

    Raises: ListTooLong past MAX_WITHOUT_CAMPAIGN, EmptyList, SessionNotConnected, and what `templates.with_own_file`,
        `template_content.render` and `outbox.queue_in_transaction` raise.
    """
    user_id = actor.require_user("only a signed-in user sends")
    silent = opt_outs.filter_opted_out(actor, _people(recipients))
    to = [one for one in only_sendable(recipients) if one.phone not in silent]
    if not to:
        raise EmptyList("nobody to send to")
    if len(to) > MAX_WITHOUT_CAMPAIGN:
        raise ListTooLong(f"{len(to)} recipients", limit=MAX_WITHOUT_CAMPAIGN)
    file = templates.with_own_file(actor, Content(template.kind, media=template.media)).media
    filled = [render_for(one, replace(template, media=file), common) for one in to]
    origin = template.origin if isinstance(template, Template) else None
    line = get_session_row(actor)
    if line is None or line.status != Status.CONNECTED:
        raise SessionNotConnected(f"session of {user_id}")
    queued = []
    with transaction(actor) as tx:
        for one, text in zip(to, filled, strict=True):
            key = f"{idempotency_key}:{one.phone}"
            row = outbox.queue_in_transaction(tx, user_id, line.id, one.phone or "", text, key, one.name, origin=origin)
            queued.append(row.id)
    return queued


def template_values(entry: RecipientRow) -> dict[str, str]:
    """What fills a template for this entry: its own values, its name and its phone."""
    return dict(_recipient_from_row(entry).values)


def _recipient_from_row(entry: RecipientRow) -> Recipient:
    phone, problem = _read_phone(entry.written)
    values = dict(entry.values)
    if phone and "@" not in phone:
        values[PHONE_VARIABLE] = format_phone(phone)
    if entry.name:
        values[NAME_VARIABLE] = entry.name
    return Recipient(entry.row, entry.written, phone, entry.name, values, problem)


def _read_phone(written: str) -> tuple[str | None, Problem | None]:
    try:
        return read_address(written), None
    except DocumentNotPhone:
        return None, Problem.DOCUMENT
    except RoundedNumber:
        return None, Problem.ROUNDED
    except InvalidPhone:
        return None, Problem.FORMULA if written.startswith("=") else Problem.INVALID


def _mark_duplicates(recipients: list[Recipient]) -> list[Recipient]:
    """The first of each line stays, in whichever spelling."""
    seen: set[str] = set()
    marked = []
    for one in recipients:
        key = get_address_key(one.phone) if one.phone else None
        marked.append(replace(one, problem=Problem.DUPLICATE) if key in seen else one)
        if key:
            seen.add(key)
    return marked


def _people(recipients: Iterable[Recipient]) -> list[str]:
    """The addresses of persons that nothing is wrong with so far."""
    return [one.phone for one in recipients if one.phone and one.sendable and not one.is_group]


def _phones_to_check(recipients: Iterable[Recipient]) -> list[str]:
    """Of those that nothing is wrong with so far and that WhatsApp can be asked about."""
    return [one.phone for one in recipients if one.phone and one.sendable and one.has_number]


def _check_numbers(
    actor: Actor, phones: list[str], progress: ProgressCallback, *, ask: bool
) -> dict[str, number_checks.KnownNumber]:
    line = get_session_row(actor)
    if line is None:
        return {}
    session_id: UUID = line.id
    spellings = {phone: list_spellings_to_ask(phone) for phone in phones}
    known = number_checks.get_known(actor, session_id, [one for spelt in spellings.values() for one in spelt])
    if ask and line.status == Status.CONNECTED:
        try:
            known |= _ask_whatsapp(actor, session_id, spellings, known, progress)
        except (WppError, ConfigurationError) as error:
            log.info("numbers_unanswered", error=type(error).__name__)
            known |= number_checks.get_known(actor, session_id, [one for spelt in spellings.values() for one in spelt])
    return known


def _ask_whatsapp(
    actor: Actor,
    session_id: UUID,
    spellings: Mapping[str, tuple[str, ...]],
    known: Mapping[str, number_checks.KnownNumber],
    progress: ProgressCallback,
) -> dict[str, number_checks.KnownNumber]:
    """About each phone as it is written; then, where WhatsApp does not have it, as the same line is written otherwise.

    Raises: what `number_checks.check_numbers` raises.
    """
    found = dict(known)
    unknown = [phone for phone, spelt in spellings.items() if _is_on_whatsapp(spelt, found) is None]
    while asked := [next(one for one in spellings[phone] if one not in found) for phone in unknown]:
        answers = number_checks.check_numbers(actor, session_id, asked, progress)
        found |= answers
        unknown = [
            phone
            for phone, spelling in zip(unknown, asked, strict=True)
            if spelling in answers and _is_on_whatsapp(spellings[phone], found) is None
        ]
    return found


def _is_on_whatsapp(spellings: Sequence[str], known: Mapping[str, number_checks.KnownNumber]) -> bool | None:
    """None while neither spelling is known to be, and one of them was not asked about."""
    answers = [known[one].on_whatsapp for one in spellings if one in known]
    if any(answers):
        return True
    return False if len(answers) == len(spellings) else None


def _with_number_check(one: Recipient, known: Mapping[str, number_checks.KnownNumber]) -> Recipient:
    if one.problem is not None or one.phone is None or not one.has_number:
        return one
    match _is_on_whatsapp(list_spellings_to_ask(one.phone), known):
        case None:
            return replace(one, problem=Problem.UNCHECKED)
        case False:
            return replace(one, problem=Problem.NOT_ON_WHATSAPP)
    return one


def _check_fillable(one: Recipient, template: Template | TemplateDraft, common: Mapping[str, str] | None) -> Recipient:
    try:
        render_for(one, template, common)
    except MissingVariable as error:
        return replace(one, problem=Problem.MISSING_VALUE, missing=error.params["name"])
    except (EmptyMessage, MessageTooLong):
        return replace(one, problem=Problem.UNSUITABLE)
    return one
