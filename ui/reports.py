"""A report on the screen and in files: the period, figures beside those before, charts, tables."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Literal
from uuid import UUID

import altair as alt
import pandas as pd
import streamlit as st
from babel.numbers import format_percent

from services import documents, export, reports
from services.db.actor import Actor
from services.export import Cell, Sheet
from services.messages import FAILURES
from services.reports import Figures, Measure, Order, Part, Period, Ranking, RankRow, Report
from ui import errors, times
from ui.event_log import duration
from ui.text import _, locale, number

CHART_HEIGHT = 260
# Six digits fit into a card, two cards beside each other on a phone, and the widest table beside the menu.
STYLE = """<style>
.st-key-report_figures [data-testid=stMetricValue] { font-size: 1.5rem; }
.st-key-report_ranking table { font-size: 0.8125rem; }
</style>"""
PAGE_KEY = "report_page"
ORDER_KEY = "report_order"
# Told apart in both themes, also by who sees no red beside green.
READ, DELIVERED, SENT, FAILED, RECEIVED = "#2a9d74", "#4f8fd9", "#8b98a5", "#d6453d", "#a05fc0"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

# A figure: its words, how it is got and written, and whether more of it is good (None: neither).
Shown = tuple[str, Callable[[Report, bool], float | None], Callable[[float], str], bool | None]


# --- what is looked at ------------------------------------------------------------------------------------------------


def choice(actor: Actor) -> tuple[Period, UUID | None]:
    """The period, and for staff whose report; None is everybody's (and for a user their own)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = _period_words()
        chosen = st.segmented_control(
            _("Período"), list(words), default=7, format_func=lambda days: words[days], key="report_days"
        )
        first, last = _dates(chosen) if chosen != 0 else _own_dates()
        whose = _person(actor) if actor.is_staff else None
    return Period(first, last, times.zone_name()), whose


def _period_words() -> dict[int, str]:
    return {1: _("Hoje"), 7: _("7 dias"), 30: _("30 dias"), 0: _("Outro")}


def _dates(days: int | None) -> tuple[date, date]:
    """The last days, today included; a choice that was taken back is a week."""
    today = times.today()
    return today - timedelta(days=(days or 7) - 1), today


def _own_dates() -> tuple[date, date]:
    today = times.today()
    picked = st.date_input(
        _("De – até"),
        (today - timedelta(days=6), today),
        max_value=today,
        min_value=today - timedelta(days=reports.MAX_DAYS - 1),
        format="DD/MM/YYYY",
        key="report_dates",
        width=260,
    )
    dates = picked if isinstance(picked, tuple) else (picked,)
    # While only the first day is picked, that day alone is shown.
    return (dates[0], dates[-1]) if dates else (today, today)


def _person(actor: Actor) -> UUID | None:
    typed = st.text_input(_("Buscar pessoa"), placeholder=_("E-mail ou nome"), key="report_search", width=200)
    with errors.stopping():
        people = {one.user_id: one.email for one in reports.people(actor, typed)}
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


def rank() -> tuple[Order, int]:
    """By what people are ranked, and which page of them is looked at, counted from 1."""
    return st.session_state.get(ORDER_KEY, "sent"), int(st.session_state.get(PAGE_KEY, 1))


def is_empty(found: Report) -> bool:
    """Whether neither the period nor the one before holds anything."""
    return not any(one.total or one.received or one.opt_outs for one in (found.now, found.before)) and not (
        found.availability.up or found.availability.attempts
    )


def nothing() -> None:
    """What to do about an empty report."""
    st.info(
        _("**Nada neste período.** Escolha outro, ou envie uma mensagem: ela aparece aqui em segundos."),
        icon=":material/monitoring:",
    )


# --- figures ----------------------------------------------------------------------------------------------------------


def figures(found: Report) -> None:
    """The period's figures, each with its change against the period before."""
    st.html(STYLE)
    with st.container(horizontal=True, key="report_figures"):
        for words, of, write, more_is_good in _shown():
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
    told = found.period.before(times.now())
    st.caption(
        _("Comparado com {first} a {last}. Percentuais sobre as enviadas; tempos são medianas.").format(
            first=times.clock(told.since), last=times.clock(told.until)
        )
    )
    if found.now.waiting:
        st.caption(_("{n} ainda na fila ou a caminho.").format(n=number(found.now.waiting)))


