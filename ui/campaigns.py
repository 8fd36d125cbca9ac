"""Campaigns on the screen: making one, what will become of it, how far it is, and the result by recipient."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Literal
from uuid import UUID, uuid4

import pandas as pd
import streamlit as st

from services import campaigns, documents, export, messages, optouts, recipients
from services.campaigns import OPEN, Campaign, Pacing, Place, Progress, Result, Show, State
from services.db.actor import Actor
from services.errors import EmptyList
from services.governor import Forecast, Why
from services.messages import State as MessageState
from services.recipients import Recipient
from services.wppconnect.phone import display
from ui import bubble, confirm, errors, navigation, status, templates, times, uncertain
from ui import recipients as chosen_people
from ui.text import _

KEY = "campaign_key"
FORECAST_KEPT = timedelta(seconds=15)
# Where each page of the result begins, so that one can go back.
PAGES = "campaign_pages"

Colour = Literal["blue", "green", "orange", "red", "gray"]


def show(which: UUID | str | None) -> None:
    """Go to one campaign, to a new one, or back to the list."""
    st.session_state.pop(PAGES, None)
    navigation.choose(which)


# --- the list ---------------------------------------------------------------------------------------------------------


def listing(actor: Actor) -> None:
    """Every campaign with how far it is."""
    found = campaigns.mine(actor)
    if not found:
        st.info(
            _("Nenhuma campanha. Com **Nova campanha** um modelo vai a muitas pessoas, no ritmo que protege o número."),
            icon=":material/campaign:",
        )
    for one, far in found:
        with st.container(border=True, key=f"campaign_{one.id}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.text(one.name)
                _badge(one.state)
                st.space("stretch")
                if st.button(_("Abrir"), icon=":material/open_in_new:", key=f"open_{one.id}"):
                    show(one.id)
            _bar(far)
            st.caption(_("{template} · criada {ago}").format(template=one.template, ago=times.ago(one.created_at)))


def _badge(state: State) -> None:
    words: dict[State, tuple[str, Colour, str]] = {
        State.DRAFT: (_("Rascunho"), "gray", "edit_note"),
        State.ACTIVE: (_("Enviando"), "blue", "send"),
        State.PAUSED: (_("Pausada"), "orange", "pause"),
        State.CANCELLED: (_("Cancelada"), "red", "cancel"),
        State.ENDED: (_("Terminada"), "green", "done_all"),
    }
    word, colour, icon = words[state]
    st.badge(word, color=colour, icon=f":material/{icon}:")


def _bar(far: Progress) -> None:
    st.progress(far.decided / max(far.total, 1), text=_("{done} de {total}").format(done=far.decided, total=far.total))


def silence(actor: Actor) -> None:
    """Who asked for silence, and noting somebody who said so by other means. It holds for ever."""
    found = optouts.newest(actor)
    with st.expander(_("Quem pediu para não receber ({n})").format(n=len(found)), icon=":material/do_not_disturb_on:"):
        st.caption(
            _(
                "Quem responde SAIR, PARAR ou STOP entra aqui sozinho e não recebe mais agendamentos nem campanhas. "
                "Anote também quem pediu de outro jeito."
            )
        )
        with st.form("silence", border=False, clear_on_submit=True):
            phone = st.text_input(_("Número"), placeholder="(11) 99999-9999", key="silence_phone")
            if st.form_submit_button(_("Não enviar mais"), icon=":material/do_not_disturb_on:"):
                with errors.shown():
                    optouts.add(actor, phone)
                    st.rerun(scope="fragment")
        for number, at, word in found:
            st.caption(f"{display(number)} · {times.clock(at)} · {word or _('anotado por você')}")


# --- making one -------------------------------------------------------------------------------------------------------


def form(actor: Actor) -> None:
    """Which template, and to whom; the pace and the confirmation come on its own page."""
    key = st.session_state.setdefault(KEY, str(uuid4()))
    name = st.text_input(_("Nome da campanha"), max_chars=80, key=f"campaign_{key}_name")
    template = templates.chooser(actor, f"campaign_{key}_template")
    if template is None:
        st.info(_("Uma campanha parte de um modelo: escolha um ou crie-o antes."), icon=":material/article:")
        navigation.link("templates.py", _("Ir para Modelos"), ":material/article:")
        return
    common = templates.fields(template, f"campaign_{key}_values")
    found = chosen_people.picker(actor, f"campaign_{key}_to", template, common) or ()
    ready = recipients.sendable(found)
    bubble.first(ready, template, common)
    if st.button(_("Ver a previsão"), type="primary", icon=":material/insights:", key="campaign_create"):
        with errors.shown(), st.spinner(_("Guardando a lista…")):
            if not ready:
                raise EmptyList("nobody to send to")
            made = campaigns.create(actor, name, template, _with(ready, common), key=UUID(key))
            st.session_state.pop(KEY, None)
            show(made.id)


def _with(ready: Sequence[Recipient], common: dict[str, str]) -> list[Recipient]:
    """What stands in a list's columns goes before what was filled in for all."""
    return [
        Recipient(one.row, one.written, one.phone, one.name, {**common, **one.values}, one.problem) for one in ready
    ]


