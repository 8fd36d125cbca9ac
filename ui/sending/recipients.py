"""Chooses the recipients of a message and shows what is wrong with each before anything is sent."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.typing import UploadedFile

from services.contacts import number_checks
from services.db.actor import Actor
from services.fleet import session as fleet_session
from services.outreach import address_book, recipient_import, recipients, spreadsheet
from services.outreach.address_book import KnownContact
from services.outreach.recipient_import import Columns
from services.outreach.recipient_row import RecipientRow
from services.outreach.recipients import PROBLEM_SENTENCES, Problem, Recipient
from services.outreach.spreadsheet import ImportedSheet
from services.outreach.template_content import PHONE_VARIABLE, Template, TemplateDraft
from services.platform import csv_export
from services.wppconnect.phone import format_phone
from ui.kit.i18n import _
from ui.shell import errors

# Up to this many numbers are asked about at once; more only when the person says so, for the hour's budget is theirs.
AUTOMATIC_CHECK_LIMIT = 20
FILE_TYPES = ["csv", "txt", "xlsx"]
_NONE = "—"


def choose_recipients(
    actor: Actor, key: str, template: Template | TemplateDraft | None = None, common: Mapping[str, str] | None = None
) -> Sequence[Recipient] | None:
    """Where the recipients come from, and a table of them with what is wrong with each; None while there are none.

    With `template` those are marked for whom it cannot be filled; `common` values stand where they have none.
    """
    sources: dict[str, Callable[[Actor, str], tuple[RecipientRow, ...] | None]] = {
        _("Números"): _pasted_rows,
        _("Arquivo"): _uploaded_rows,
        _("Contatos"): _contact_rows,
        _("Grupos"): _group_rows,
    }
    words = list(sources)
    chosen = st.segmented_control(_("De onde vêm"), words, default=words[0], required=True, key=f"{key}_source")
    found: Sequence[Recipient] | None = None
    with errors.shown():
        entries = sources[chosen or words[0]](actor, key)
        if entries:
            found = _check_recipients(actor, key, entries)
            found = recipients.check_for_template(found, template, common) if template is not None else found
            _show_table(found)
    return found


# --- where they come from ---------------------------------------------------------------------------------------------


def _pasted_rows(_actor: Actor, key: str) -> tuple[RecipientRow, ...] | None:
    text = st.text_area(
        _("Números"),
        key=f"{key}_pasted",
        height=120,
        placeholder="(11) 99999-9999\nAna; (21) 98888-7777",
        help=_("Um ou vários, separados como quiser, com ou sem nome."),
    )
    return recipient_import.parse_pasted(text) if text and text.strip() else None


def _uploaded_rows(_actor: Actor, key: str) -> tuple[RecipientRow, ...] | None:
    file = st.file_uploader(_("Planilha com os destinatários (.xlsx ou .csv)"), FILE_TYPES, key=f"{key}_file")
    if file is None:
        return None
    sheet = read_sheet(file, key)
    return recipient_import.rows_from_sheet(sheet, _choose_columns(sheet, f"{key}_{file.file_id}"))


def read_sheet(file: UploadedFile, key: str) -> ImportedSheet:
    """The table in an uploaded file, read once.

    Raises: what `lists.read_file` raises.
    """
    kept = st.session_state.get(f"{key}_sheet")
    if kept is None or kept[0] != file.file_id:
        with st.spinner(_("Lendo o arquivo…")):
            kept = (file.file_id, spreadsheet.read_file(file.getvalue()))
        st.session_state[f"{key}_sheet"] = kept
    sheet: ImportedSheet = kept[1]
    return sheet


def _choose_columns(sheet: ImportedSheet, key: str) -> Columns:
    guessed = recipient_import.guess_columns(sheet)
    every = range(len(sheet.columns))
    phone, name, rest = st.columns([1, 1, 2])
    with phone:
        at = st.selectbox(
            _("Coluna do telefone"),
            every,
            index=guessed.phone,
            format_func=sheet.columns.__getitem__,
            key=f"{key}_phone",
        )
    with name:
        called = st.selectbox(
            _("Coluna do nome"),
            [None, *every],
            index=0 if guessed.name is None else guessed.name + 1,
            format_func=lambda one: _NONE if one is None else sheet.columns[one],
            key=f"{key}_name",
        )
    with rest:
        used = st.multiselect(
            _("Colunas para variáveis do modelo"),
            every,
            default=list(guessed.variables),
            format_func=sheet.columns.__getitem__,
            key=f"{key}_variables",
        )
    return Columns(at, called, tuple(used))


def _contact_rows(actor: Actor, key: str) -> tuple[RecipientRow, ...] | None:
    return _choose_acquaintances(
        key,
        "people",
        _("Contatos"),
        lambda: address_book.list_people(actor),
        _("Nenhum contato ainda. Escolha outra fonte."),
    )


def _group_rows(actor: Actor, key: str) -> tuple[RecipientRow, ...] | None:
    return _choose_acquaintances(
        key, "groups", _("Grupos"), lambda: address_book.list_groups(actor), _("Seu WhatsApp não está em nenhum grupo.")
    )


def _choose_acquaintances(
    key: str, which: str, label: str, load: Callable[[], list[KnownContact]], nobody: str
) -> tuple[RecipientRow, ...] | None:
    """Asked for once: the server takes seconds over a long address book."""
    name = f"{key}_{which}"
    if name not in st.session_state:
        with st.spinner(_("Perguntando ao WhatsApp…")):
            st.session_state[name] = load()
    known: list[KnownContact] = st.session_state[name]
    if not known:
        st.info(nobody, icon=":material/person_off:")
        return None
    picked = st.multiselect(label, known, format_func=acquaintance_name, key=f"{name}_picked", placeholder=_("Escolha"))
    return address_book.rows_from_contacts(picked) or None


def acquaintance_name(one: KnownContact) -> str:
    """Somebody's name with their number; a group's name."""
    shown = format_phone(one.address)
    if one.address.endswith("@g.us"):
        return one.name or one.address
    return f"{one.name} · {shown}" if one.name else shown


# --- what is wrong with them ------------------------------------------------------------------------------------------


def _check_recipients(actor: Actor, key: str, entries: tuple[RecipientRow, ...]) -> tuple[Recipient, ...]:
    """Looked at once for the same list, so that a rerun costs nothing."""
    name = f"{key}_examined"
    kept = st.session_state.get(name)
    if kept is None or kept[0] != entries:
        with st.spinner(_("Conferindo a lista…")):
            kept = (entries, recipients.examine(actor, entries, ask=False))
        unchecked = _count_problem(kept[1], Problem.UNCHECKED)
        if 0 < unchecked <= AUTOMATIC_CHECK_LIMIT:
            kept = (entries, _check_numbers(actor, entries))
        st.session_state[name] = kept
    found: tuple[Recipient, ...] = kept[1]
    waiting = _count_problem(found, Problem.UNCHECKED)
    if waiting > AUTOMATIC_CHECK_LIMIT and _wants_check(actor, key, waiting):
        found = _check_numbers(actor, entries)
        st.session_state[name] = (entries, found)
        st.rerun()
    return found


def _check_numbers(actor: Actor, entries: tuple[RecipientRow, ...]) -> tuple[Recipient, ...]:
    bar = st.progress(0.0, text=_("Conferindo no WhatsApp…"))

    def advance(done: int, of: int) -> None:
        bar.progress(done / of, text=_("Conferindo no WhatsApp: {done} de {of}").format(done=done, of=of))

    found = recipients.examine(actor, entries, advance)
    bar.empty()
    return found


def _wants_check(actor: Actor, key: str, waiting: int) -> bool:
    session = fleet_session.get(actor)
    if session is None or session.status is not fleet_session.Status.CONNECTED:
        return False
    left = number_checks.remaining_budget(actor, session.id)
    if not left:
        st.caption(_("O limite de conferências desta hora acabou; o resto será conferido na hora do envio."))
        return False
    return st.button(
        _("Conferir {n} no WhatsApp").format(n=min(waiting, left)),
        icon=":material/person_search:",
        key=f"{key}_check",
        help=_("O WhatsApp conta essas perguntas: restam {left} nesta hora.").format(left=left),
    )


def _show_table(found: Sequence[Recipient]) -> None:
    ready = recipients.only_sendable(found)
    wrong = len(found) - len(ready)
    with st.container(horizontal=True):
        st.badge(_("Prontos: {n}").format(n=len(ready)), color="green", icon=":material/check:")
        if wrong:
            st.badge(_("Com problema: {n}").format(n=wrong), color="red", icon=":material/error:")
        if unchecked := _count_problem(found, Problem.UNCHECKED):
            st.badge(_("A conferir: {n}").format(n=unchecked), color="gray", icon=":material/help:")
    ordered = sorted(found, key=lambda one: (one.sendable, one.row))
    st.dataframe(
        pd.DataFrame([_cells(one) for one in ordered]), hide_index=True, width="stretch", height=_table_height(found)
    )
    # The table cuts long sentences; here each stands once, whole.
    for problem, count in Counter(one.problem for one in ordered if one.problem).items():
        st.caption(f"**{count}** · {_(PROBLEM_SENTENCES[problem])}")
    if wrong:
        st.caption(_("Quem está com problema fica de fora; corrija na lista, se quiser."))


def _cells(one: Recipient) -> dict[str, Any]:
    """The table can be downloaded: no cell of it may be a formula."""
    return {
        _("Linha"): one.row,
        _("Como veio"): csv_export.escape_formula(one.written),
        _("Vai para"): one.values.get(PHONE_VARIABLE) or one.phone or _NONE,
        _("Nome"): csv_export.escape_formula(one.name or ""),
        _("Situação"): problem_sentence(one),
    }


def problem_sentence(one: Recipient) -> str:
    """What is wrong with a recipient, in a sentence."""
    if one.problem is None:
        return _("Pronto")
    words = _(PROBLEM_SENTENCES[one.problem])
    return f"{words} ({{{{{one.missing}}}}})" if one.missing else words


def _table_height(found: Sequence[Recipient]) -> int:
    """Ten rows at most: below them the page goes on."""
    return 38 + 35 * min(max(len(found), 1), 10)


def _count_problem(found: Sequence[Recipient], problem: Problem) -> int:
    return sum(one.problem is problem for one in found)