def _shown() -> list[Shown]:
    return [
        (_("Enviadas"), _of(lambda one: one.sent), number, True),
        (_("Entregues"), _of(lambda one: _share(one.delivered, one.sent)), percent, True),
        (_("Lidas"), _of(lambda one: _share(one.read, one.sent)), percent, True),
        (_("Falharam"), _of(lambda one: one.failed), number, False),
        (_("Incertas"), _of(lambda one: one.uncertain), number, False),
        (_("Recebidas"), _of(lambda one: one.received), number, None),
        (_("Descadastros"), _of(lambda one: one.opt_outs), number, False),
        (_("Até entregar"), _of(lambda one: one.times[Measure.DELIVERY].median), duration, False),
        (_("Até ler"), _of(lambda one: one.times[Measure.READING].median), duration, None),
        (_("Até responder"), _of(lambda one: one.times[Measure.RESPONSE].median), duration, False),
        (_("Tempo no ar"), lambda one, before: _available(one, before).uptime, percent, True),
        (_("Pareamentos"), lambda one, before: _available(one, before).success, percent, True),
        (_("Até parear"), lambda one, before: _available(one, before).median, duration, False),
    ]


def _of(get: Callable[[Figures], float | None]) -> Callable[[Report, bool], float | None]:
    return lambda found, before: get(found.before if before else found.now)


def _available(found: Report, before: bool) -> reports.Availability:
    return found.availability_before if before else found.availability


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _delta(value: float | None, before: float | None) -> str | None:
    if value is None or not before or not (change := round((value - before) / before * 100)):
        return None
    return f"{change:+d}%"


def percent(value: float) -> str:
    """`97,5%`; whole where it is."""
    return str(format_percent(value, "#,##0.#%", locale=locale()))


# --- charts -----------------------------------------------------------------------------------------------------------


def charts(found: Report) -> None:
    """Messages over the period, and by hour and weekday."""
    left, right = st.columns(2)
    with left:
        st.markdown(_("**Mensagens por hora**") if found.grain == "hour" else _("**Mensagens por dia**"))
        st.altair_chart(_over_time(found))
    with right:
        st.markdown(_("**Quando as mensagens saem e chegam**"))
        st.altair_chart(_heat(found))


def _over_time(found: Report) -> alt.Chart:
    """What was sent by how far it came, stacked; failures on top, what came in as a line."""
    stages = {
        _("Lidas"): (READ, [one.read for one in found.points]),
        _("Só entregues"): (DELIVERED, [one.delivered - one.read for one in found.points]),
        _("Só enviadas"): (SENT, [one.sent - one.delivered for one in found.points]),
        _("Falhas e incertas"): (FAILED, [one.failed for one in found.points]),
        _("Recebidas"): (RECEIVED, [one.received for one in found.points]),
    }
    rows = pd.DataFrame(
        [
            {"at": point.starts_at, "stage": stage, "count": counts[position], "order": order}
            for order, (stage, (_colour, counts)) in enumerate(stages.items())
            for position, point in enumerate(found.points)
        ]
    )
    colour = alt.Color(
        "stage:N",
        scale=alt.Scale(domain=list(stages), range=[one for one, _counts in stages.values()]),
        legend=alt.Legend(orient="bottom", columns=2, title=None, labelLimit=0),
    )
    unit: Literal["yearmonthdatehours", "yearmonthdate"]
    unit, shape = ("yearmonthdatehours", "%H:%M") if found.grain == "hour" else ("yearmonthdate", _("%d/%m"))
    ends = found.period.last + timedelta(days=1)
    domain = alt.Scale(domain=[found.period.first.isoformat() + "T00:00", ends.isoformat() + "T00:00"])
    told = [
        alt.Tooltip("at:T", title=_("Quando"), format=_("%d/%m") + (" %H:%M" if found.grain == "hour" else "")),
        alt.Tooltip("stage:N", title=_("O quê")),
        alt.Tooltip("count:Q", title=_("Mensagens")),
    ]
    base = alt.Chart(rows, height=CHART_HEIGHT).encode(
        x=alt.X("at:T", timeUnit=unit, scale=domain).axis(title=None, format=shape, tickCount=6), tooltip=told
    )
    received = alt.datum.stage == _("Recebidas")
    bars = base.transform_filter(alt.datum.stage != _("Recebidas")).mark_bar(binSpacing=1)
    line = base.transform_filter(received).mark_line(point=True, strokeWidth=2)
    # The browser writes thousands as English does.
    thousands = f"replace(datum.label, ',', '{locale().number_symbols['latn']['group']}')"
    height = alt.Y("count:Q").axis(title=None, tickCount=4, labelExpr=thousands)
    chart: alt.Chart = bars.encode(y=height.stack(True), color=colour, order="order:Q") + line.encode(
        y=height.stack(False), color=colour
    )
    return chart


