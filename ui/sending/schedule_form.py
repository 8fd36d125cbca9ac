"""Writes a schedule: what, to whom, when, and its next dates."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

import streamlit as st

from services.contacts import opt_outs
from services.db.actor import Actor
from services.messaging.content import Content
from services.outreach import recipients, recurrence, schedule_content, schedules
from services.outreach.errors import EmptyList
from services.outreach.recurrence import Occurrence, ScheduleDraft, ScheduleRecipient
from services.outreach.schedules import Schedule
from services.outreach.template_content import Template
from services.outreach.templates import get_template
from services.wppconnect.phone import format_phone
from ui.components import message_preview
from ui.kit import dates, flash
from ui.kit.i18n import _, literal
from ui.sending import restriction, schedule_words, templates
from ui.sending.recipients import choose_recipients
from ui.sending.schedule_words import (
    WEEKDAY_CODES,
    recipient_names,
    repetition_words,
    rule_kind,
    rule_parts,
    wall_time_words,
    weekday_names,
)
from ui.shell import errors, navigation

SCHEDULE_KEY = "schedule_key"


def show_form(actor: Actor, before: Schedule | None) -> None:
    """Everything that a schedule is made of, with its next dates as it stands."""
    # One key a draft: however often it is pressed, it makes one.
    key = st.session_state.setdefault(SCHEDULE_KEY, str(uuid4()))
    prefix = f"schedule_{before.id if before else key}"
    old = before.draft if before else None
    zone = old.zone if old else dates.zone_name()
    name = st.text_input(_("Nome do agendamento"), value=old.name if old else "", max_chars=80, key=f"{prefix}_name")
    template, content = _content_fields(actor, old, prefix)
    to = _recipient_fields(actor, old, template, prefix)
    first, rule = _time_fields(old, zone, prefix)
    draft = ScheduleDraft(
        name,
        zone,
        first,
        rule,
        to,
        content,
        template.id if template else None,
        template.version if template else None,
    )
    restriction.warn_of_strangers(actor, {one.phone for one in to})
    label = _("Guardar") if before else _("Agendar")
    if st.button(label, type="primary", icon=":material/event_available:", key="schedule_save"):
        with errors.shown():
            _save_schedule(actor, before, draft, UUID(key))
    # Below the button, which must not move while somebody leaves a field by pressing it.
    _warn_of_silenced(actor, to)
    with errors.shown():
        _show_dates(recurrence.preview_occurrences(draft))


def _save_schedule(actor: Actor, before: Schedule | None, draft: ScheduleDraft, key: UUID) -> None:
    if not draft.to:
        raise EmptyList("nobody to send to")
    made = schedules.create(actor, draft, key=key) if before is None else schedules.change(actor, before.id, draft)
    st.session_state.pop(SCHEDULE_KEY, None)
    told = schedule_words.silenced_words(made)
    flash.after_rerun(" ".join(part for part in (_("Agendado."), told) if part), ":material/event_available:")
    navigation.open_item(None)


def _warn_of_silenced(actor: Actor, to: Sequence[ScheduleRecipient]) -> None:
    """Its owner learns it while it is made, not only when it is due."""
    silent = opt_outs.filter_opted_out(actor, {one.phone for one in to})
    names = [one.name or format_phone(one.phone) for one in to if one.phone in silent]
    if names:
        st.warning(
            _("Pediram para não receber e ficam de fora: {who}.").format(who=literal(", ".join(names))),
            icon=":material/notifications_off:",
        )


def _content_fields(actor: Actor, old: ScheduleDraft | None, prefix: str) -> tuple[Template | None, Content | None]:
    template = templates.choose_template(actor, f"{prefix}_template")
    if template is not None:
        return template, None
    if old is not None and old.template_id is not None:
        st.caption(_("Este agendamento usa um modelo. Sem escolher outro nem escrever um texto, ele continua."))
    body = old.content.body if old and old.content else ""
    text = st.text_area(_("Mensagem"), value=body, height=120, key=f"{prefix}_text")
    if not text.strip() and old is not None and old.template_id is not None:
        with errors.shown():
            return get_template(actor, old.template_id, old.template_version), None
    # What else it carries stays: only its text is written here.
    return None, replace(old.content, body=text) if old and old.content else Content(body=text)


def _recipient_fields(
    actor: Actor, old: ScheduleDraft | None, template: Template | None, prefix: str
) -> tuple[ScheduleRecipient, ...]:
    if old is not None:
        st.text(_("Para: {who}").format(who=recipient_names(old)))
        if not st.toggle(_("Trocar destinatários"), key=f"{prefix}_change"):
            return old.to
    common = templates.value_fields(template, f"{prefix}_values") if template is not None else {}
    found = choose_recipients(actor, f"{prefix}_to", template, common) or ()
    ready = [one for one in recipients.only_sendable(found) if one.phone]
    if template is not None:
        message_preview.preview_first(ready, template, common)
    if len(ready) > schedule_content.MAX_RECIPIENTS:
        st.warning(
            _("Um agendamento vai para até {n} destinatários; para mais, use uma campanha.").format(
                n=schedule_content.MAX_RECIPIENTS
            ),
            icon=":material/info:",
        )
    return tuple(ScheduleRecipient(one.phone or "", one.name, {**common, **one.values}) for one in ready)


def _time_fields(old: ScheduleDraft | None, zone: str, prefix: str) -> tuple[datetime, str | None]:
    soon = (dates.clock_of(zone) + timedelta(hours=1)).replace(minute=0)
    begins = old.first if old else st.session_state.setdefault(f"{prefix}_soon", soon)
    on, at, again = st.columns([1, 1, 2])
    day = on.date_input(_("Dia"), value=begins.date(), format="DD/MM/YYYY", key=f"{prefix}_day")
    hour = at.time_input(_("Hora"), value=begins.time(), step=60, key=f"{prefix}_hour")
    given = rule_parts(old.rule) if old else {}
    words = repetition_words()
    kind = again.selectbox(
        _("Repetição"),
        list(words),
        index=list(words).index(rule_kind(given)),
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
    return first.replace(second=0, microsecond=0), _rule_fields(kind, given, prefix) if kind != "once" else None


def _rule_fields(kind: str, given: dict[str, str], prefix: str) -> str:
    if kind == "own":
        written = ";".join(f"{name}={value}" for name, value in given.items()) or "FREQ=WEEKLY;BYDAY=MO"
        return st.text_input("RRULE", value=written, key=f"{prefix}_rrule").strip().upper().removeprefix("RRULE:")
    made = {"FREQ": "WEEKLY" if kind == "workdays" else kind}
    how, days, ends = st.columns([1, 2, 2])
    if kind == "workdays":
        made["BYDAY"] = ",".join(WEEKDAY_CODES[:5])
    else:
        every = how.number_input(
            _("A cada"), 1, recurrence.MAX_INTERVAL, value=int(given.get("INTERVAL", 1)), key=f"{prefix}_every"
        )
        made |= {"INTERVAL": str(every)} if every > 1 else {}
    if kind == "WEEKLY":
        names = dict(zip(WEEKDAY_CODES, weekday_names(), strict=True))
        before = [one for one in given.get("BYDAY", "").split(",") if one in WEEKDAY_CODES]
        picked = days.multiselect(
            _("Dias (vazio: o do primeiro)"),
            WEEKDAY_CODES,
            default=before,
            format_func=names.__getitem__,
            key=f"{prefix}_days",
        )
        made |= {"BYDAY": ",".join(sorted(picked, key=WEEKDAY_CODES.index))} if picked else {}
    with ends:
        made |= _end_fields(given, prefix)
    return ";".join(f"{name}={value}" for name, value in made.items())


def _end_fields(given: dict[str, str], prefix: str) -> dict[str, str]:
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


def _show_dates(found: list[Occurrence]) -> None:
    st.markdown(_("**Próximas datas**"))
    st.caption(" · ".join(wall_time_words(one.wall) for one in found))
