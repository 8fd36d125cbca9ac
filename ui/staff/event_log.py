"""The receiver's event log on the screen: rate and lag, filters, and the list."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import altair as alt
import pandas as pd
import streamlit as st

from services.db.actor import Actor
from services.inbound import event_log, event_rates
from services.inbound.event_log import Event, EventFilter, EventPage, Verdict
from services.inbound.event_rates import EventRates
from ui.kit import dates, quantities
from ui.kit.i18n import _

_CURSORS = "events_cursors"
_FILTER = "events_filter"
_SHOWN_IDS = "events_shown"
_TABLE = "events_table"
_ROUND = "events_round"
CHART_HEIGHT = 240
TABLE_HEIGHT = 390
ALL_TIME = timedelta()
# Told apart in both themes, also by who sees no red beside green.
COLOURS = {
    Verdict.HANDLED: "#2a9d74",
    Verdict.UNSUPPORTED: "#8b98a5",
    Verdict.DUPLICATE: "#4f8fd9",
    Verdict.RECEIVED: "#e0a030",
    Verdict.FAILED: "#d6453d",
    Verdict.INVALID: "#a05fc0",
}


def verdict_word(verdict: Verdict) -> str:
    """The verdict for people."""
    words = {
        Verdict.RECEIVED: _("Na fila"),
        Verdict.HANDLED: _("Processado"),
        Verdict.UNSUPPORTED: _("Guardado, sem uso"),
        Verdict.DUPLICATE: _("Repetido"),
        Verdict.FAILED: _("Falhou"),
        Verdict.INVALID: _("Inválido"),
    }
    return words[verdict]


def period_word(period: timedelta) -> str:
    """How far back the list goes."""
    words = {
        timedelta(hours=1): _("Última hora"),
        timedelta(days=1): _("Últimas 24 h"),
        timedelta(days=7): _("Últimos 7 dias"),
        ALL_TIME: _("Tudo"),
    }
    return words[period]


# --- rate and lag -----------------------------------------------------------------------------------------------------


def show_rates(found: EventRates) -> None:
    """Deliveries by minute, the longest wait by minute, and how long the oldest waits now."""
    if found.oldest_waiting is None:
        st.caption(_("Nenhum evento esperando para ser processado."))
    else:
        st.caption(
            _("O evento mais antigo na fila espera há {time}.").format(time=quantities.duration(found.oldest_waiting))
        )
    if not found.minutes:
        st.caption(_("Nenhum evento chegou na última hora."))
        return
    rows = pd.DataFrame(
        {
            # A chart reads a time without a zone as the viewer's own.
            "at": [dates.to_local(one.at) for one in found.minutes],
            "verdict": [verdict_word(one.verdict) for one in found.minutes],
            "count": [one.count for one in found.minutes],
            "waited": [one.waited for one in found.minutes],
        }
    )
    present = [one for one in COLOURS if verdict_word(one) in set(rows["verdict"])]
    colour = alt.Color(
        "verdict:N",
        title=_("Resultado"),
        scale=alt.Scale(domain=[verdict_word(one) for one in present], range=[COLOURS[one] for one in present]),
        legend=alt.Legend(orient="bottom", columns=2, title=None, offset=4),
    )
    left, right = st.columns(2)
    left.markdown(_("**Eventos por minuto**"))
    left.altair_chart(_bar_chart(rows, "sum(count):Q", _("Eventos"), ".0f").encode(color=colour))
    right.markdown(_("**Maior espera até processar (s)**"))
    right.altair_chart(_bar_chart(rows, "max(waited):Q", _("Segundos"), ".1f"))


def _bar_chart(rows: pd.DataFrame, value: str, unit: str, number: str) -> alt.Chart:
    """A bar a minute over the whole hour, so that a minute without events shows as a gap."""
    now = datetime.now(UTC)
    first = dates.to_local(now - event_rates.RATE_PERIOD).replace(second=0, microsecond=0)
    hour = alt.Scale(domain=[first.isoformat(), dates.to_local(now).isoformat()])
    minute = alt.X("at:T", timeUnit="yearmonthdatehoursminutes", scale=hour, title=_("Minuto"))
    minute = minute.axis(title=None, format="%H:%M", tickCount=6)
    height = alt.Y(value, title=unit).axis(title=None, tickCount=4)
    told = [alt.Tooltip("at:T", title=_("Minuto"), format="%H:%M"), alt.Tooltip(value, title=unit, format=number)]
    chart: alt.Chart = alt.Chart(rows, height=CHART_HEIGHT).mark_bar(binSpacing=1, color=COLOURS[Verdict.DUPLICATE])
    return chart.encode(x=minute, y=height, tooltip=told)


# --- what is looked for -----------------------------------------------------------------------------------------------


def choose_filter(kinds: list[str]) -> EventFilter:
    """What is looked for; a change starts at the newest event again."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        session = st.text_input(_("Sessão"), placeholder=_("E-mail, nome ou user_…"), key="events_session", width=240)
        kind = st.selectbox(
            _("Tipo"), ["", *kinds], format_func=lambda one: one or _("Todos"), key="events_kind", width=150
        )
        verdict = st.selectbox(
            _("Resultado"),
            ["", *Verdict],
            format_func=lambda one: verdict_word(Verdict(one)) if one else _("Todos"),
            key="events_verdict",
            width=180,
        )
        within = st.selectbox(
            _("Período"),
            [timedelta(hours=1), timedelta(days=1), timedelta(days=7), ALL_TIME],
            index=1,
            format_func=period_word,
            key="events_within",
            width=160,
        )
    wanted = EventFilter(session, kind or None, Verdict(verdict) if verdict else None, within or None)
    if st.session_state.get(_FILTER) != wanted:
        st.session_state[_FILTER] = wanted
        st.session_state[_CURSORS] = []
        clear_choice()
    return wanted


