"""Schedules on the screen: writing one, the list, the calendar, and what became of each time."""

from calendar import Calendar
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pandas as pd
import streamlit as st

from services import recipients, schedules, wallclock
from services import templates as service
from services.db.actor import Actor
from services.errors import EmptyList
from services.messages import Content
from services.schedules import Draft, Entry, Occurrence, Run, RunState, Schedule, To
from services.templates import Template
from services.wppconnect.phone import display
from ui import bubble, confirm, errors, navigation, templates, times, toasts
from ui import recipients as chosen
from ui.text import _

KEY = "schedule_key"
MONTH = "schedule_month"
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# Up to this many entries are named in one day of the calendar.
_IN_A_DAY = 3


# --- writing one ------------------------------------------------------------------------------------------------------


def form(actor: Actor, before: Schedule | None) -> None:
    """Everything that a schedule is made of, with its next dates as it stands."""
    # One key a draft: however often it is pressed, it makes one.
    key = st.session_state.setdefault(KEY, str(uuid4()))
    prefix = f"schedule_{before.id if before else key}"
    old = before.draft if before else None
    zone = old.zone if old else times.zone_name()
    name = st.text_input(_("Nome do agendamento"), value=old.name if old else "", max_chars=80, key=f"{prefix}_name")
    template, content = _what(actor, old, prefix)
    to = _whom(actor, old, template, prefix)
    first, rule = _when(old, zone, prefix)
    draft = Draft(
        name,
        zone,
        first,
        rule,
        to,
        content,
        template.id if template else None,
        template.version if template else None,
    )
    label = _("Guardar") if before else _("Agendar")
    if st.button(label, type="primary", icon=":material/event_available:", key="schedule_save"):
        with errors.shown():
            _save(actor, before, draft, UUID(key))
    # Below the button, which must not move while somebody leaves a field by pressing it.
    with errors.shown():
        _dates(schedules.preview(draft))


def _save(actor: Actor, before: Schedule | None, draft: Draft, key: UUID) -> None:
    if not draft.to:
        raise EmptyList("nobody to send to")
    if before is None:
        schedules.create(actor, draft, key=key)
    else:
        schedules.change(actor, before.id, draft)
    st.session_state.pop(KEY, None)
    toasts.after_rerun(_("Agendado."), ":material/event_available:")
    navigation.choose(None)


def _what(actor: Actor, old: Draft | None, prefix: str) -> tuple[Template | None, Content | None]:
    template = templates.chooser(actor, f"{prefix}_template")
    if template is not None:
        return template, None
    if old is not None and old.template_id is not None:
        st.caption(_("Este agendamento usa um modelo. Sem escolher outro nem escrever um texto, ele continua."))
    body = old.content.body if old and old.content else ""
    text = st.text_area(_("Mensagem"), value=body, height=120, key=f"{prefix}_text")
    if not text.strip() and old is not None and old.template_id is not None:
        with errors.shown():
            return service.get(actor, old.template_id, old.template_version), None
    # What else it carries stays: only its text is written here.
    return None, replace(old.content, body=text) if old and old.content else Content(body=text)


def _whom(actor: Actor, old: Draft | None, template: Template | None, prefix: str) -> tuple[To, ...]:
    if old is not None:
        st.text(_("Para: {who}").format(who=_names(old)))
        if not st.toggle(_("Trocar destinatários"), key=f"{prefix}_change"):
            return old.to
    common = templates.fields(template, f"{prefix}_values") if template is not None else {}
    found = chosen.picker(actor, f"{prefix}_to", template, common) or ()
    ready = [one for one in recipients.sendable(found) if one.phone]
    if template is not None:
        bubble.first(ready, template, common)
    if len(ready) > schedules.MAX_RECIPIENTS:
        st.warning(
            _("Um agendamento vai para até {n} destinatários; para mais, use uma campanha.").format(
                n=schedules.MAX_RECIPIENTS
            ),
            icon=":material/info:",
        )
    return tuple(To(one.phone or "", one.name, {**common, **one.values}) for one in ready)


