"""Rules on the screen: the automatic reply with its hours, labels by keyword, and what each did last."""

from datetime import time
from functools import partial
from uuid import UUID

import streamlit as st

from services.contacts import contacts
from services.db.actor import Actor
from services.inbound import automations
from services.inbound.automations import Rule, RuleKind, RuleOutcome, RuleUse
from ui.components import confirm
from ui.kit import dates
from ui.kit.i18n import _, literal
from ui.shell import errors

OPENS, CLOSES = time(8), time(18)
# A new key after each success gives empty fields.
LABELS_MADE = "labels_made"
TIME_ZONES = (
    "America/Sao_Paulo",
    "America/Manaus",
    "America/Fortaleza",
    "America/Cuiaba",
    "America/Rio_Branco",
    "America/Noronha",
    "Europe/Lisbon",
    "UTC",
)


def weekdays() -> list[str]:
    """The days, from Monday on."""
    return [_("Segunda"), _("Terça"), _("Quarta"), _("Quinta"), _("Sexta"), _("Sábado"), _("Domingo")]


def auto_reply_form(actor: Actor, rule: Rule | None) -> None:
    """The automatic reply: what is said, and when nobody is there to say it."""
    with st.form("auto_reply", border=True):
        active = st.toggle(_("Responder sozinho fora do horário"), value=rule.active if rule else True)
        reply = st.text_area(
            _("Resposta"),
            value=rule.reply if rule else "",
            placeholder=_("Olá! Atendemos de segunda a sexta, das 8h às 18h. Respondemos assim que abrirmos."),
            max_chars=automations.REPLY_LIMIT,
        )
        st.caption(
            _("Horário de atendimento: a resposta vai só fora dele. Deixe um dia desmarcado se não houver atendimento.")
        )
        hours = tuple(_day_hours(number, name, rule) for number, name in enumerate(weekdays()))
        zones = list(dict.fromkeys([rule.zone if rule else dates.zone_name(), *TIME_ZONES]))
        zone = st.selectbox(_("Fuso horário"), zones, format_func=lambda one: one.replace("_", " "))
        st.caption(
            _("Uma vez por dia a cada contato; nunca em grupos, nunca a quem pediu para sair, nunca a outro robô.")
        )
        saved = st.form_submit_button(_("Guardar"), type="primary", icon=":material/save:")
    if saved:
        with errors.shown():
            automations.save_auto_reply(actor, reply, zone, hours, active=active)
            st.toast(_("Resposta automática guardada."), icon=":material/check:")


def _day_hours(number: int, name: str, rule: Rule | None) -> tuple[time, time] | None:
    known = rule.hours[number] if rule else ((OPENS, CLOSES) if number < 5 else None)
    opened, begins, ends = st.columns([2, 2, 2], vertical_alignment="center")
    is_open = opened.checkbox(name, value=known is not None, key=f"day_{number}")
    from_time = begins.time_input(
        _("{day}: abre").format(day=name), value=known[0] if known else OPENS, label_visibility="collapsed",
        key=f"opens_{number}",
    )  # fmt: skip
    to_time = ends.time_input(
        _("{day}: fecha").format(day=name), value=known[1] if known else CLOSES, label_visibility="collapsed",
        key=f"closes_{number}",
    )  # fmt: skip
    return (from_time, to_time) if is_open else None


def new_label_form(actor: Actor) -> None:
    """Make a rule that puts a label on whoever writes certain words."""
    number = st.session_state.setdefault(LABELS_MADE, 0)
    with st.form(f"new_label_{number}", border=True):
        words = st.text_input(
            _("Quando a mensagem tiver"), placeholder=_("orçamento, preço, quanto custa"), key=f"words_{number}"
        )
        label = st.text_input(
            _("Pôr no contato a etiqueta"),
            placeholder=_("Interessado"),
            max_chars=contacts.MAX_LABEL_LENGTH,
            key=f"label_{number}",
        )
        st.caption(_("Separe as palavras por vírgulas. Maiúsculas e acentos não importam."))
        made = st.form_submit_button(_("Criar regra"), type="primary", icon=":material/new_label:")
    if made:
        with errors.shown():
            automations.add_label(actor, words.split(","), label)
            st.session_state[LABELS_MADE] = number + 1
            st.rerun()


def label_card(actor: Actor, rule: Rule) -> None:
    """One label rule."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"rule_{rule.id}"):
        st.badge(literal(rule.label), icon=":material/label:", color="green" if rule.active else "gray")
        st.text(", ".join(rule.words))
        st.space("stretch")
        word, icon = (_("Desligar"), ":material/power_off:") if rule.active else (_("Ligar"), ":material/power:")
        if st.button(word, icon=icon, key=f"switch_{rule.id}"):
            with errors.shown():
                automations.set_active(actor, rule.id, on=not rule.active)
                st.rerun()
        if st.button(_("Apagar"), icon=":material/delete:", key=f"remove_{rule.id}"):
            confirm.remove_rule(_("As etiquetas que ela já pôs ficam nos contatos."), partial(_remove_rule, rule.id))


def recent_uses(found: list[RuleUse]) -> None:
    """What rules did, without what was said."""
    if not found:
        st.caption(_("Nada ainda. O que as regras fizerem aparece aqui."))
        return
    st.table([_cells(use) for use in found], hide_index=True)


def _cells(use: RuleUse) -> dict[str, str]:
    owner = {_("De quem"): use.email} if use.email else {}
    return {
        _("Quando"): dates.to_the_second(use.at),
        **owner,
        _("Regra"): _("Resposta automática") if use.kind is RuleKind.AUTO_REPLY else _("Etiqueta"),
        _("O que fez"): _use_word(use.what),
    }


def _use_word(what: RuleOutcome) -> str:
    words = {
        RuleOutcome.REPLIED: _("Respondeu"),
        RuleOutcome.LABELLED: _("Pôs a etiqueta"),
        RuleOutcome.AUTOMATIC: _("Não respondeu: parecia outro robô"),
        RuleOutcome.OPTED_OUT: _("Não respondeu: o contato pediu para sair"),
        RuleOutcome.TOO_MANY: _("Não respondeu: muitas respostas em um minuto"),
    }
    return words[what]


def _remove_rule(rule_id: UUID, actor: Actor) -> None:
    with errors.shown():
        automations.delete_rule(actor, rule_id)
        st.rerun()
