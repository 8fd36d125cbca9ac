"""The calendar of schedules: one month with its past and coming runs."""

from calendar import Calendar
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import streamlit as st

from services.db.actor import Actor
from services.outreach import schedule_history
from services.outreach.schedule_history import CalendarEntry
from services.outreach.schedules import RunState
from ui.kit import dates
from ui.kit.i18n import _
from ui.sending.schedule_words import weekday_names
from ui.sending.schedules import run_badge

SHOWN_MONTH = "schedule_month"
# Up to this many entries are named in one day of the calendar.
_RUNS_IN_A_DAY = 3


def show_calendar(actor: Actor) -> None:
    """One month, with what was and what comes, and the same as a list for a narrow screen."""
    today = dates.to_local(datetime.now(UTC)).date()
    month: date = st.session_state.setdefault(SHOWN_MONTH, today.replace(day=1))
    _month_buttons(month)
    weeks = Calendar().monthdatescalendar(month.year, month.month)
    found = schedule_history.list_calendar(
        actor, dates.start_of_day(weeks[0][0]), dates.start_of_day(weeks[-1][-1] + timedelta(days=1))
    )
    by_day: defaultdict[date, list[CalendarEntry]] = defaultdict(list)
    for entry in found:
        by_day[dates.to_local(entry.at).date()].append(entry)
    cells = [[_day_cell(day, month, day == today, by_day[day]) for day in week] for week in weeks]
    st.table(pd.DataFrame(cells, columns=list(weekday_names())).style.hide(axis="index"))
    of_month = [entry for entry in found if dates.to_local(entry.at).month == month.month]
    if not of_month:
        st.caption(_("Nada neste mês."))
    for entry in of_month:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(dates.short_time(entry.at))
            st.text(entry.name)
            if entry.state is not None:
                run_badge(entry.state)
            elif entry.paused:
                st.badge(_("Pausado"), color="orange", icon=":material/pause:")


def _month_buttons(month: date) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("", icon=":material/chevron_left:", key="month_before", help=_("Mês anterior")):
            _show_month(month - timedelta(days=1))
        st.markdown(f"**{dates.month_name(month)}**", width="content")
        if st.button("", icon=":material/chevron_right:", key="month_after", help=_("Próximo mês")):
            _show_month(month + timedelta(days=31))


def _show_month(day: date) -> None:
    st.session_state[SHOWN_MONTH] = day.replace(day=1)
    st.rerun()


def _day_cell(day: date, month: date, today: bool, entries: list[CalendarEntry]) -> str:
    number = f"**:blue[{day.day}]**" if today else f"**{day.day}**"
    if day.month != month.month:
        return f":gray[{day.day}]"
    marks = {RunState.SENT: ":green[✓]", RunState.MISSED: ":red[✗]", RunState.SKIPPED: ":gray[–]"}
    lines = [
        f"{marks[one.state] if one.state else '•'} {dates.to_local(one.at):%H:%M}" for one in entries[:_RUNS_IN_A_DAY]
    ]
    if len(entries) > _RUNS_IN_A_DAY:
        lines.append(f"+{len(entries) - _RUNS_IN_A_DAY}")
    return "  \n".join([number, *lines])