# --- one campaign -----------------------------------------------------------------------------------------------------


def head(actor: Actor, one: Campaign, far: Progress) -> None:
    """Its name, where it is, and what can be done."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(one.name, anchor=False, width="content")
        _badge(one.state)
    st.caption(_("Modelo {name}, versão {version}").format(name=one.template or "—", version=one.template_version))
    with st.container(horizontal=True):
        if one.state is State.ACTIVE and st.button(_("Pausar"), icon=":material/pause:", key="campaign_pause"):
            _act(lambda: campaigns.pause(actor, one.id, on=True))
        if one.state is State.PAUSED and st.button(
            _("Retomar"), type="primary", icon=":material/play_arrow:", key="campaign_resume"
        ):
            _act(lambda: campaigns.pause(actor, one.id, on=False))
        if one.state in (State.DRAFT, *OPEN) and st.button(
            _("Cancelar"), icon=":material/cancel:", key="campaign_cancel"
        ):
            waiting = far.places.get(Place.WAITING, 0)
            confirm.cancel_campaign(one.name, waiting, partial(_cancel, one.id))


def _cancel(campaign_id: UUID, actor: Actor) -> None:
    _act(lambda: campaigns.cancel(actor, campaign_id))


def _act(act: Callable[[], object]) -> None:
    with errors.shown():
        act()
        st.rerun()


def draft(actor: Actor, one: Campaign) -> None:
    """What would become of it with the pace as it stands, and the confirmation."""
    pacing = pace_fields(one)
    with errors.stopping():
        found = campaigns.expect(actor, one.id, times.zone_name(), pacing)
    with errors.shown():
        foretold(found)
        if st.button(
            _("Começar: {n} mensagens").format(n=found.total),
            type="primary",
            icon=":material/send:",
            key="campaign_confirm",
            disabled=found.total == 0,
        ):
            if pacing != one.pacing:
                campaigns.adjust(actor, one.id, pacing)
            _act(lambda: campaigns.confirm(actor, one.id, times.zone_name()))


def progress(actor: Actor, one: Campaign, far: Progress) -> None:
    """How far it is, what it waits for, and when it will end."""
    _bar(far)
    arrived = far.count(MessageState.SENT, MessageState.DELIVERED, MessageState.READ)
    figures = {
        _("Aguardando"): far.places.get(Place.WAITING, 0),
        _("Na fila"): far.count(MessageState.QUEUED, MessageState.SENDING, MessageState.ACCEPTED),
        _("Enviadas"): arrived,
        _("Lidas"): far.count(MessageState.READ),
        _("Com problema"): far.count(MessageState.FAILED, MessageState.UNCERTAIN),
        _("Fora"): far.places.get(Place.SKIPPED, 0) + far.places.get(Place.CANCELLED, 0),
    }
    for column, (label, value) in zip(st.columns(3) + st.columns(3), figures.items(), strict=True):
        column.metric(label, value, border=True)
    uncertain.banner(actor, one.id)
    if one.state is State.ACTIVE:
        _waits(actor)
        foretold(_expected(actor, one))
    elif one.state is State.PAUSED:
        st.warning(_("**Pausada.** Nada mais sai até você retomar."), icon=":material/pause:")


def _expected(actor: Actor, one: Campaign) -> Forecast:
    """Kept for a while: the future of ten thousand is not simulated anew for each message that moves."""
    name = f"campaign_{one.id}_forecast"
    kept = st.session_state.get(name)
    if kept is None or kept[0] != one or datetime.now(UTC) - kept[1] > FORECAST_KEPT:
        kept = (one, datetime.now(UTC), campaigns.expect(actor, one.id, times.zone_name()))
        st.session_state[name] = kept
    found: Forecast = kept[2]
    return found


def _waits(actor: Actor) -> None:
    found = campaigns.standing(actor)
    if found is None or found.why in (None, Why.PACE):
        return
    held_up = messages.waits(actor) if found.why is Why.BACKLOG else None
    if held_up is not None:
        st.info(status.waiting(held_up), icon=":material/hourglass_empty:")
        return
    until = times.clock(found.look_at) if found.look_at else ""
    words = {
        Why.QUIET: _("Fora do horário de envio: continua às {until}."),
        Why.CAP: _("O limite de hoje foi atingido: continua depois da meia-noite, no horário de envio."),
        Why.COLD: _("O limite de hoje para quem não conhece você foi atingido: continua amanhã."),
        Why.DISCONNECTED: _("O WhatsApp está desconectado: continua sozinha quando voltar."),
        Why.STOPPED: _("Os envios estão parados: continua quando voltarem."),
        Why.BACKLOG: _("As últimas mensagens ainda não saíram da fila: continua assim que saírem."),
    }
    st.info(words[found.why].format(until=until), icon=":material/hourglass_empty:")


def foretold(found: Forecast) -> None:
    """What will become of a campaign, in a sentence, and day by day where it takes several."""
    if not found.total:
        return
    parts = [_("**{n} mensagens**").format(n=found.total)]
    if found.ends_at is None:
        parts.append(_("não termina com estas regras"))
    else:
        parts.append(_("termina {when}").format(when=_when(found.ends_at)))
    if found.over_today:
        parts.append(_("passa do limite de hoje em {n}").format(n=found.over_today))
    st.markdown(":material/insights: " + ", ".join(parts) + ".")
    if len(found.days) > 1:
        with st.expander(_("Dia a dia ({n} dias)").format(n=len(found.days))):
            rows = [{_("Dia"): times.calendar_day(day), _("Mensagens"): count} for day, count in found.days.items()]
            st.dataframe(pd.DataFrame(rows), hide_index=True, width="content")


def _when(moment: datetime) -> str:
    words = times.clock(moment)
    return _("às {time}").format(time=words) if len(words) == len("00:00") else _("em {moment}").format(moment=words)


def pace_fields(one: Campaign) -> Pacing:
    """The rules of a campaign within the installation's, each with what it is for."""
    most, now = campaigns.limits(), one.pacing
    with st.expander(_("Ritmo e limites"), icon=":material/speed:", expanded=one.state is not State.DRAFT):
        opens, closes = st.columns(2)
        begin = opens.time_input(_("Começa às"), value=now.opens, key=f"{one.id}_opens")
        end = closes.time_input(_("Para às"), value=now.closes, key=f"{one.id}_closes", help=_("00:00 é meia-noite."))
        st.caption(
            _("Esta instalação envia das {opens} às {closes}, no seu horário.").format(
                opens=f"{most.opens:%H:%M}", closes=f"{most.closes:%H:%M}"
            )
        )
        cap, pace = st.columns(2)
        daily = cap.number_input(
            _("Mensagens por dia"),
            1,
            most.cap,
            value=min(now.cap, most.cap),
            key=f"{one.id}_cap",
            help=_("Deste número, somando todas as campanhas. Um número novo começa com menos e cresce dia a dia."),
        )
        seconds = pace.number_input(
            _("Segundos entre duas"),
            float(most.pace),
            86_400.0,
            value=max(float(now.pace), float(most.pace)),
            key=f"{one.id}_pace",
            help=_("Em média; cada intervalo varia, como o de uma pessoa."),
        )
        share = st.slider(
            _("Parte do dia para quem não escreveu a você (%)"),
            0,
            round(most.cold_share * 100),
            value=round(min(now.cold_share, most.cold_share) * 100),
            key=f"{one.id}_share",
            help=_("Mensagens a quem não conhece você são as que mais derrubam números."),
        )
    return Pacing(begin or time.min, end or time.min, int(daily), share / 100, float(seconds))


