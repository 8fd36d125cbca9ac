"""The charts of a report: messages over time, and by hour and weekday."""

from datetime import timedelta
from typing import Literal

import altair as alt
import pandas as pd
import streamlit as st

from services.reporting.report_model import Report
from ui.kit.i18n import _, locale

CHART_HEIGHT = 260
# Told apart in both themes, also by who sees no red beside green.
READ, DELIVERED, SENT, FAILED, RECEIVED = "#2a9d74", "#4f8fd9", "#8b98a5", "#d6453d", "#a05fc0"


def show_charts(found: Report) -> None:
    """Messages over the period, and by hour and weekday."""
    left, right = st.columns(2)
    with left:
        st.markdown(_("**Mensagens por hora**") if found.grain == "hour" else _("**Mensagens por dia**"))
        st.altair_chart(_messages_chart(found))
    with right:
        st.markdown(_("**Quando as mensagens saem e chegam**"))
        st.altair_chart(_hours_chart(found))


def _messages_chart(found: Report) -> alt.Chart:
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


def _hours_chart(found: Report) -> alt.Chart:
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
