"""A report as tables of cells, for the screen and for files."""

from collections.abc import Sequence

from services.messaging.state import FAILURES
from services.platform.csv_export import Cell, Sheet
from services.reporting.report_model import BreakdownRow, Ranking, RankingRow, Report
from ui.kit import dates
from ui.kit.i18n import _
from ui.kit.quantities import duration
from ui.reporting.report_figures import list_figures


def list_sheets(found: Report, ranked: Ranking | None) -> list[Sheet]:
    """The tables of a report; those of everybody name no template: it is its owner's."""
    summary: list[list[Cell]] = [
        [words, *("–" if (value := of(found, before)) is None else write(value) for before in (False, True))]
        for words, of, write, _good in list_figures()
    ]
    failures: list[list[Cell]] = [[_failure_sentence(one.code), one.messages] for one in found.failures]
    made = [
        Sheet(_("Resumo"), [_("Número"), _("Período"), _("Período anterior")], summary),
        Sheet(_("Por que falharam"), [_("Motivo"), _("Mensagens")], failures),
        _parts_sheet(_("Por modelo"), _("Modelo"), found.templates),
        _parts_sheet(_("Por campanha"), _("Campanha"), found.campaigns),
    ]
    return made if ranked is None else [*made, ranking_sheet(ranked.rows)]


def _failure_sentence(code: str) -> str:
    return _(FAILURES[code][0]) if code in FAILURES else code


def _parts_sheet(title: str, what: str, parts: Sequence[BreakdownRow]) -> Sheet:
    headers = [what, _("Mensagens"), _("Enviadas"), _("Entregues"), _("Lidas"), _("Falhas")]
    rows: list[list[Cell]] = [
        [one.name or _("(sem nome à vista)"), one.total, one.sent, one.delivered, one.read, one.failed] for one in parts
    ]
    return Sheet(title, headers, rows)


def ranking_sheet(rows: Sequence[RankingRow]) -> Sheet:
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


def points_sheet(found: Report) -> Sheet:
    headers = [_("Quando"), _("Enviadas"), _("Entregues"), _("Lidas"), _("Falhas"), _("Recebidas")]
    when = dates.wall_time if found.grain == "hour" else dates.calendar_day
    rows: list[list[Cell]] = [
        [when(one.starts_at), one.sent, one.delivered, one.read, one.failed, one.received] for one in found.points
    ]
    return Sheet(_("Por hora") if found.grain == "hour" else _("Por dia"), headers, rows)
