"""Templates on the screen: the list, and choosing one where something is sent."""

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from services.db.actor import Actor
from services.messaging.content import Kind
from services.outreach import template_exchange, template_language, templates
from services.outreach.template_content import BUILT_IN_VARIABLES, Template
from ui.kit import dates, flash
from ui.kit.i18n import _
from ui.shell import errors, navigation

# So many cards are looked through; more are searched.
TEMPLATES_SHOWN = 30
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


def choose_template(actor: Actor, key: str) -> Template | None:
    """Choose a template, or none. For every page that sends."""
    found = templates.list_templates(actor)
    if not found:
        return None
    return st.selectbox(
        _("Modelo"),
        [None, *found],
        format_func=lambda one: _("Sem modelo: escrever o texto") if one is None else _template_label(one),
        key=key,
    )


def value_fields(template: Template, key: str) -> dict[str, str]:
    """A field for each variable that does not come from the recipient; what stands in a list's columns goes first."""
    given: dict[str, str] = {}
    names = [name for name in template_language.variables(template.body) if name not in BUILT_IN_VARIABLES]
    for name, column in zip(names, _field_columns(len(names)), strict=True):
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


def _field_columns(count: int) -> Sequence[st.delta_generator.DeltaGenerator]:
    columns = st.columns(min(count, 3)) if count else []
    return [columns[place % 3] for place in range(count)]


def _template_label(template: Template) -> str:
    of_team = _("da equipe")
    return f"{template.name} · {of_team}" if template.shared else template.name


# --- the list ---------------------------------------------------------------------------------------------------------


def show_list(actor: Actor) -> None:
    """The templates that the actor may use, and what can be done with all of them."""
    typed = st.session_state.get(_SEARCH, "")
    found = templates.list_templates(actor, search=typed, limit=TEMPLATES_SHOWN + 1)
    _tool_bar(actor, full=bool(found or typed))
    if typed or len(found) > TEMPLATES_SHOWN:
        st.text_input(_("Buscar"), placeholder=_("Nome ou texto"), key=_SEARCH, width=320)
    if typed and not found:
        st.info(_("Nenhum modelo encontrado. Mude a busca."), icon=":material/search_off:")
    elif not found:
        st.info(
            _("Nenhum modelo ainda. Crie um com **Novo modelo**: um texto com variáveis como `{{nome}}`."),
            icon=":material/article:",
        )
    for one in found[:TEMPLATES_SHOWN]:
        _show_card(actor, one)
    if len(found) > TEMPLATES_SHOWN:
        st.caption(_("Há mais modelos. Busque pelo nome ou por uma palavra do texto."))
    archived = templates.list_templates(actor, archived=True)
    if archived:
        with st.expander(_("Arquivados ({n})").format(n=len(archived)), icon=":material/archive:"):
            for one in archived:
                _restore_button(actor, one)


def _tool_bar(actor: Actor, *, full: bool) -> None:
    with st.container(horizontal=True):
        if st.button(_("Novo modelo"), type="primary", icon=":material/add:", key="template_new"):
            navigation.open_item(navigation.NEW)
        with st.popover(_("Importar"), icon=":material/upload:"):
            _import_form(actor)
        if full and st.button(_("Exportar"), icon=":material/download:", key="template_export"):
            _export_button(actor)


def _import_form(actor: Actor) -> None:
    file = st.file_uploader(_("Arquivo exportado daqui (.json)"), ["json"], key="template_import")
    if file is not None and st.button(_("Importar modelos"), type="primary", key="template_import_go"):
        with errors.shown(), st.spinner(_("Importando…")):
            made = template_exchange.import_json(actor, file.getvalue())
            flash.after_rerun(_("{n} modelos importados.").format(n=len(made)), ":material/check:")
            st.rerun()


def _export_button(actor: Actor) -> None:
    with errors.shown(), st.spinner(_("Reunindo os modelos…")):
        own = templates.list_own(actor)
        if not own:
            st.info(_("Nenhum modelo seu para exportar."), icon=":material/article:")
            return
        name = f"modelos-{datetime.now(UTC):%Y%m%d-%H%M}.json"
        written = template_exchange.export_json(actor, own)
        st.download_button(
            _("Baixar {name}").format(name=name), written, name, "application/json", key="template_download"
        )


def _show_card(actor: Actor, template: Template) -> None:
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
                navigation.open_item(template.id)
        st.text(_first_words(template.body))
        st.caption(_("versão {n} · {moment}").format(n=template.version, moment=dates.ago(template.created_at)))


def _first_words(body: str) -> str:
    first = " ".join(body.split())
    return first if len(first) <= 160 else first[:159] + "…"


def _restore_button(actor: Actor, template: Template) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(template.name)
        st.space("stretch")
        if st.button(_("Desarquivar"), icon=":material/unarchive:", key=f"unarchive_{template.id}"):
            with errors.shown():
                templates.set_archived(actor, template.id, on=False)
                st.rerun()
