"""A session's checks on the screen: whose session, what is wrong, each check with its facts and its next step."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.diagnostics import facts
from services.diagnostics.check_report import Check, Guide, Report, Result, Step, get_fact_text
from services.diagnostics.facts import ServerAnswers
from services.diagnostics.problems import get_meaning_and_advice
from services.fleet import commands, overview
from services.fleet import session as fleet_session
from ui.components import confirm, empty_states
from ui.kit import dates
from ui.kit.badges import RESULT_LOOKS
from ui.kit.i18n import _
from ui.shell import errors, navigation

_ANSWER_KEY = "diagnosis_asked"
_USER_KEY = "diagnosis_person"


@dataclass(frozen=True)
class Subject:
    """Whose session is looked at; `label` is what people call them."""

    user_id: UUID
    label: str
    own: bool


def choose_subject(actor: Actor) -> Subject | None:
    """The actor themselves; for staff whoever they choose, or who the address names (`?user=`)."""
    assert actor.user_id is not None
    if not actor.is_staff:
        return Subject(actor.user_id, actor.email, own=True)
    find, pick = st.columns([2, 3], vertical_alignment="bottom")
    search = find.text_input(_("Buscar"), placeholder=_("E-mail, nome ou número"), key="diagnosis_search")
    people = {row.user_id: row.email for row in overview.list_rows(actor, search=search).rows}
    named = navigation.id_in_address("user")
    if named is not None and not search:
        row = overview.get_row(actor, named)
        if row is None:
            empty_states.no_such_user()
        else:
            people = {named: row.email, **people}
    if not people:
        st.info(_("Nenhum usuário encontrado. Mude a busca."), icon=":material/search_off:")
        return None
    chosen = pick.selectbox(
        _("Sessão de"),
        list(people),
        index=0 if named in people and not search else None,
        format_func=lambda one: people[one],
        placeholder=_("Escolha uma pessoa"),
        key=_USER_KEY,
    )
    if chosen is None:
        st.info(_("Escolha uma pessoa para examinar a sessão dela."), icon=":material/person_search:")
        return None
    return Subject(chosen, people[chosen], own=chosen == actor.user_id)


def get_server_answer(actor: Actor, of: Subject) -> ServerAnswers | None:
    """What the server answered when it was last asked for this session; asks where it was not, or things moved on."""
    key = f"{_ANSWER_KEY}_{of.user_id}"
    found: ServerAnswers | None = st.session_state.get(key)
    session = fleet_session.get(actor, of.user_id)
    if session is not None and (found is None or session.updated_at > found.at):
        with st.spinner(_("Perguntando ao servidor do WhatsApp…")):
            found = st.session_state[key] = facts.ask_server(actor, of.user_id)
    return found


def show_conclusion(actor: Actor, of: Subject, report: Report, found: ServerAnswers | None) -> None:
    """The one sentence that matters, and what to do about it."""
    worst = report.worst
    if worst is None:
        st.success(_("**Nada de errado encontrado.** Cada prova está abaixo."), icon=":material/verified:")
    else:
        what, todo = get_meaning_and_advice(worst.name)
        show = st.error if worst.result is Result.FAULT else st.warning
        show(f"**{_(what)}** {_(todo)}", icon=RESULT_LOOKS[worst.result][1])
    with st.container(horizontal=True, vertical_alignment="center"):
        if worst is not None and worst.step is not Step.ASK:
            _next_step(actor, of, report, worst, "worst")
        if st.button(_("Verificar de novo"), icon=":material/refresh:", key="diagnosis_again"):
            _ask_again(actor, of)
        st.caption(_("Perguntado {ago}.").format(ago=dates.ago(found.at)) if found else "")


def show_guides(actor: Actor, of: Subject, report: Report) -> None:
    """The three guides; the one that holds the explanation is open."""
    titles = {
        Guide.QR: _("O QR não aparece"),
        Guide.SEND: _("A mensagem não sai"),
        Guide.DROP: _("A sessão cai"),
    }
    worst = report.worst
    # Another finding opens its own guide; as long as it is the same, the one that the person chose stays open.
    opened = next((guide for guide, checks in report.guides.items() if worst in checks), Guide.QR)
    labels = {guide: f"{_worst_icon(report.guides[guide])} {title}" for guide, title in titles.items()}
    for tab, guide in zip(
        st.tabs(list(labels.values()), default=labels[opened], key=f"diagnosis_guides_{worst.name if worst else ''}"),
        titles,
        strict=True,
    ):
        with tab:
            for number, check in enumerate(report.guides[guide]):
                with st.container(border=True, key=f"check_{guide}_{number}"):
                    _check(actor, of, report, check, f"{guide}_{number}")


def _worst_icon(checks: tuple[Check, ...]) -> str:
    for result in (Result.FAULT, Result.WARNING):
        if any(check.result is result for check in checks):
            colour, icon = RESULT_LOOKS[result]
            return f":{colour}[{icon}]"
    colour, icon = RESULT_LOOKS[Result.OK]
    return f":{colour}[{icon}]"


def _check(actor: Actor, of: Subject, report: Report, check: Check, key: str) -> None:
    colour, icon = RESULT_LOOKS[check.result]
    with st.container(gap=None):
        st.markdown(f":{colour}[{icon}] **{_(check.question)}** :{colour}-badge[{_result_word(check.result)}]")
        st.write(get_fact_text(check, _))
        if check.at is not None:
            st.caption(f"{dates.ago(check.at)} · {dates.short_time(check.at)}")
    if check.name and (report.worst is None or check.name != report.worst.name):  # the worst stands above
        what, todo = get_meaning_and_advice(check.name)
        st.markdown(f"**{_(what)}** {_(todo)}")
    if check.step is not None:
        _next_step(actor, of, report, check, key)


def _result_word(result: Result) -> str:
    found = {
        Result.OK: _("certo"),
        Result.WARNING: _("atenção"),
        Result.FAULT: _("falha"),
        Result.UNKNOWN: _("sem prova"),
    }
    return found[result]


# --- the next steps ---------------------------------------------------------------------------------------------------


def _next_step(actor: Actor, of: Subject, report: Report, check: Check, key: str) -> None:
    """The next step as a button, where this person can take it."""
    buttons: dict[Step, tuple[str, str, Callable[[Actor, Subject], None]]] = {
        Step.CONNECT: (_("Conectar"), ":material/link:", _connect),
        Step.RECONNECT: (_("Reconectar"), ":material/refresh:", _reconnect),
        Step.DISCONNECT: (_("Desconectar"), ":material/link_off:", _ask_to_disconnect),
        Step.ASK: (_("Verificar de novo"), ":material/refresh:", _ask_again),
    }
    if check.step in buttons:
        label, icon, act = buttons[check.step]
        if st.button(label, icon=icon, key=f"step_{key}"):
            act(actor, of)
    elif check.step is Step.SUPPORT:
        with st.popover(_("Resumo para o suporte"), icon=":material/support_agent:", key=f"step_{key}"):
            st.code(summary_text(report), language=None, wrap_lines=True)
    else:
        _page_link(of, check)


def _page_link(of: Subject, check: Check) -> None:
    """The page where the next step is taken."""
    if check.step is Step.MESSAGE and check.message is not None:
        label = _("Por que não chegou?") if check.result is not Result.OK else _("Passo a passo")
        navigation.link("message.py", label, ":material/quiz:", id=str(check.message))
    elif not of.own:
        st.caption(_("O próximo passo é da própria pessoa, na tela dela."))
    elif check.step is Step.PAIR:
        navigation.link("my_whatsapp.py", _("Ir para Meu WhatsApp"), ":material/qr_code_2:")
    else:
        navigation.link("send.py", _("Ir para Enviar"), ":material/send:")


def summary_text(report: Report) -> str:
    """The report as plain text to hand on: facts and times, no contents."""
    lines = [report.session.name if report.session else "-", f"{report.at:%Y-%m-%d %H:%M:%S} UTC"]
    lines.append(", ".join(report.names) or "ok")
    for guide, checks in report.guides.items():
        for check in checks:
            at = f" ({check.at:%Y-%m-%d %H:%M:%S})" if check.at else ""
            lines.append(f"{guide} · {check.result} · {_(check.question)} {get_fact_text(check, _)}{at}")
    return "\n".join(lines)


def _connect(actor: Actor, of: Subject) -> None:
    with errors.shown(), st.spinner(_("Chamando o servidor do WhatsApp…")):
        commands.connect(actor, of.user_id)
        _ask_again(actor, of)


def _reconnect(actor: Actor, of: Subject) -> None:
    with errors.shown(), st.spinner(_("Reiniciando a conexão…")):
        commands.reconnect(actor, of.user_id)
        _ask_again(actor, of)


def _ask_to_disconnect(_actor: Actor, of: Subject) -> None:
    if of.own:
        confirm.disconnect_own(_disconnect)
    else:
        confirm.disconnect_other(of.label, of.user_id, _disconnect)


def _disconnect(actor: Actor, user_id: UUID | None = None) -> None:
    with errors.shown(), st.spinner(_("Encerrando no servidor…")):
        commands.disconnect(actor, user_id)
        st.session_state.pop(f"{_ANSWER_KEY}_{user_id or actor.user_id}", None)
        st.rerun()


def _ask_again(_actor: Actor, of: Subject) -> None:
    """Look afresh: what was answered before is of no use now."""
    st.session_state.pop(f"{_ANSWER_KEY}_{of.user_id}", None)
    st.rerun(scope="fragment")