def page_cursor() -> int | None:
    """The id before which the page that is looked at begins."""
    cursors = st.session_state.get(_CURSORS)
    return int(cursors[-1]) if cursors else None


# --- the list ---------------------------------------------------------------------------------------------------------


def chosen_ids() -> list[int]:
    """The ids of the events that are chosen in the list as it was drawn last."""
    drawn: str | None = st.session_state.get(_TABLE)
    table = st.session_state.get(drawn) if drawn else None
    if table is None:
        return []
    shown: EventPage = st.session_state[_SHOWN_IDS]
    return [shown.events[row].id for row in table["selection"]["rows"] if row < len(shown.events)]


def clear_choice() -> None:
    """Choose nothing any more."""
    st.session_state.pop(_TABLE, None)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


def reload_page(actor: Actor) -> EventPage:
    """The page as it was when something in it was chosen: the same events, as they are now."""
    shown: EventPage = st.session_state[_SHOWN_IDS]
    return replace(shown, events=event_log.get_events(actor, [one.id for one in shown.events]))


def show_list(found: EventPage) -> None:
    """One page of events, in which any can be chosen."""
    st.session_state[_SHOWN_IDS] = found
    if found.too_many:
        st.warning(
            _("A busca encontra gente demais: só as primeiras {n} pessoas entram na lista. Digite mais.").format(
                n=event_log.MAX_PEOPLE
            ),
            icon=":material/group:",
        )
    if not found.events:
        st.info(_("Nenhum evento com este filtro. Aumente o período ou limpe a busca."), icon=":material/search_off:")
        return
    # A selection is places in the list: in another list it would mean other events.
    drawn = hash(tuple(one.id for one in found.events))
    st.session_state[_TABLE] = f"{_TABLE}_{st.session_state.get(_ROUND, 0)}_{drawn}"
    st.dataframe(
        pd.DataFrame([_cells(one) for one in found.events]),
        hide_index=True,
        width="stretch",
        height=TABLE_HEIGHT if len(found.events) > 10 else "content",
        on_select="rerun",
        selection_mode="multi-row",
        key=st.session_state[_TABLE],
    )
    _page_buttons(found)


def _cells(event: Event) -> dict[str, str]:
    return {
        _("Quando"): dates.to_the_second(event.received_at),
        _("Resultado"): verdict_word(event.verdict),
        _("Tipo"): event.kind,
        _("Sessão"): event.email or event.session or "—",
        _("Erro"): event.error.splitlines()[-1] if event.error else "—",
        _("Espera"): _wait_text(event),
        _("Nº"): str(event.id),
    }


def _wait_text(event: Event) -> str:
    if event.handled_at is None or event.verdict is Verdict.RECEIVED:
        return "—"
    return quantities.duration(max((event.handled_at - event.received_at).total_seconds(), 0.0))


def _page_buttons(found: EventPage) -> None:
    cursors = st.session_state.setdefault(_CURSORS, [])
    if not cursors and found.older is None:
        return
    with st.container(horizontal=True):
        newer = st.button(_("Mais novos"), icon=":material/chevron_left:", disabled=not cursors, key="events_newer")
        older = st.button(
            _("Mais antigos"), icon=":material/chevron_right:", disabled=found.older is None, key="events_older"
        )
    if newer:
        cursors.pop()
    elif older:
        cursors.append(found.older)
    if newer or older:
        clear_choice()
        st.rerun()
