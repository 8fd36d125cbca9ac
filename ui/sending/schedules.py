"""The list of schedules: the next times, and what became of the last ones."""

from functools import partial
from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.outreach import schedule_history, schedules
from services.outreach.recurrence import Occurrence
from services.outreach.schedule_history import ScheduleRun
from services.outreach.schedules import RunState, Schedule
from services.outreach.templates import get_template
from ui.components import confirm
from ui.kit import dates
from ui.kit.i18n import _
from ui.sending import restriction
from ui.sending.schedule_words import recipient_names, rule_words, silenced_words, wall_time_words
from ui.shell import errors, navigation


def show_list(actor: Actor) -> None:
    """The schedules that are under way, and what became of the last ones."""
    found = schedules.list_schedules(actor)
    if not found:
        st.info(
            _("Nenhum agendamento. Com **Novo agendamento** uma mensagem sai na hora marcada, uma vez ou sempre."),
            icon=":material/calendar_month:",
        )
    for one in found:
        with st.container(border=True, key=f"schedule_{one.id}"):
            _show_card(actor, one)
    past = schedule_history.list_runs(actor)
    st.subheader(_("O que já passou"), anchor=False)
    if not past:
        st.caption(_("Nada ainda. Cada vez aparece aqui, enviada ou não, com o motivo."))
    for run in past:
        _show_run(run)


def _show_card(actor: Actor, one: Schedule) -> None:
    _show_facts(actor, one)
    _show_actions(actor, one)
    with st.expander(_("Próximas dez datas"), icon=":material/event_upcoming:", key=f"dates_{one.id}"):
        for occurrence in schedules.list_upcoming(actor, one):
            _show_upcoming(actor, one, occurrence)


def _show_facts(actor: Actor, one: Schedule) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(one.draft.name)
        if one.paused_at is not None:
            st.badge(_("Pausado"), color="orange", icon=":material/pause:")
        elif one.next is not None:
            st.badge(wall_time_words(one.next.wall), color="blue", icon=":material/schedule:")
    st.caption(f"{rule_words(one.draft)} · {one.draft.zone.replace('_', ' ')}")
    st.text(_("Para: {who}").format(who=recipient_names(one.draft)))
    if told := silenced_words(one):
        st.caption(f":material/notifications_off: {told}")
    if one.draft.template_id is not None:
        with errors.shown():
            template = get_template(actor, one.draft.template_id, one.draft.template_version)
            st.text(_("Modelo: {name}").format(name=template.name))
    elif one.draft.content is not None and one.draft.content.body:
        st.text(one.draft.content.body[:200])
    if one.paused_at is None:
        restriction.warn_of_strangers(actor, {to.phone for to in one.draft.to})


def _show_actions(actor: Actor, one: Schedule) -> None:
    with st.container(horizontal=True):
        if st.button(_("Editar"), icon=":material/edit:", key=f"edit_{one.id}"):
            navigation.open_item(one.id)
        held = one.paused_at is not None
        word, icon = (_("Retomar"), "play_arrow") if held else (_("Pausar"), "pause")
        if st.button(word, icon=f":material/{icon}:", key=f"hold_{one.id}"):
            with errors.shown():
                schedules.set_paused(actor, one.id, on=not held)
                st.rerun()
        if st.button(_("Encerrar"), icon=":material/event_busy:", key=f"end_{one.id}"):
            confirm.end_schedule(one.draft.name, partial(_end_schedule, one.id))


def _end_schedule(schedule_id: UUID, actor: Actor) -> None:
    with errors.shown():
        schedules.end(actor, schedule_id)
        st.rerun()


def _show_upcoming(actor: Actor, one: Schedule, occurrence: Occurrence) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        words = wall_time_words(occurrence.wall)
        st.markdown(f"~~{words}~~" if occurrence.skipped else words, width="content")
        label = _("Desfazer") if occurrence.skipped else _("Pular")
        if st.button(label, type="tertiary", key=f"skip_{one.id}_{occurrence.wall:%Y%m%d%H%M}"):
            with errors.shown():
                schedules.set_skipped(actor, one.id, occurrence.wall, on=not occurrence.skipped)
                st.rerun()


def _show_run(run: ScheduleRun) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        run_badge(run.state)
        st.caption(dates.short_time(run.due_at))
        st.text(run.name)
    if run.reason:
        st.caption(_(schedule_history.REASON_SENTENCES[run.reason]))
    elif run.left_out:
        st.caption(_("{n} ficaram de fora: pediram para não receber.").format(n=run.left_out))


def run_badge(state: RunState) -> None:
    if state is RunState.SENT:
        st.badge(_("Posto na fila"), color="green", icon=":material/check:")
    elif state is RunState.MISSED:
        st.badge(_("Perdido"), color="red", icon=":material/event_busy:")
    else:
        st.badge(_("Pulado"), color="gray", icon=":material/skip_next:")
