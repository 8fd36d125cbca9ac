"""The figures of a period, each beside the period before."""

from collections.abc import Callable

import streamlit as st
from babel.numbers import format_percent

from services.reporting import report_model
from services.reporting.report_model import Measure, Report, Totals
from ui.kit import dates
from ui.kit.i18n import _, locale, number
from ui.kit.quantities import duration

# Six digits fit into a card, two cards beside each other on a phone, and the widest table beside the menu.
STYLE = """<style>
.st-key-report_figures [data-testid=stMetricValue] { font-size: 1.5rem; }
.st-key-report_ranking table { font-size: 0.8125rem; }
</style>"""

# A figure: its words, how it is got and written, and whether more of it is good (None: neither).
Figure = tuple[str, Callable[[Report, bool], float | None], Callable[[float], str], bool | None]


def is_empty(found: Report) -> bool:
    """Whether neither the period nor the one before holds anything."""
    return not any(one.total or one.received or one.opt_outs for one in (found.now, found.before)) and not (
        found.availability.up or found.availability.attempts
    )


def explain_empty() -> None:
    """What to do about an empty report."""
    st.info(
        _("**Nada neste período.** Escolha outro, ou envie uma mensagem: ela aparece aqui em segundos."),
        icon=":material/monitoring:",
    )


def show_figures(found: Report) -> None:
    """The period's figures, each with its change against the period before."""
    st.html(STYLE)
    with st.container(horizontal=True, key="report_figures"):
        for words, of, write, more_is_good in list_figures():
            value, before = of(found, False), of(found, True)
            st.metric(
                words,
                "–" if value is None else write(value),
                _delta(value, before),
                delta_color="off" if more_is_good is None else "normal" if more_is_good else "inverse",
                border=True,
                width=150,
                height="stretch",
            )
    told = found.period.before(dates.now())
    st.caption(
        _("Comparado com {first} a {last}. Percentuais sobre as enviadas; tempos são medianas.").format(
            first=dates.short_time(told.since), last=dates.short_time(told.until)
        )
    )
    if found.now.waiting:
        st.caption(_("{n} ainda na fila ou a caminho.").format(n=number(found.now.waiting)))


def list_figures() -> list[Figure]:
    return [
        (_("Enviadas"), _read_figure(lambda one: one.sent), number, True),
        (_("Entregues"), _read_figure(lambda one: _share(one.delivered, one.sent)), format_share, True),
        (_("Lidas"), _read_figure(lambda one: _share(one.read, one.sent)), format_share, True),
        (_("Falharam"), _read_figure(lambda one: one.failed), number, False),
        (_("Incertas"), _read_figure(lambda one: one.uncertain), number, False),
        (_("Recebidas"), _read_figure(lambda one: one.received), number, None),
        (_("Descadastros"), _read_figure(lambda one: one.opt_outs), number, False),
        (_("Até entregar"), _read_figure(lambda one: one.times[Measure.DELIVERY].median), duration, False),
        (_("Até ler"), _read_figure(lambda one: one.times[Measure.READING].median), duration, None),
        (_("Até responder"), _read_figure(lambda one: one.times[Measure.RESPONSE].median), duration, False),
        (_("Tempo no ar"), lambda one, before: _availability_of(one, before).uptime, format_share, True),
        (_("Pareamentos"), lambda one, before: _availability_of(one, before).success, format_share, True),
        (_("Até parear"), lambda one, before: _availability_of(one, before).median, duration, False),
    ]


def _read_figure(get: Callable[[Totals], float | None]) -> Callable[[Report, bool], float | None]:
    return lambda found, before: get(found.before if before else found.now)


def _availability_of(found: Report, before: bool) -> report_model.Availability:
    return found.availability_before if before else found.availability


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _delta(value: float | None, before: float | None) -> str | None:
    if value is None or not before or not (change := round((value - before) / before * 100)):
        return None
    return f"{change:+d}%"


def format_share(value: float) -> str:
    """`97,5%`; whole where it is."""
    return str(format_percent(value, "#,##0.#%", locale=locale()))