def _when(old: Draft | None, zone: str, prefix: str) -> tuple[datetime, str | None]:
    soon = (wallclock.shown(datetime.now(UTC), zone) + timedelta(hours=1)).replace(minute=0)
    begins = old.first if old else st.session_state.setdefault(f"{prefix}_soon", soon)
    on, at, again = st.columns([1, 1, 2])
    day = on.date_input(_("Dia"), value=begins.date(), format="DD/MM/YYYY", key=f"{prefix}_day")
    hour = at.time_input(_("Hora"), value=begins.time(), step=60, key=f"{prefix}_hour")
    given = parts(old.rule) if old else {}
    words = _repetitions()
    kind = again.selectbox(
        _("Repetição"),
        list(words),
        index=list(words).index(_kind(given)),
        format_func=words.__getitem__,
        key=f"{prefix}_kind",
    )
    st.caption(
        _(
            "Horário de {zone}, também quando o relógio muda. Uma hora que não existe no dia da mudança vai no "
            "primeiro momento seguinte; uma que existe duas vezes vai na primeira. Um mês sem esse dia é pulado."
        ).format(zone=zone.replace("_", " "))
    )
    first = datetime.combine(day if isinstance(day, date) else begins.date(), hour or begins.time())
    return first.replace(second=0, microsecond=0), _rule(kind, given, prefix) if kind != "once" else None


def _repetitions() -> dict[str, str]:
    return {
        "once": _("Uma vez"),
        "DAILY": _("Todo dia"),
        "workdays": _("De segunda a sexta"),
        "WEEKLY": _("Toda semana"),
        "MONTHLY": _("Todo mês"),
        "YEARLY": _("Todo ano"),
        "own": _("Regra própria (iCalendar)"),
    }


def _kind(given: dict[str, str]) -> str:
    if not given:
        return "once"
    if given.get("FREQ") == "WEEKLY" and given.get("BYDAY") == ",".join(_DAYS[:5]) and "INTERVAL" not in given:
        return "workdays"
    plain = set(given) <= {"FREQ", "INTERVAL", "COUNT", "UNTIL"} | ({"BYDAY"} if given["FREQ"] == "WEEKLY" else set())
    return given["FREQ"] if plain else "own"


def _rule(kind: str, given: dict[str, str], prefix: str) -> str:
    if kind == "own":
        written = ";".join(f"{name}={value}" for name, value in given.items()) or "FREQ=WEEKLY;BYDAY=MO"
        return st.text_input("RRULE", value=written, key=f"{prefix}_rrule").strip().upper().removeprefix("RRULE:")
    made = {"FREQ": "WEEKLY" if kind == "workdays" else kind}
    how, days, ends = st.columns([1, 2, 2])
    if kind == "workdays":
        made["BYDAY"] = ",".join(_DAYS[:5])
    else:
        every = how.number_input(
            _("A cada"), 1, schedules.MAX_INTERVAL, value=int(given.get("INTERVAL", 1)), key=f"{prefix}_every"
        )
        made |= {"INTERVAL": str(every)} if every > 1 else {}
    if kind == "WEEKLY":
        names = dict(zip(_DAYS, _weekdays(), strict=True))
        before = [one for one in given.get("BYDAY", "").split(",") if one in _DAYS]
        picked = days.multiselect(
            _("Dias (vazio: o do primeiro)"), _DAYS, default=before, format_func=names.__getitem__, key=f"{prefix}_days"
        )
        made |= {"BYDAY": ",".join(sorted(picked, key=_DAYS.index))} if picked else {}
    with ends:
        made |= _end(given, prefix)
    return ";".join(f"{name}={value}" for name, value in made.items())


def _end(given: dict[str, str], prefix: str) -> dict[str, str]:
    words = {"never": _("Não termina"), "UNTIL": _("Termina num dia"), "COUNT": _("Termina depois de tantas vezes")}
    before = next((one for one in ("UNTIL", "COUNT") if one in given), "never")
    how = st.selectbox(
        _("Fim"), list(words), index=list(words).index(before), format_func=words.__getitem__, key=f"{prefix}_end"
    )
    if how == "COUNT":
        count = st.number_input(_("Vezes"), 1, 1000, value=int(given.get("COUNT", 10)), key=f"{prefix}_count")
        return {"COUNT": str(count)}
    if how == "UNTIL":
        last = datetime.strptime(given["UNTIL"][:8], "%Y%m%d").date() if "UNTIL" in given else None
        day = st.date_input(_("Último dia"), value=last or "today", format="DD/MM/YYYY", key=f"{prefix}_until")
        return {"UNTIL": f"{day:%Y%m%d}T235959"} if isinstance(day, date) else {}
    return {}


