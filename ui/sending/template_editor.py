"""One template: its text, variables and file, how a real recipient will see it, and its versions."""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from uuid import UUID

import streamlit as st
from streamlit.typing import UploadedFile

from services.db.actor import Actor
from services.errors import ServiceError
from services.messaging import attachments
from services.messaging.content import Content, Kind
from services.outreach import address_book, recipient_import, recipients, template_content, template_language, templates
from services.outreach.template_content import (
    BUILT_IN_VARIABLES,
    NAME_VARIABLE,
    PHONE_VARIABLE,
    Template,
    TemplateDraft,
)
from services.outreach.template_language import UnknownVariable
from ui.components import confirm, message_preview, uploads
from ui.kit import dates, flash
from ui.kit.fields import forget_fields
from ui.kit.i18n import _
from ui.sending.recipients import FILE_TYPES, acquaintance_name, read_sheet
from ui.sending.templates import kind_word
from ui.shell import errors, navigation

# What a new template begins with, and whom it is shown for.
EXAMPLE = "Olá {{nome}}!"
SAMPLE = {NAME_VARIABLE: "Maria Souza", PHONE_VARIABLE: "+55 11 99999-9999"}


def show_editor(actor: Actor, template: Template | None) -> None:
    """The editor of the actor's own template, or (None) of a new one, beside its preview."""
    # Each version has fields of its own: a browser keeps what stands in one for as long as it is the same.
    key = f"template_{template.id}_{template.newest}" if template else f"template_{navigation.NEW}"
    before = template.draft if template else TemplateDraft("", EXAMPLE)
    left, right = st.columns([3, 2], gap="large")
    with left:
        draft = _draft_fields(actor, key, before)
    with right:
        st.subheader(_("Como chega"), anchor=False)
        _preview(actor, key, draft)
    with left:
        _buttons(actor, key, template, draft)
    if template is not None:
        _show_versions(actor, key, template)


def show_shared(actor: Actor, template: Template) -> None:
    """Somebody else's shared template: to be seen and copied."""
    st.caption(_("Feito pela equipe para todos. Para mudar o texto, faça uma cópia sua."))
    message_preview.preview(Content(template.kind, template.body, template.media, template.filename))
    with st.container(horizontal=True):
        if st.button(_("Copiar para os meus"), type="primary", icon=":material/content_copy:", key="template_copy"):
            with errors.shown(), st.spinner(_("Copiando…")):
                made = templates.duplicate(actor, template, _("{name} (cópia)").format(name=template.name))
                navigation.open_item(made.id)
        if actor.is_staff:
            _archive_button(template)


# --- what is written --------------------------------------------------------------------------------------------------


def _draft_fields(actor: Actor, key: str, before: TemplateDraft) -> TemplateDraft:
    name = st.text_input(_("Nome do modelo"), before.name, max_chars=template_content.NAME_LIMIT, key=f"{key}_name")
    body = st.text_area(
        _("Texto"),
        before.body,
        height=220,
        key=f"{key}_body",
        help=_(
            "Variáveis entre chaves: `{{nome}}`. Também `{{nome|default('cliente')}}`, `upper`, `lower`, `title`, "
            "`trim`, e `{% if nome %}…{% else %}…{% endif %}`."
        ),
    )
    draft = replace(before, name=name or "", body=body or "", defaults=_variable_fields(key, before))
    return _with_file(actor, key, draft)


def _variable_fields(key: str, before: TemplateDraft) -> dict[str, str | None]:
    """The variables beside `nome` and `telefone`, each with what stands there when nothing is given."""
    name = f"{key}_variables"
    if name not in st.session_state:
        st.session_state[name] = list(before.defaults)
    options = list(dict.fromkeys([*before.defaults, *st.session_state[name]]))
    chosen = st.multiselect(
        _("Variáveis deste modelo"),
        options,
        key=name,
        accept_new_options=True,
        placeholder=_("Escreva um nome e tecle Enter"),
        help=_("`nome` e `telefone` vêm de cada destinatário e existem sempre."),
    )
    found = dict.fromkeys(template_language.variable_name(one) for one in chosen)
    return {
        one: _default_field(f"{key}_of_{one}", one, before) for one in found if one and one not in BUILT_IN_VARIABLES
    }


