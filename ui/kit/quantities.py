"""Amounts as people read them: sizes of files, lengths of time and sums of money."""

from decimal import Decimal

from babel.numbers import format_currency, format_decimal

from ui.kit.i18n import _, locale


def size(amount: int) -> str:
    """`amount` bytes for people."""
    if amount < 1024:
        return f"{amount} B"
    return f"{_decimal(amount / 1024)} KB" if amount < 1024 * 1024 else f"{_decimal(amount / 1024 / 1024)} MB"


def duration(seconds: float) -> str:
    """`0,2 s`, `45 s`, `12 min`, `3 h`, `2 dias`."""
    if seconds < 120:
        return _("{n} s").format(n=_decimal(seconds) if seconds < 10 else round(seconds))
    if seconds < 2 * 3600:
        return _("{n} min").format(n=round(seconds / 60))
    if seconds < 48 * 3600:
        return _("{n} h").format(n=round(seconds / 3600))
    return _("{n} dias").format(n=round(seconds / 86400))


def money(thousandths: int, currency: str | None) -> str:
    """`R$ 120,50`: a sum in thousandths of a currency (ISO 4217), as WhatsApp has it; a plain number without one."""
    amount = Decimal(thousandths) / 1000
    if not currency:
        return str(format_decimal(amount, "#,##0.00", locale=locale()))
    return str(format_currency(amount, currency, locale=locale())).replace("\xa0", " ")


def _decimal(value: float) -> str:
    return str(format_decimal(value, "#,##0.0", locale=locale()))