def _heat(found: Report) -> alt.Chart:
    days = [_("seg"), _("ter"), _("qua"), _("qui"), _("sex"), _("sáb"), _("dom")]
    rows = pd.DataFrame(
        [
            {"day": days[one.weekday - 1], "hour": one.hour, "sent": one.sent, "received": one.received,
             "both": one.sent + one.received}
            for one in found.cells
        ],
        columns=["day", "hour", "sent", "received", "both"],
    )  # fmt: skip
    # Strength, not hue: it reads on white and on black, and to whoever sees no colours.
    chart: alt.Chart = alt.Chart(rows, height=CHART_HEIGHT).mark_rect(color=READ, cornerRadius=2)
    return chart.encode(
        x=alt.X("hour:O", scale=alt.Scale(domain=list(range(24)))).axis(
            title=_("Hora"), labelAngle=0, values=[0, 3, 6, 9, 12, 15, 18, 21]
        ),
        y=alt.Y("day:O", scale=alt.Scale(domain=days)).axis(title=None),
        opacity=alt.Opacity("both:Q", scale=alt.Scale(range=[0.15, 1]), legend=None),
        tooltip=[
            alt.Tooltip("day:O", title=_("Dia")),
            alt.Tooltip("hour:O", title=_("Hora")),
            alt.Tooltip("sent:Q", title=_("Enviadas")),
            alt.Tooltip("received:Q", title=_("Recebidas")),
        ],
    )


# --- tables and files -------------------------------------------------------------------------------------------------


def tables(found: Report, ranked: Ranking | None) -> None:
    """Why messages failed, what templates and campaigns came to, and for staff who sent how much."""
    sheets = _sheets(found, None)[1:]
    for sheet in sheets:
        if sheet.rows:
            st.subheader(sheet.title, anchor=False)
            _draw(sheet)
    if not found.failures:
        st.success(_("Nenhuma falha no período."), icon=":material/check_circle:")
    if ranked is not None:
        _ranking(ranked)


def _draw(sheet: Sheet) -> None:
    written = [[number(cell) if isinstance(cell, int) else cell for cell in row] for row in sheet.rows]
    st.table(pd.DataFrame(written, columns=list(sheet.headers)).set_index(sheet.headers[0]), border="horizontal")