def pace(actor: Actor, one: Campaign) -> None:
    """Change the rules of a campaign that is under way."""
    wanted = pace_fields(one)
    if st.button(_("Guardar ritmo"), icon=":material/save:", key="campaign_pace", disabled=wanted == one.pacing):
        _act(lambda: campaigns.adjust(actor, one.id, wanted))


# --- the result -------------------------------------------------------------------------------------------------------


def result(actor: Actor, one: Campaign) -> None:
    """What became of each recipient, a page at a time, and all of it as a file."""
    words: dict[Show, str] = {
        "waiting": _("Aguardando"),
        "under_way": _("A caminho"),
        "arrived": _("Enviadas"),
        "wrong": _("Com problema"),
        "left_out": _("Fora"),
    }
    which = st.segmented_control(
        _("Mostrar"), list(words), format_func=words.__getitem__, key="campaign_show", on_change=_from_the_start
    )
    starts: list[int] = st.session_state.setdefault(PAGES, [0])
    found = campaigns.results(actor, one.id, starts[-1], show=which)
    if not found:
        st.caption(_("Ninguém aqui."))
    else:
        st.dataframe(pd.DataFrame([_row(item) for item in found]), hide_index=True, width="stretch")
    with st.container(horizontal=True):
        if len(starts) > 1 and st.button(_("Anteriores"), icon=":material/chevron_left:", key="result_before"):
            starts.pop()
            st.rerun(scope="fragment")
        if len(found) == campaigns.PAGE_SIZE and st.button(
            _("Próximos"), icon=":material/chevron_right:", key="result_after"
        ):
            starts.append(found[-1].seq)
            st.rerun(scope="fragment")
    _files(actor, one)


