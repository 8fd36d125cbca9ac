"""The weekly summary: posts the last whole week's totals to `ALERT_WEBHOOK_URL`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services import settings
from services.db.actor import SYSTEM
from services.errors import N_, ServiceError
from services.platform import alert_webhook, local_time
from services.reporting.report_model import Report
from services.reporting.report_periods import Period
from services.reporting.reports import get_report


class AlertNotPosted(ServiceError):
    code = "aviso_nao_entregue"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O endereço dos avisos não respondeu.")
    hint = N_("Confira ALERT_WEBHOOK_URL; tentaremos de novo em instantes.")


def post_last_week(now: datetime | None = None) -> bool:
    """Post the last whole week's summary to ALERT_WEBHOOK_URL; False where none is set.

    Raises: AlertNotPosted where the address does not take it: the job tries again.
    """
    if not settings.get().alerts.webhook_url.get_secret_value():
        return False
    moment = now or datetime.now(UTC)
    zone = settings.get().reports.time_zone
    today = local_time.to_local(moment, zone).date()
    monday = today - timedelta(days=today.weekday())
    found = get_report(SYSTEM, Period(monday - timedelta(days=7), monday - timedelta(days=1), zone), now=moment)
    if not alert_webhook.post(_summary_payload(found)):
        raise AlertNotPosted("weekly summary")
    return True


def _summary_payload(found: Report) -> dict[str, Any]:
    now, before = found.now, found.before
    lines = [
        f"Plushify, semana de {found.period.first:%d/%m} a {found.period.last:%d/%m}",
        f"Enviadas: {now.sent} ({_format_change(now.sent, before.sent)})",
        f"Entregues: {now.delivered} ({_format_share(now.delivered, now.sent)}) · lidas: {now.read} "
        f"({_format_share(now.read, now.sent)})",
        f"Falharam: {now.failed} · incertas: {now.uncertain}",
        f"Recebidas: {now.received} ({_format_change(now.received, before.received)}) · descadastros: {now.opt_outs}",
    ]
    if found.availability.uptime is not None:
        lines.append(f"Sessões no ar: {found.availability.uptime:.1%} do tempo".replace(".", ","))
    return {
        "text": "\n".join(lines),
        "report": {
            "first": found.period.first.isoformat(),
            "last": found.period.last.isoformat(),
            **{
                name: getattr(now, name)
                for name in ("sent", "delivered", "read", "failed", "uncertain", "received", "opt_outs")
            },
        },
    }


def _format_change(now: int, before: int) -> str:
    return f"{(now - before) / before:+.0%}" if before else "sem semana anterior"


def _format_share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"
