"""What a message does beyond being stored: the words that ask for silence, and its owner's rules.

By what is new in a delivery: a message that can be read only now does all that it would have done, once. An edit can
ask for silence and be labelled, but gets no automatic reply: the first text had its answer.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from services.contacts import opt_outs
from services.inbound import automation_engine, automations
from services.inbound.ingest import IngestedMessage


def apply_effects(
    tx: Connection, taken: IngestedMessage, active: Sequence[automations.Rule], now: datetime | None = None
) -> list[automations.RuleOutcome]:
    """Do what follows from a message of which something is new; returns what its owner's `active` rules did."""
    if taken.direction == "out" or not taken.wrote:
        return []
    for words in (taken.text, taken.chosen_id, taken.changed_to):
        if taken.phone is not None and words is not None and (word := opt_outs.match_word(words)) is not None:
            opt_outs.record(tx, taken.user_id, taken.phone, word)
    return automation_engine.apply_rules(tx, taken, active, now)
