"""Schedules in words: when they repeat, their times, their recipients."""

from datetime import datetime

from services.outreach.recurrence import ScheduleDraft
from services.outreach.schedules import Schedule
from services.wppconnect.phone import format_phone
from ui.kit import dates
from ui.kit.i18n import _

WEEKDAY_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def repetition_words() -> dict[str, str]:
    return {
        "once": _("Uma vez"),
        "DAILY": _("Todo dia"),
        "workdays": _("De segunda a sexta"),
        "WEEKLY": _("Toda semana"),
        "MONTHLY": _("Todo mês"),
        "YEARLY": _("Todo ano"),
        "own": _("Regra própria (iCalendar)"),
    }


def rule_kind(given: dict[str, str]) -> str:
    if not given:
        return "once"
    if given.get("FREQ") == "WEEKLY" and given.get("BYDAY") == ",".join(WEEKDAY_CODES[:5]) and "INTERVAL" not in given:
        return "workdays"
    plain = set(given) <= {"FREQ", "INTERVAL", "COUNT", "UNTIL"} | ({"BYDAY"} if given["FREQ"] == "WEEKLY" else set())
    return given["FREQ"] if plain else "own"


def rule_parts(rule: str | None) -> dict[str, str]:
    """The parts of a rule by name."""
    return dict(part.split("=", 1) for part in rule.split(";")) if rule else {}


def wall_time_words(wall: datetime) -> str:
    """`qua 25/11/2026 10:00`, on the schedule's own clock."""
    return f"{weekday_names()[wall.weekday()]} {dates.wall_time(wall)}"


def weekday_names() -> tuple[str, ...]:
    return (_("seg"), _("ter"), _("qua"), _("qui"), _("sex"), _("sáb"), _("dom"))


def rule_words(draft: ScheduleDraft) -> str:
    """How a schedule recurs."""
    given = rule_parts(draft.rule)
    words = repetition_words()[rule_kind(given)] if rule_kind(given) != "own" else draft.rule or ""
    if "INTERVAL" in given and rule_kind(given) != "own":
        words += " " + _("(a cada {n})").format(n=given["INTERVAL"])
    if rule_kind(given) == "WEEKLY" and "BYDAY" in given:
        names = dict(zip(WEEKDAY_CODES, weekday_names(), strict=True))
        words += ": " + ", ".join(names[one] for one in given["BYDAY"].split(","))
    if "COUNT" in given:
        words += ", " + _("{n} vezes").format(n=given["COUNT"])
    return words


def recipient_names(draft: ScheduleDraft) -> str:
    shown = [one.name or format_phone(one.phone) for one in draft.to[:3]]
    more = len(draft.to) - len(shown)
    return ", ".join(shown) + (_(" e mais {n}").format(n=more) if more else "")


def silenced_words(schedule: Schedule) -> str:
    """How many of its recipients get nothing of it, because they asked for that; empty where nobody did."""
    count = len(schedule.silenced)
    if not count:
        return ""
    if count == len(schedule.draft.to):
        return _("Ninguém recebe: quem receberia pediu para não receber mais.")
    return _("{n} de {total} não recebem: pediram para não receber.").format(n=count, total=len(schedule.draft.to))