def _default_field(key: str, name: str, before: TemplateDraft) -> str | None:
    stored = before.defaults.get(name)
    text, empty = st.columns([3, 2], vertical_alignment="bottom")
    value = text.text_input(
        _("Padrão de {name}").format(name=name), stored or "", key=key, max_chars=template_content.VALUE_LIMIT
    )
    optional = empty.checkbox(_("pode ficar vazia"), stored == "", key=f"{key}_optional", disabled=bool(value))
    return value or ("" if optional else None)


def _with_file(actor: Actor, key: str, draft: TemplateDraft) -> TemplateDraft:
    file = st.file_uploader(_("Imagem, vídeo, áudio ou documento (opcional)"), key=f"{key}_file")
    if file is not None:
        kept: TemplateDraft | None = None
        with errors.shown():
            kept = _with_upload(actor, key, draft, file)
        return replace(draft, kind=kept.kind, media=kept.media, filename=kept.filename) if kept else draft
    if draft.media is not None and st.checkbox(_("Tirar o arquivo"), key=f"{key}_without_file"):
        return replace(draft, kind=Kind.TEXT, media=None, filename=None)
    return draft


def _with_upload(actor: Actor, key: str, draft: TemplateDraft, file: UploadedFile) -> TemplateDraft:
    content = file.getvalue()
    words = uploads.waiting_words(attachments.kind_of(content), content)
    return uploads.make_once(
        f"{key}_kept", file.file_id, words, lambda: templates.with_file(actor, draft, content, file.name)
    )


def _buttons(actor: Actor, key: str, template: Template | None, draft: TemplateDraft) -> None:
    changed = template is None or draft != template.draft
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(_("Salvar"), type="primary", icon=":material/save:", key="template_save", disabled=not changed):
            _save_template(actor, key, template, draft)
        if template is not None:
            if actor.is_staff:
                _share_button(actor, template)
            _archive_button(template)
        if changed and template is not None:
            st.caption(_("Há mudanças que ainda não foram salvas."))


def _save_template(actor: Actor, key: str, template: Template | None, draft: TemplateDraft) -> None:
    with errors.shown(), st.spinner(_("Salvando…")):
        if not draft.name.strip():
            st.warning(_("**Falta o nome do modelo.** Escreva um para achá-lo depois."), icon=":material/info:")
            return
        made = templates.save(actor, draft, template.id if template else None)
        forget_fields(key)
        flash.after_rerun(_("Salvo como versão {n}.").format(n=made.version), ":material/check:")
        navigation.open_item(made.id)


def _share_button(actor: Actor, template: Template) -> None:
    words, icon = (
        (_("Deixar de compartilhar"), ":material/group_off:")
        if template.shared
        else (_("Compartilhar com todos"), ":material/group_add:")
    )
    if st.button(words, icon=icon, key="template_share"):
        with errors.shown():
            templates.set_shared(actor, template.id, not template.shared)
            st.rerun()


def _archive_button(template: Template) -> None:
    if template.archived_at is None and st.button(_("Arquivar"), icon=":material/archive:", key="template_archive"):
        confirm.archive_template(template.name, template.id, _archive_template)


def _archive_template(actor: Actor, template_id: UUID) -> None:
    with errors.shown():
        templates.set_archived(actor, template_id)
        navigation.open_item(None)


# --- how it will look -------------------------------------------------------------------------------------------------


