"""Templates on the screen: the list, and choosing one where something is sent."""

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from services import templates
from services.db.actor import Actor
from services.messages import Kind
from services.templates import BUILT_IN, Template
from ui import errors, navigation, times, toasts
from ui.text import _

# So many cards are looked through; more are searched.
SHOWN = 30
_SEARCH = "template_search"


def kind_word(kind: Kind) -> str:
    """What a template carries."""
    words = {
        Kind.TEXT: _("Texto"),
        Kind.IMAGE: _("Imagem"),
        Kind.VIDEO: _("Vídeo"),
        Kind.AUDIO: _("Áudio"),
        Kind.VOICE: _("Mensagem de voz"),
        Kind.STICKER: _("Figurinha"),
        Kind.DOCUMENT: _("Documento"),
    }
    return words[kind]


# --- where something is sent ------------------------------------------------------------------------------------------


def chooser(actor: Actor, key: str) -> Template | None:
    """Choose a template, or none. For every page that sends."""
    found = templates.mine(actor)
    if not found:
        return None
    return st.selectbox(
        _("Modelo"),
        [None, *found],
        format_func=lambda one: _("Sem modelo: escrever o texto") if one is None else _label(one),
        key=key,
    )


def fields(template: Template, key: str) -> dict[str, str]:
    """A field for each variable that does not come from the recipient; what stands in a list's columns goes first."""
    given: dict[str, str] = {}
    names = [name for name in templates.variables(template.body) if name not in BUILT_IN]
    for name, column in zip(names, _columns(len(names)), strict=True):
        default = template.defaults.get(name)
        given[name] = (
            column.text_input(
                name,
                key=f"{key}_{template.id}_{name}",
                placeholder=default if default else (_("pode ficar vazia") if default == "" else _("obrigatória")),
                help=_("Vale para quem não tem esta coluna na lista."),
            )
            or ""
        )
    return given


def _columns(count: int) -> Sequence[st.delta_generator.DeltaGenerator]:
    columns = st.columns(min(count, 3)) if count else []
    return [columns[place % 3] for place in range(count)]


def _label(template: Template) -> str:
    return f"{template.name} · {_('da equipe')}" if template.shared else template.name


# --- the list ---------------------------------------------------------------------------------------------------------


def listing(actor: Actor) -> None:
    """The templates that the actor may use, and what can be done with all of them."""
    typed = st.session_state.get(_SEARCH, "")
    found = templates.mine(actor, search=typed, limit=SHOWN + 1)
    _bar(actor, full=bool(found or typed))
    if typed or len(found) > SHOWN:
        st.text_input(_("Buscar"), placeholder=_("Nome ou texto"), key=_SEARCH, width=320)
    if typed and not found:
        st.info(_("Nenhum modelo encontrado. Mude a busca."), icon=":material/search_off:")
    elif not found:
        st.info(
            _("Nenhum modelo ainda. Crie um com **Novo modelo**: um texto com variáveis como `{{nome}}`."),
            icon=":material/article:",
        )
    for one in found[:SHOWN]:
        _card(actor, one)
    if len(found) > SHOWN:
        st.caption(_("Há mais modelos. Busque pelo nome ou por uma palavra do texto."))
    archived = templates.mine(actor, archived=True)
    if archived:
        with st.expander(_("Arquivados ({n})").format(n=len(archived)), icon=":material/archive:"):
            for one in archived:
                _archived(actor, one)


def _bar(actor: Actor, *, full: bool) -> None:
    with st.container(horizontal=True):
        if st.button(_("Novo modelo"), type="primary", icon=":material/add:", key="template_new"):
            navigation.choose(navigation.NEW)
        with st.popover(_("Importar"), icon=":material/upload:"):
            _import(actor)
        if full and st.button(_("Exportar"), icon=":material/download:", key="template_export"):
            _export(actor)


def _import(actor: Actor) -> None:
    file = st.file_uploader(_("Arquivo exportado daqui (.json)"), ["json"], key="template_import")
    if file is not None and st.button(_("Importar modelos"), type="primary", key="template_import_go"):
        with errors.shown(), st.spinner(_("Importando…")):
            made = templates.import_json(actor, file.getvalue())
            toasts.after_rerun(_("{n} modelos importados.").format(n=len(made)), ":material/check:")
            st.rerun()


def _export(actor: Actor) -> None:
    with errors.shown(), st.spinner(_("Reunindo os modelos…")):
        own = templates.portable(actor)
        if not own:
            st.info(_("Nenhum modelo seu para exportar."), icon=":material/article:")
            return
        name = f"modelos-{datetime.now(UTC):%Y%m%d-%H%M}.json"
        written = templates.export_json(actor, own)
        st.download_button(
            _("Baixar {name}").format(name=name), written, name, "application/json", key="template_download"
        )


def _card(actor: Actor, template: Template) -> None:
    with st.container(border=True, key=f"template_{template.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(template.name)
            if template.kind is not Kind.TEXT:
                st.badge(kind_word(template.kind), color="blue", icon=":material/attach_file:")
            if template.shared:
                st.badge(_("Da equipe"), color="violet", icon=":material/group:")
            st.space("stretch")
            mine = template.user_id == actor.user_id
            label, icon = (_("Editar"), ":material/edit:") if mine else (_("Ver"), ":material/visibility:")
            if st.button(label, icon=icon, key=f"open_{template.id}"):
                navigation.choose(template.id)
        st.text(_beginning(template.body))
        st.caption(_("versão {n} · {moment}").format(n=template.version, moment=times.ago(template.created_at)))


def _beginning(body: str) -> str:
    first = " ".join(body.split())
    return first if len(first) <= 160 else first[:159] + "…"


def _archived(actor: Actor, template: Template) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(template.name)
        st.space("stretch")
        if st.button(_("Desarquivar"), icon=":material/unarchive:", key=f"unarchive_{template.id}"):
            with errors.shown():
                templates.archive(actor, template.id, on=False)
                st.rerun()