def _ranking(ranked: Ranking) -> None:
    orders: dict[Order, str] = {
        "sent": _("Enviadas"),
        "read": _("Lidas"),
        "failed": _("Falhas"),
        "received": _("Recebidas"),
        "email": _("E-mail"),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader(_("Por sessão"), anchor=False)
        st.space("stretch")
        st.selectbox(_("Ordem"), list(orders), format_func=lambda one: orders[one], key=ORDER_KEY, width=160)
    with st.container(key="report_ranking"):
        _draw(_rank_sheet(ranked.rows))
    st.caption(
        _("{total} pessoas com mensagens no período; a resposta é o tempo médio.").format(total=number(ranked.total))
    )
    if (pages := -(-ranked.total // reports.PAGE_SIZE)) > 1:
        st.pagination(pages, key=PAGE_KEY)


def downloads(found: Report, ranked: Ranking | None) -> None:
    """Everything that is shown, as files."""
    name = f"plushify-{found.period.first:%Y%m%d}-{found.period.last:%Y%m%d}"
    sheets = [one for one in _sheets(found, ranked) if one.rows]
    title = _("Relatório do WhatsApp")
    first, last = times.calendar_day(found.period.first), times.calendar_day(found.period.last)
    days = f"{first} – {last} · {found.period.zone.replace('_', ' ')}"
    with st.popover(_("Baixar"), icon=":material/download:"):
        st.download_button(
            _("Resumo para imprimir (PDF)"),
            lambda: documents.pdf_file(title, days, sheets),
            f"{name}.pdf",
            "application/pdf",
            icon=":material/print:",
            on_click="ignore",
            key="report_pdf",
        )
        st.download_button(
            _("Todas as tabelas (XLSX)"),
            lambda: documents.xlsx_file([*sheets, _points_sheet(found)]),
            f"{name}.xlsx",
            XLSX,
            icon=":material/table:",
            on_click="ignore",
            key="report_xlsx",
        )
        for position, sheet in enumerate([*sheets, _points_sheet(found)]):
            st.download_button(
                _("{table} (CSV)").format(table=sheet.title),
                export.csv_file(sheet),
                f"{name}-{position + 1}.csv",
                "text/csv",
                on_click="ignore",
                key=f"report_csv_{position}",
            )


def _sheets(found: Report, ranked: Ranking | None) -> list[Sheet]:
    """The tables of a report; those of everybody name no template: it is its owner's."""
    summary: list[list[Cell]] = [
        [words, *("–" if (value := of(found, before)) is None else write(value) for before in (False, True))]
        for words, of, write, _good in _shown()
    ]
    failures: list[list[Cell]] = [[_failure(one.code), one.messages] for one in found.failures]
    made = [
        Sheet(_("Resumo"), [_("Número"), _("Período"), _("Período anterior")], summary),
        Sheet(_("Por que falharam"), [_("Motivo"), _("Mensagens")], failures),
        _parts(_("Por modelo"), _("Modelo"), found.templates),
        _parts(_("Por campanha"), _("Campanha"), found.campaigns),
    ]
    return made if ranked is None else [*made, _rank_sheet(ranked.rows)]


def _failure(code: str) -> str:
    return _(FAILURES[code][0]) if code in FAILURES else code


def _parts(title: str, what: str, parts: Sequence[Part]) -> Sheet:
    headers = [what, _("Mensagens"), _("Enviadas"), _("Entregues"), _("Lidas"), _("Falhas")]
    rows: list[list[Cell]] = [
        [one.name or _("(sem nome à vista)"), one.total, one.sent, one.delivered, one.read, one.failed] for one in parts
    ]
    return Sheet(title, headers, rows)


def _rank_sheet(rows: Sequence[RankRow]) -> Sheet:
    headers = [
        _("Pessoa"), _("Enviadas"), _("Entregues"), _("Lidas"), _("Falhas"), _("Incertas"), _("Recebidas"),
        _("Resposta"),
    ]  # fmt: skip
    cells: list[list[Cell]] = [
        [
            one.email,
            one.sent,
            one.delivered,
            one.read,
            one.failed,
            one.uncertain,
            one.received,
            "–" if one.response is None else duration(one.response),
        ]
        for one in rows
    ]
    return Sheet(_("Por sessão"), headers, cells)


def _points_sheet(found: Report) -> Sheet:
    headers = [_("Quando"), _("Enviadas"), _("Entregues"), _("Lidas"), _("Falhas"), _("Recebidas")]
    when = times.on_the_wall if found.grain == "hour" else times.calendar_day
    rows: list[list[Cell]] = [
        [when(one.starts_at), one.sent, one.delivered, one.read, one.failed, one.received] for one in found.points
    ]
    return Sheet(_("Por hora") if found.grain == "hour" else _("Por dia"), headers, rows)