def parts(rule: str | None) -> dict[str, str]:
    """The parts of a rule by name."""
    return dict(part.split("=", 1) for part in rule.split(";")) if rule else {}


def _dates(found: list[Occurrence]) -> None:
    st.markdown(_("**Próximas datas**"))
    st.caption(" · ".join(wall_words(one.wall) for one in found))


# --- the list ---------------------------------------------------------------------------------------------------------


def listing(actor: Actor) -> None:
    """The schedules that are under way, and what became of the last ones."""
    found = schedules.mine(actor)
    if not found:
        st.info(
            _("Nenhum agendamento. Com **Novo agendamento** uma mensagem sai na hora marcada, uma vez ou sempre."),
            icon=":material/calendar_month:",
        )
    for one in found:
        with st.container(border=True, key=f"schedule_{one.id}"):
            _card(actor, one)
    past = schedules.runs(actor)
    st.subheader(_("O que já passou"), anchor=False)
    if not past:
        st.caption(_("Nada ainda. Cada vez aparece aqui, enviada ou não, com o motivo."))
    for run in past:
        _past(run)


def _card(actor: Actor, one: Schedule) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(one.draft.name)
        if one.paused_at is not None:
            st.badge(_("Pausado"), color="orange", icon=":material/pause:")
        elif one.next is not None:
            st.badge(wall_words(one.next.wall), color="blue", icon=":material/schedule:")
    st.caption(f"{rule_words(one.draft)} · {one.draft.zone.replace('_', ' ')}")
    st.text(_("Para: {who}").format(who=_names(one.draft)))
    if one.draft.template_id is not None:
        with errors.shown():
            template = service.get(actor, one.draft.template_id, one.draft.template_version)
            st.text(_("Modelo: {name}").format(name=template.name))
    elif one.draft.content is not None and one.draft.content.body:
        st.text(one.draft.content.body[:200])
    with st.container(horizontal=True):
        if st.button(_("Editar"), icon=":material/edit:", key=f"edit_{one.id}"):
            navigation.choose(one.id)
        held = one.paused_at is not None
        word, icon = (_("Retomar"), "play_arrow") if held else (_("Pausar"), "pause")
        if st.button(word, icon=f":material/{icon}:", key=f"hold_{one.id}"):
            with errors.shown():
                schedules.pause(actor, one.id, on=not held)
                st.rerun()
        if st.button(_("Encerrar"), icon=":material/event_busy:", key=f"end_{one.id}"):
            confirm.end_schedule(one.draft.name, partial(_end_it, one.id))
    with st.expander(_("Próximas dez datas"), icon=":material/event_upcoming:", key=f"dates_{one.id}"):
        for occurrence in schedules.upcoming(actor, one):
            _coming(actor, one, occurrence)


def _end_it(schedule_id: UUID, actor: Actor) -> None:
    with errors.shown():
        schedules.end(actor, schedule_id)
        st.rerun()


def _coming(actor: Actor, one: Schedule, occurrence: Occurrence) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        words = wall_words(occurrence.wall)
        st.markdown(f"~~{words}~~" if occurrence.skipped else words, width="content")
        label = _("Desfazer") if occurrence.skipped else _("Pular")
        if st.button(label, type="tertiary", key=f"skip_{one.id}_{occurrence.wall:%Y%m%d%H%M}"):
            with errors.shown():
                schedules.skip(actor, one.id, occurrence.wall, on=not occurrence.skipped)
                st.rerun()