def _from_the_start() -> None:
    st.session_state[PAGES] = [0]


def _row(one: Result) -> dict[str, str | int]:
    """The table can be downloaded: no cell of it may be a formula."""
    moment = one.read_at or one.delivered_at or one.sent_at or one.released_at
    return {
        _("Nº"): one.seq,
        _("Telefone"): display(one.phone),
        _("Nome"): export.neutral(one.name or ""),
        _("Situação"): _(campaigns.situation(one)),
        _("Detalhe"): status.waiting(one.waiting) if one.waiting else _(campaigns.detail(one)),
        _("Quando"): times.to_the_second(moment) if moment else "",
    }


def _files(actor: Actor, one: Campaign) -> None:
    """Made when asked for: the result of ten thousand is no work for each redraw."""
    with st.container(horizontal=True):
        for form in ("csv", "xlsx"):
            name = f"campanha-{one.created_at:%Y%m%d-%H%M}.{form}"
            st.download_button(
                _("Baixar {form}").format(form=form.upper()),
                partial(_file, actor, one.id, form, times.zone_name()),
                name,
                icon=":material/download:",
                key=f"result_{form}",
                on_click="ignore",
            )


def _file(actor: Actor, campaign_id: UUID, form: str, zone: str) -> bytes:
    table = campaigns.table(actor, campaign_id, zone)
    return export.csv_file(table) if form == "csv" else documents.xlsx_file([table])
