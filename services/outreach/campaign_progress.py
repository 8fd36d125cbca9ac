"""How far a campaign is, what became of each recipient, and the table of results for download."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.messaging import messages as message_rows
from services.db.tables.outreach import campaign_recipients
from services.errors import N_
from services.messaging.state import FAILURES, WAIT_COLUMNS, WAIT_SENTENCES, State, Wait, build_wait
from services.outreach.campaign_state import RecipientState, get_campaign
from services.platform import local_time
from services.platform.csv_export import Cell, Sheet

PAGE_SIZE = 50
EXPORT_BATCH = 1000


# Why a recipient was skipped → what happened, for people.
SKIP_SENTENCES: dict[str, str] = {
    "opted_out": N_("Pediu para não receber mais mensagens."),
    "blocked": N_("Está bloqueado nos seus contatos."),
    "content": N_("A mensagem não pôde ser montada com os valores desta linha."),
}

# Which of the recipients are listed.
ResultFilter = Literal["waiting", "under_way", "arrived", "wrong", "left_out"]
_STATES_OF_FILTER: dict[str, tuple[State, ...]] = {
    "under_way": (State.QUEUED, State.SENDING, State.ACCEPTED),
    "arrived": (State.SENT, State.DELIVERED, State.READ),
    "wrong": (State.FAILED, State.UNCERTAIN),
}


@dataclass(frozen=True)
class CampaignProgress:
    """How far a campaign is: its recipients by place, and its messages by state."""

    places: Mapping[RecipientState, int]
    states: Mapping[State, int]

    @property
    def total(self) -> int:
        return sum(self.places.values())

    @property
    def decided(self) -> int:
        """How many were written to, or left out for a reason of theirs."""
        return self.total - self.places.get(RecipientState.WAITING, 0) - self.places.get(RecipientState.CANCELLED, 0)

    def count(self, *states: State) -> int:
        """How many of its messages are in one of these states."""
        return sum(self.states.get(one, 0) for one in states)


@dataclass(frozen=True)
class RecipientResult:
    """What became of one recipient. `state` is its message's, None while there is none; `refused`: WhatsApp refused an
    earlier message.
    """

    seq: int
    phone: str
    name: str | None = field(repr=False)
    place: RecipientState
    reason: str | None
    refused: bool
    state: State | None
    failure: str | None
    waiting: Wait | None
    message_id: UUID | None
    released_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None


def get_progress(actor: Actor, campaign_id: UUID) -> CampaignProgress:
    """How far a campaign of the actor's is."""
    with transaction(actor) as tx:
        return count_progress(tx, [campaign_id])[campaign_id]


def list_results(
    actor: Actor, campaign_id: UUID, after: int = 0, limit: int = PAGE_SIZE, show: ResultFilter | None = None
) -> list[RecipientResult]:
    """What became of the recipients behind the `after`th of the list, in its order; only those that `show` names."""
    chosen = _select_results().where(
        campaign_recipients.c.campaign_id == campaign_id,
        campaign_recipients.c.user_id == actor.user_id,
        campaign_recipients.c.seq > after,
    )
    if show is not None:
        chosen = chosen.where(_matches_filter(show))
    with transaction(actor) as tx:
        rows = tx.execute(chosen.order_by(campaign_recipients.c.seq).limit(limit)).all()
    return [read_row(RecipientResult, row, waiting=build_wait(row)) for row in rows]


def export_results(actor: Actor, campaign_id: UUID, zone: str) -> Sheet:
    """What became of everybody, one row each, moments on the clock of `zone`.

    Raises: NotFound.
    """
    get_campaign(actor, campaign_id)
    return Sheet("Resultado", _EXPORT_HEADINGS, list(_export_rows(actor, campaign_id, zone)))


