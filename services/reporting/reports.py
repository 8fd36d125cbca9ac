"""Reports (Relatórios): what a period came to, in the viewer's time zone, from the rollups alone.

A report reads no message: its totals are sums of quarter hours (`services.reporting.rollups`), its medians come
from bands of times, and its availability from the sessions' timeline. Users see their own report; staff see
anybody's and everybody's. A report never shows a text.
"""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from services.db.actor import Actor, ActorKind
from services.db.engine import get_sqlstate, transaction
from services.db.like import contains_pattern
from services.db.rows import read_rows
from services.db.tables.accounts import directory
from services.db.tables.outreach import campaigns, templates
from services.errors import Forbidden, InvalidInput
from services.reporting.report_model import Grain, Person, Ranking, RankingOrder, RankingRow, Report
from services.reporting.report_periods import Period, check_period, split_off_whole_days
from services.reporting.report_queries import (
    RANKING,
    RANKING_ORDERS,
    get_availability,
    get_breakdown,
    get_chart_points,
    get_failures,
    get_totals,
    get_weekday_hours,
)

PAGE_SIZE = 50
# Up to this many days the chart has a bar an hour.
HOURLY_DAYS = 2
MAX_PEOPLE = 50


def get_report(actor: Actor, period: Period, user_id: UUID | None = None, now: datetime | None = None) -> Report:
    """What `period` came to for `user_id`: for a user their own, for staff anybody's or (None) everybody's.

    Raises: Forbidden where it is somebody else's, InvalidInput for an unknown zone and a period backwards or too long.
    """
    whose, moment = _get_report_owner(actor, user_id), now or datetime.now(UTC)
    check_period(period)
    grain: Grain = "hour" if period.days <= HOURLY_DAYS else "day"
    span, earlier = period.span, period.before(moment)
    try:
        with transaction(actor) as tx:
            return Report(
                period=period,
                now=get_totals(tx, whose, span),
                before=get_totals(tx, whose, earlier),
                availability=get_availability(tx, whose, span),
                availability_before=get_availability(tx, whose, earlier),
                grain=grain,
                points=get_chart_points(tx, whose, period, grain),
                cells=get_weekday_hours(tx, whose, period),
                failures=get_failures(tx, whose, span),
                templates=get_breakdown(tx, whose, span, "template_id", templates),
                campaigns=get_breakdown(tx, whose, span, "campaign_id", campaigns),
            )
    except DBAPIError as error:
        # Python's list of zones may be newer than the database's.
        if get_sqlstate(error) == "22023":
            raise InvalidInput(f"zone {period.zone}") from error
        raise


def get_ranking(
    actor: Actor, period: Period, order: RankingOrder = "sent", page: int = 1, size: int = PAGE_SIZE
) -> Ranking:
    """Everybody's figures person by person, one page, for staff.

    Raises: Forbidden for anybody but staff; InvalidInput for an unknown zone and a period backwards or too long.
    """
    actor.require_staff("reports of everybody")
    check_period(period)
    given = {**split_off_whole_days(period.span), "limit": size, "offset": (page - 1) * size}
    with transaction(actor) as tx:
        rows = tx.execute(text(RANKING.format(order=RANKING_ORDERS[order])), given).all()
    return Ranking(read_rows(RankingRow, rows), rows[0].people if rows else 0)


def list_people(actor: Actor, typed: str = "") -> list[Person]:
    """Whom staff may choose: up to 50 whose e-mail or name holds `typed`.

    Raises: Forbidden.
    """
    actor.require_staff("reports of others")
    part = contains_pattern(typed)
    # Somebody found by their name may have no e-mail.
    found = select(directory.c.user_id, func.coalesce(directory.c.email, "").label("email")).where(
        directory.c.email.ilike(part) | directory.c.name.ilike(part)
    )
    with transaction(actor) as tx:
        return read_rows(Person, tx.execute(found.order_by(directory.c.email).limit(MAX_PEOPLE)))


def _get_report_owner(actor: Actor, user_id: UUID | None) -> UUID | None:
    """Whose rows are summed; None is everybody."""
    if actor.is_staff or actor.kind is ActorKind.SYSTEM:
        return user_id
    if actor.user_id is None or user_id not in (None, actor.user_id):
        raise Forbidden("report of somebody else")
    return actor.user_id
