"""Who asked for silence: found by number or name, page by page; noting one more, undoing a slip."""

from functools import partial

import streamlit as st

from services.contacts import opt_outs
from services.contacts.opt_outs import OptOut, OptOutPlace
from services.db.actor import Actor
from services.wppconnect.phone import format_phone
from ui.components import opt_out_undo
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors

PAGE_SIZE = 20
# Where each page of the list begins, so that one can go back.
PAGES = "silence_pages"


def show_opt_outs(actor: Actor) -> None:
    """Who asked for silence, and noting somebody who said so by other means."""
    with st.expander(_("Quem pediu para não receber"), icon=":material/do_not_disturb_on:", key="silence"):
        st.caption(
            _(
                "Quem responde SAIR, PARAR ou STOP entra aqui sozinho e não recebe mais agendamentos nem campanhas; "
                "com VOLTAR ou START volta a receber. CANCELAR e REMOVER valem só em resposta a uma campanha. "
                "Anote também quem pediu de outro jeito."
            )
        )
        _note_form(actor)
        search = st.text_input(
            _("Procurar"), placeholder=_("Número ou nome"), max_chars=100, key="silence_search", on_change=_reset_pages
        )
        _show_page(actor, search)


def _note_form(actor: Actor) -> None:
    with st.form("silence_note", border=False, clear_on_submit=True):
        phone = st.text_input(_("Número"), placeholder="(11) 99999-9999", key="silence_phone")
        if st.form_submit_button(_("Não enviar mais"), icon=":material/do_not_disturb_on:"):
            with errors.shown():
                opt_outs.add(actor, phone)
                _reset_pages()
                st.rerun(scope="fragment")


def _show_page(actor: Actor, search: str) -> None:
    starts: list[OptOutPlace | None] = st.session_state.setdefault(PAGES, [None])
    page = opt_outs.list_page(actor, search, starts[-1], PAGE_SIZE)
    if not page.total:
        st.caption(_("Ninguém com esse número ou nome.") if search.strip() else _("Ninguém pediu até agora."))
    else:
        st.caption(_("{n} no total").format(n=page.total))
    for one in page.items:
        _show_one(one)
    with st.container(horizontal=True):
        if len(starts) > 1:
            st.button(
                _("Anteriores"),
                icon=":material/chevron_left:",
                key="silence_before",
                on_click=partial(starts.__delitem__, -1),
            )
        if page.after:
            st.button(
                _("Próximos"),
                icon=":material/chevron_right:",
                key="silence_after",
                on_click=starts.append,
                args=(page.after,),
            )


def _show_one(one: OptOut) -> None:
    number = format_phone(one.phone) if "@" not in one.phone else _("Sem número")
    who = " · ".join(part for part in (one.name, number) if part)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.text(f"{who} · {dates.short_time(one.at)} · {one.word or _('anotado por você')}")
        if st.button(_("Desfazer"), icon=":material/undo:", type="tertiary", key=f"silence_undo_{one.phone}"):
            opt_out_undo.ask(one.phone, one.name or number)


def _reset_pages() -> None:
    st.session_state[PAGES] = [None]
