"""What a report is about: its period, and for staff whose it is."""

from datetime import date, timedelta
from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.reporting import report_periods, reports
from services.reporting.report_periods import Period
from ui.kit import dates as times
from ui.kit.i18n import _
from ui.shell import errors


def choose_report(actor: Actor) -> tuple[Period, UUID | None]:
    """The period, and for staff whose report; None is everybody's (and for a user their own)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = _period_words()
        chosen = st.segmented_control(
            _("Período"), list(words), default=7, format_func=lambda days: words[days], key="report_days"
        )
        first, last = _last_days(chosen) if chosen != 0 else _custom_dates()
        whose = _choose_user(actor) if actor.is_staff else None
    return Period(first, last, times.zone_name()), whose


def _period_words() -> dict[int, str]:
    return {1: _("Hoje"), 7: _("7 dias"), 30: _("30 dias"), 0: _("Outro")}


def _last_days(days: int | None) -> tuple[date, date]:
    """The last days, today included; a choice that was taken back is a week."""
    today = times.today()
    return today - timedelta(days=(days or 7) - 1), today


def _custom_dates() -> tuple[date, date]:
    today = times.today()
    picked = st.date_input(
        _("De – até"),
        (today - timedelta(days=6), today),
        max_value=today,
        min_value=today - timedelta(days=report_periods.MAX_DAYS - 1),
        format="DD/MM/YYYY",
        key="report_dates",
        width=260,
    )
    dates = picked if isinstance(picked, tuple) else (picked,)
    # While only the first day is picked, that day alone is shown.
    return (dates[0], dates[-1]) if dates else (today, today)


def _choose_user(actor: Actor) -> UUID | None:
    typed = st.text_input(_("Buscar pessoa"), placeholder=_("E-mail ou nome"), key="report_search", width=200)
    with errors.stopping():
        people = {one.user_id: one.email for one in reports.list_people(actor, typed)}
    return st.selectbox(
        _("De quem"),
        [None, *people],
        format_func=lambda one: people[one] if one else _("Todos"),
        placeholder=_("Todos"),
        key="report_whose",
        width=240,
    )


def is_under_way(period: Period) -> bool:
    """Whether today is in it, so that its figures still change."""
    return period.first <= times.today() <= period.last
