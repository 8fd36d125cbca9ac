"""Choosing whom a message goes to, and seeing what is wrong with each before anything is sent."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from services import export, lists, numbers, recipients, sessions
from services.db.actor import Actor
from services.entries import Entry
from services.lists import Columns, Sheet
from services.recipients import PROBLEMS, Acquaintance, Problem, Recipient
from services.templates import PHONE, Draft, Template
from services.wppconnect.phone import display
from ui import errors
from ui.text import _

# Up to this many numbers are asked about at once; more only when the person says so, for the hour's budget is theirs.
ASKED_BY_ITSELF = 20
FILE_TYPES = ["csv", "txt", "xlsx"]
_NONE = "—"


def picker(
    actor: Actor, key: str, template: Template | Draft | None = None, common: Mapping[str, str] | None = None
) -> Sequence[Recipient] | None:
    """Where the recipients come from, and a table of them with what is wrong with each; None while there are none.

    With `template` those are marked for whom it cannot be filled; `common` values stand where they have none.
    """
    sources: dict[str, Callable[[Actor, str], tuple[Entry, ...] | None]] = {
        _("Números"): _pasted,
        _("Arquivo"): _uploaded,
        _("Contatos"): _people,
        _("Grupos"): _groups,
    }
    words = list(sources)
    chosen = st.segmented_control(_("De onde vêm"), words, default=words[0], required=True, key=f"{key}_source")
    found: Sequence[Recipient] | None = None
    with errors.shown():
        entries = sources[chosen or words[0]](actor, key)
        if entries:
            found = _examined(actor, key, entries)
            found = recipients.for_template(found, template, common) if template is not None else found
            _table(found)
    return found


def forget(key: str) -> None:
    """Drop what was pasted, uploaded and chosen under `key`; the next list takes another key."""
    for name in [str(one) for one in st.session_state if str(one).startswith(f"{key}_")]:
        del st.session_state[name]


# --- where they come from ---------------------------------------------------------------------------------------------


def _pasted(_actor: Actor, key: str) -> tuple[Entry, ...] | None:
    text = st.text_area(
        _("Números"),
        key=f"{key}_pasted",
        height=120,
        placeholder="(11) 99999-9999\nAna; (21) 98888-7777",
        help=_("Um ou vários, separados como quiser, com ou sem nome."),
    )
    return lists.pasted(text) if text and text.strip() else None


def _uploaded(_actor: Actor, key: str) -> tuple[Entry, ...] | None:
    file = st.file_uploader(_("Planilha com os destinatários (.xlsx ou .csv)"), FILE_TYPES, key=f"{key}_file")
    if file is None:
        return None
    sheet = sheet_of(file, key)
    return lists.entries(sheet, _columns(sheet, f"{key}_{file.file_id}"))


def sheet_of(file: UploadedFile, key: str) -> Sheet:
    """The table in an uploaded file, read once. Raises as `lists.read_file`."""
    kept = st.session_state.get(f"{key}_sheet")
    if kept is None or kept[0] != file.file_id:
        with st.spinner(_("Lendo o arquivo…")):
            kept = (file.file_id, lists.read_file(file.getvalue()))
        st.session_state[f"{key}_sheet"] = kept
    sheet: Sheet = kept[1]
    return sheet


def _columns(sheet: Sheet, key: str) -> Columns:
    guessed = lists.guess(sheet)
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


def _people(actor: Actor, key: str) -> tuple[Entry, ...] | None:
    return _acquaintances(
        key, "people", _("Contatos"), lambda: recipients.people(actor), _("Nenhum contato ainda. Escolha outra fonte.")
    )


def _groups(actor: Actor, key: str) -> tuple[Entry, ...] | None:
    return _acquaintances(
        key, "groups", _("Grupos"), lambda: recipients.groups(actor), _("Seu WhatsApp não está em nenhum grupo.")
    )


def _acquaintances(
    key: str, which: str, label: str, load: Callable[[], list[Acquaintance]], nobody: str
) -> tuple[Entry, ...] | None:
    """Asked for once: the server takes seconds over a long address book."""
    name = f"{key}_{which}"
    if name not in st.session_state:
        with st.spinner(_("Perguntando ao WhatsApp…")):
            st.session_state[name] = load()
    known: list[Acquaintance] = st.session_state[name]
    if not known:
        st.info(nobody, icon=":material/person_off:")
        return None
    picked = st.multiselect(label, known, format_func=called, key=f"{name}_picked", placeholder=_("Escolha"))
    return recipients.chosen(picked) or None


def called(one: Acquaintance) -> str:
    """Somebody's name with their number; a group's name."""
    shown = display(one.address)
    if one.address.endswith("@g.us"):
        return one.name or one.address
    return f"{one.name} · {shown}" if one.name else shown


# --- what is wrong with them ------------------------------------------------------------------------------------------


def _examined(actor: Actor, key: str, entries: tuple[Entry, ...]) -> tuple[Recipient, ...]:
    """Looked at once for the same list, so that a rerun costs nothing."""
    name = f"{key}_examined"
    kept = st.session_state.get(name)
    if kept is None or kept[0] != entries:
        with st.spinner(_("Conferindo a lista…")):
            kept = (entries, recipients.examine(actor, entries, ask=False))
        unchecked = _count(kept[1], Problem.UNCHECKED)
        if 0 < unchecked <= ASKED_BY_ITSELF:
            kept = (entries, _asked(actor, entries))
        st.session_state[name] = kept
    found: tuple[Recipient, ...] = kept[1]
    waiting = _count(found, Problem.UNCHECKED)
    if waiting > ASKED_BY_ITSELF and _wants_check(actor, key, waiting):
        found = _asked(actor, entries)
        st.session_state[name] = (entries, found)
        st.rerun()
    return found


def _asked(actor: Actor, entries: tuple[Entry, ...]) -> tuple[Recipient, ...]:
    bar = st.progress(0.0, text=_("Conferindo no WhatsApp…"))

    def advance(done: int, of: int) -> None:
        bar.progress(done / of, text=_("Conferindo no WhatsApp: {done} de {of}").format(done=done, of=of))

    found = recipients.examine(actor, entries, advance)
    bar.empty()
    return found


def _wants_check(actor: Actor, key: str, waiting: int) -> bool:
    session = sessions.get(actor)
    if session is None or session.status is not sessions.Status.CONNECTED:
        return False
    left = numbers.left(actor, session.id)
    if not left:
        st.caption(_("O limite de conferências desta hora acabou; o resto será conferido na hora do envio."))
        return False
    return st.button(
        _("Conferir {n} no WhatsApp").format(n=min(waiting, left)),
        icon=":material/person_search:",
        key=f"{key}_check",
        help=_("O WhatsApp conta essas perguntas: restam {left} nesta hora.").format(left=left),
    )


def _table(found: Sequence[Recipient]) -> None:
    ready = recipients.sendable(found)
    wrong = len(found) - len(ready)
    with st.container(horizontal=True):
        st.badge(_("Prontos: {n}").format(n=len(ready)), color="green", icon=":material/check:")
        if wrong:
            st.badge(_("Com problema: {n}").format(n=wrong), color="red", icon=":material/error:")
        if unchecked := _count(found, Problem.UNCHECKED):
            st.badge(_("A conferir: {n}").format(n=unchecked), color="gray", icon=":material/help:")
    ordered = sorted(found, key=lambda one: (one.sendable, one.row))
    st.dataframe(
        pd.DataFrame([_cells(one) for one in ordered]), hide_index=True, width="stretch", height=_height(found)
    )
    # The table cuts long sentences; here each stands once, whole.
    for problem, count in Counter(one.problem for one in ordered if one.problem).items():
        st.caption(f"**{count}** · {_(PROBLEMS[problem])}")
    if wrong:
        st.caption(_("Quem está com problema fica de fora; corrija na lista, se quiser."))


def _cells(one: Recipient) -> dict[str, Any]:
    """The table can be downloaded: no cell of it may be a formula."""
    return {
        _("Linha"): one.row,
        _("Como veio"): export.neutral(one.written),
        _("Vai para"): one.values.get(PHONE) or one.phone or _NONE,
        _("Nome"): export.neutral(one.name or ""),
        _("Situação"): problem_words(one),
    }


def problem_words(one: Recipient) -> str:
    """What is wrong with a recipient, in a sentence."""
    if one.problem is None:
        return _("Pronto")
    words = _(PROBLEMS[one.problem])
    return f"{words} ({{{{{one.missing}}}}})" if one.missing else words


def _height(found: Sequence[Recipient]) -> int:
    """Ten rows at most: below them the page goes on."""
    return 38 + 35 * min(max(len(found), 1), 10)


def _count(found: Sequence[Recipient], problem: Problem) -> int:
    return sum(one.problem is problem for one in found)
