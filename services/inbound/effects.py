"""What a message does beyond being stored: the words that ask for silence, and its owner's rules.

By what is new in a delivery: a message that can be read only now does all that it would have done, once. An edit can
ask for silence and be labelled, but gets no automatic reply: the first text had its answer. A word that can be about
something else ("Cancelar") asks for silence only in answer to a campaign.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from services.contacts import consent_words, opt_outs
from services.db.tables.inbound import message_annotations
from services.db.tables.messaging import messages as message_rows
from services.inbound import automation_engine, automations
from services.inbound.ingest import IngestedMessage, News
from services.messaging.state import State

# What left, as far as anybody knows.
_LEFT = (State.SENDING, State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.UNCERTAIN)
# WhatsApp's clock has whole seconds: an answer can seem to be said before what it answers.
_CLOCK_STEP = timedelta(seconds=1)


def apply_effects(
    tx: Connection, taken: IngestedMessage, active: Sequence[automations.Rule], now: datetime | None = None
) -> list[automations.RuleOutcome]:
    """Do what follows from a message of which something is new; returns what its owner's `active` rules did."""
    if taken.direction == "out" or not taken.wrote:
        return []
    if not taken.is_group:
        edited = taken.news is News.EDITED
        for words, changed in ((taken.text, edited), (taken.chosen_id, edited), (taken.changed_to, True)):
            if words is not None:
                _follow_wish(tx, taken, words, _edited_at(tx, taken) if changed else taken.at)
    return automation_engine.apply_rules(tx, taken, active, now)


def _follow_wish(tx: Connection, taken: IngestedMessage, words: str, said: datetime) -> None:
    """Note where these words of a message ask for silence, or take that back."""
    if (word := consent_words.match_opt_in(words)) is not None:
        opt_outs.record_return(tx, taken.contact_id, word, said)
    elif (word := consent_words.match_opt_out(words)) is not None:
        clear = word not in consent_words.AMBIGUOUS_WORDS
        if clear or _answers_campaign(tx, taken, word, said):
            opt_outs.record_word(tx, taken.contact_id, word, said)


def _edited_at(tx: Connection, taken: IngestedMessage) -> datetime:
    """When the newest edit of a message was made."""
    edits = select(func.max(message_annotations.c.occurred_at)).where(
        message_rows.c.id == taken.message_id,
        message_annotations.c.session_id == message_rows.c.session_id,
        message_annotations.c.wpp_id == message_rows.c.wpp_id,
        message_annotations.c.kind == "edit",
    )
    return min(tx.execute(edits).scalar_one() or taken.at, datetime.now(UTC))


def _answers_campaign(tx: Connection, taken: IngestedMessage, word: str, said: datetime) -> bool:
    """Whether the last thing that left before it to this person is a campaign's, and offers the word for nothing
    else."""
    last = (
        select(message_rows.c.campaign_id, message_rows.c.body)
        .where(
            message_rows.c.contact_id == taken.contact_id,
            message_rows.c.direction == "out",
            message_rows.c.state.in_(_LEFT),
            message_rows.c.occurred_at < said + _CLOCK_STEP,
        )
        .order_by(message_rows.c.occurred_at.desc(), message_rows.c.seq.desc())
        .limit(1)
    )
    row = tx.execute(last).one_or_none()
    return row is not None and row.campaign_id is not None and consent_words.may_answer(row.body, word)