_EXPORT_HEADINGS = (
    N_("Nº"), N_("Telefone"), N_("Nome"), N_("Situação"), N_("Detalhe"), N_("Liberada"), N_("Enviada"),
    N_("Entregue"), N_("Lida"),
)  # fmt: skip
# What a recipient's place or their message's state is called.
RESULT_LABELS: dict[str, str] = {
    RecipientState.WAITING: N_("Aguardando"),
    RecipientState.SKIPPED: N_("Pulada"),
    RecipientState.CANCELLED: N_("Cancelada"),
    State.QUEUED: N_("Na fila"),
    State.SENDING: N_("Enviando"),
    State.ACCEPTED: N_("No servidor"),
    State.SENT: N_("Enviada"),
    State.DELIVERED: N_("Entregue"),
    State.READ: N_("Lida"),
    State.FAILED: N_("Falhou"),
    State.UNCERTAIN: N_("Incerta"),
}


def result_label(result: RecipientResult) -> str:
    """What became of a recipient, in a word (in the source language)."""
    if result.place is RecipientState.RELEASED:
        return RESULT_LABELS.get(result.state or "", RESULT_LABELS[RecipientState.CANCELLED])
    return RESULT_LABELS[result.place]


_REFUSED = N_("O WhatsApp recusou; será tentada de novo.")


def result_detail(result: RecipientResult) -> str:
    """Why, in a sentence (in the source language); nothing where all is well."""
    if result.reason is not None:
        return SKIP_SENTENCES.get(result.reason, "")
    if result.place is RecipientState.WAITING and result.refused:
        return _REFUSED
    if result.waiting is not None:
        return WAIT_SENTENCES[result.waiting.reason]
    return FAILURES[result.failure][0] if result.failure in FAILURES else ""


def _export_rows(actor: Actor, campaign_id: UUID, zone: str) -> Iterator[list[Cell]]:
    after = 0
    while batch := list_results(actor, campaign_id, after, EXPORT_BATCH):
        for one in batch:
            moments = (one.released_at, one.sent_at, one.delivered_at, one.read_at)
            told = [one.phone, one.name or "", result_label(one), result_detail(one)]
            yield [one.seq, *told, *(_format_moment(at, zone) for at in moments)]
        after = batch[-1].seq


def _format_moment(at: datetime | None, zone: str) -> str:
    return f"{local_time.to_local(at, zone):%d/%m/%Y %H:%M:%S}" if at is not None else ""


def count_progress(tx: Connection, campaign_ids: Sequence[UUID]) -> dict[UUID, CampaignProgress]:
    """Counts the recipients and the messages of each campaign by state."""
    places: dict[UUID, Counter[RecipientState]] = {one: Counter() for one in campaign_ids}
    states: dict[UUID, Counter[State]] = {one: Counter() for one in campaign_ids}
    for campaign_id, state, count in tx.execute(_count_by_state(campaign_recipients, campaign_ids)):
        places[campaign_id][RecipientState(state)] = count
    for campaign_id, state, count in tx.execute(_count_by_state(message_rows, campaign_ids)):
        states[campaign_id][State(state)] = count
    return {one: CampaignProgress(places[one], states[one]) for one in campaign_ids}


def _count_by_state(table: Table, campaign_ids: Sequence[UUID]) -> Select[Any]:
    return (
        select(table.c.campaign_id, table.c.state, func.count())
        .where(table.c.campaign_id.in_(campaign_ids))
        .group_by(table.c.campaign_id, table.c.state)
    )


def _select_results() -> Select[Any]:
    return select(
        campaign_recipients.c.seq,
        campaign_recipients.c.phone,
        campaign_recipients.c.name,
        campaign_recipients.c.state.label("place"),
        campaign_recipients.c.reason,
        campaign_recipients.c.message_id,
        campaign_recipients.c.released_at,
        campaign_recipients.c.refused_message_id.is_not(None).label("refused"),
        message_rows.c.state,
        message_rows.c.failure,
        *WAIT_COLUMNS,
        message_rows.c.sent_at,
        message_rows.c.delivered_at,
        message_rows.c.read_at,
    ).outerjoin(message_rows, message_rows.c.id == campaign_recipients.c.message_id)


def _matches_filter(show: ResultFilter) -> ColumnElement[bool]:
    if show == "waiting":
        return campaign_recipients.c.state == RecipientState.WAITING
    if show == "left_out":
        return campaign_recipients.c.state.in_((RecipientState.SKIPPED, RecipientState.CANCELLED))
    return and_(
        campaign_recipients.c.state == RecipientState.RELEASED, message_rows.c.state.in_(_STATES_OF_FILTER[show])
    )