def _preview(actor: Actor, key: str, draft: TemplateDraft) -> None:
    """With the values of somebody real; what is wrong with the text is said here, as soon as it is written."""
    given: Mapping[str, str] = {}
    with errors.shown():
        given = _sample_values(actor, f"{key}_preview")
    try:
        checked = template_content.check_draft(replace(draft, name=draft.name.strip() or "x"))
        message_preview.preview(template_content.render(checked, given))
    except UnknownVariable as error:
        errors.show(error)
        unknown = str(error.params["name"])
        st.button(
            _("Incluir {name} no modelo").format(name=unknown),
            icon=":material/add:",
            key="template_include",
            on_click=partial(_insert_variable, key, unknown),
        )
    except ServiceError as error:
        errors.show(error)


def _insert_variable(key: str, name: str) -> None:
    st.session_state[f"{key}_variables"] = [*st.session_state.get(f"{key}_variables", []), name]


def _sample_values(actor: Actor, key: str) -> Mapping[str, str]:
    """Whose values are shown: an example's, a contact's, or those of a list's row."""
    example, contact, sheet = _("Exemplo"), _("Contato"), _("Linha de uma lista")
    source = st.segmented_control(
        _("Ver com os dados de"), [example, contact, sheet], default=example, required=True, key=f"{key}_source"
    )
    if source == contact:
        return _values_of_contact(actor, key) or SAMPLE
    if source == sheet:
        return _values_of_list(key) or SAMPLE
    return SAMPLE


def _values_of_contact(actor: Actor, key: str) -> Mapping[str, str]:
    name = f"{key}_people"
    if name not in st.session_state:
        with st.spinner(_("Perguntando ao WhatsApp…")):
            st.session_state[name] = address_book.list_people(actor)
    if not st.session_state[name]:
        st.info(_("Nenhum contato ainda."), icon=":material/person_off:")
        return {}
    one = st.selectbox(_("Contato"), st.session_state[name], format_func=acquaintance_name, key=f"{key}_contact")
    return recipients.template_values(address_book.rows_from_contacts([one])[0])


def _values_of_list(key: str) -> Mapping[str, str]:
    file = st.file_uploader(_("Planilha (.xlsx ou .csv)"), FILE_TYPES, key=f"{key}_list")
    if file is None:
        return {}
    sheet = read_sheet(file, key)
    found = recipient_import.rows_from_sheet(sheet, recipient_import.guess_columns(sheet))
    place = st.number_input(_("Linha"), 1, len(found), key=f"{key}_place")
    return recipients.template_values(found[int(place) - 1])


# --- versions ---------------------------------------------------------------------------------------------------------


def _show_versions(actor: Actor, key: str, template: Template) -> None:
    with st.expander(_("Versões ({n})").format(n=template.newest), icon=":material/history:"):
        found = templates.list_versions(actor, template.id)
        for one, before in zip(found, [*found[1:], None], strict=True):
            with st.container(border=True):
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(_("**Versão {n}**").format(n=one.version))
                    st.caption(dates.short_time(one.created_at))
                    st.space("stretch")
                    if one.version != one.newest and st.button(
                        _("Restaurar"), icon=":material/restore:", key=f"restore_{one.version}"
                    ):
                        _restore_version(actor, key, template, one)
                _show_changes(one, before)


def _restore_version(actor: Actor, key: str, template: Template, version: Template) -> None:
    with errors.shown():
        made = templates.save(actor, replace(version.draft, name=template.name), template.id)
        forget_fields(key)
        flash.after_rerun(_("Restaurado como versão {n}.").format(n=made.version), ":material/restore:")
        st.rerun()


def _show_changes(one: Template, before: Template | None) -> None:
    """What this version did to the one before it."""
    if before is None:
        st.text(one.body)
        return
    lines = difflib.unified_diff(before.body.splitlines(), one.body.splitlines(), lineterm="", n=1)
    told = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
    if told:
        st.code(told, language="diff", wrap_lines=True)
    if (one.media, one.kind) != (before.media, before.kind):
        st.caption(_("O arquivo mudou: {kind}.").format(kind=kind_word(one.kind)))
    if dict(one.defaults) != dict(before.defaults):
        st.caption(_("As variáveis ou seus valores padrão mudaram."))