def _past(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        _run_badge(run.state)
        st.caption(times.clock(run.due_at))
        st.text(run.name)
    if run.reason:
        st.caption(_(schedules.REASONS[run.reason]))
    elif run.left_out:
        st.caption(_("{n} ficaram de fora: pediram para não receber.").format(n=run.left_out))


def _run_badge(state: RunState) -> None:
    if state is RunState.SENT:
        st.badge(_("Posto na fila"), color="green", icon=":material/check:")
    elif state is RunState.MISSED:
        st.badge(_("Perdido"), color="red", icon=":material/event_busy:")
    else:
        st.badge(_("Pulado"), color="gray", icon=":material/skip_next:")


def wall_words(wall: datetime) -> str:
    """`qua 25/11/2026 10:00`, on the schedule's own clock."""
    return f"{_weekdays()[wall.weekday()]} {times.on_the_wall(wall)}"


def _weekdays() -> tuple[str, ...]:
    return (_("seg"), _("ter"), _("qua"), _("qui"), _("sex"), _("sáb"), _("dom"))


def rule_words(draft: Draft) -> str:
    """How a schedule recurs."""
    given = parts(draft.rule)
    words = _repetitions()[_kind(given)] if _kind(given) != "own" else draft.rule or ""
    if "INTERVAL" in given and _kind(given) != "own":
        words += " " + _("(a cada {n})").format(n=given["INTERVAL"])
    if _kind(given) == "WEEKLY" and "BYDAY" in given:
        names = dict(zip(_DAYS, _weekdays(), strict=True))
        words += ": " + ", ".join(names[one] for one in given["BYDAY"].split(","))
    if "COUNT" in given:
        words += ", " + _("{n} vezes").format(n=given["COUNT"])
    return words


def _names(draft: Draft) -> str:
    shown = [one.name or display(one.phone) for one in draft.to[:3]]
    more = len(draft.to) - len(shown)
    return ", ".join(shown) + (_(" e mais {n}").format(n=more) if more else "")


# --- the calendar -----------------------------------------------------------------------------------------------------


def calendar(actor: Actor) -> None:
    """One month, with what was and what comes, and the same as a list for a narrow screen."""
    today = times.local(datetime.now(UTC)).date()
    month: date = st.session_state.setdefault(MONTH, today.replace(day=1))
    _turn(month)
    weeks = Calendar().monthdatescalendar(month.year, month.month)
    found = schedules.between(actor, times.starts(weeks[0][0]), times.starts(weeks[-1][-1] + timedelta(days=1)))
    by_day: defaultdict[date, list[Entry]] = defaultdict(list)
    for entry in found:
        by_day[times.local(entry.at).date()].append(entry)
    cells = [[_day(day, month, day == today, by_day[day]) for day in week] for week in weeks]
    st.table(pd.DataFrame(cells, columns=list(_weekdays())).style.hide(axis="index"))
    of_month = [entry for entry in found if times.local(entry.at).month == month.month]
    if not of_month:
        st.caption(_("Nada neste mês."))
    for entry in of_month:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(times.clock(entry.at))
            st.text(entry.name)
            if entry.state is not None:
                _run_badge(entry.state)
            elif entry.paused:
                st.badge(_("Pausado"), color="orange", icon=":material/pause:")


def _turn(month: date) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("", icon=":material/chevron_left:", key="month_before", help=_("Mês anterior")):
            _go(month - timedelta(days=1))
        st.markdown(f"**{times.month(month)}**", width="content")
        if st.button("", icon=":material/chevron_right:", key="month_after", help=_("Próximo mês")):
            _go(month + timedelta(days=31))


def _go(day: date) -> None:
    st.session_state[MONTH] = day.replace(day=1)
    st.rerun()


def _day(day: date, month: date, today: bool, entries: list[Entry]) -> str:
    number = f"**:blue[{day.day}]**" if today else f"**{day.day}**"
    if day.month != month.month:
        return f":gray[{day.day}]"
    marks = {RunState.SENT: ":green[✓]", RunState.MISSED: ":red[✗]", RunState.SKIPPED: ":gray[–]"}
    lines = [f"{marks[one.state] if one.state else '•'} {times.local(one.at):%H:%M}" for one in entries[:_IN_A_DAY]]
    if len(entries) > _IN_A_DAY:
        lines.append(f"+{len(entries) - _IN_A_DAY}")
    return "  \n".join([number, *lines])
