"""Any history of two people and a group ends the same, however WhatsApp tells of it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.db.actor import Actor
from tests.support import identity_histories as histories
from tests.support.databases import Database
from tests.support.identity_histories import Step, Telling
from tests.support.sessions import connected

WORDS = st.sampled_from(["oi", "bom dia", "SAIR", "VOLTAR", "quanto custa?", "👍"])


@st.composite
def list_steps(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    deeds = ("say", "hidden", "typed", "sent", "group", "edit", "react", "revoke", "group_react")
    for minute in range(1, draw(st.integers(3, 9))):
        deed = draw(st.sampled_from(deeds))
        needed = "group" if deed == "group_react" else "say"
        if deed in ("edit", "react", "revoke", "group_react"):
            of = [step for step in steps if step.deed == needed]
            if not of:
                continue
            about = draw(st.sampled_from(of))
            steps.append(Step(deed, minute, about.person, draw(WORDS), about.minute))  # type: ignore[arg-type]
        else:
            # While a message of ours is under way, the same words are not taken for typed on the phone.
            words = "digitado" if deed == "typed" else draw(WORDS)
            steps.append(Step(deed, minute, draw(st.integers(0, 1)), words))  # type: ignore[arg-type]
    return steps


@pytest.fixture
def outcome_of(database: Database, user: Actor) -> Callable[..., dict[str, Any]]:
    session_id = connected(database, user)

    def outcome_of(steps: list[Step], tellings: list[Telling], pairs_told_at: int) -> dict[str, Any]:
        for table in ("messages", "contacts", "message_annotations", "pending_acks", "opt_outs"):
            database.execute(f"delete from {table}")
        histories.prepare(session_id, user.user_id, steps)  # type: ignore[arg-type]
        for place, telling in enumerate(tellings):
            if place == pairs_told_at:
                histories.tell_pairs(session_id)
            histories.play(session_id, telling)
        histories.tell_pairs(session_id)
        return histories.read_outcome(user, database)

    return outcome_of


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(list_steps(), st.randoms(use_true_random=False))
def test_it_ends_the_same_under_any_names_in_any_order(
    outcome_of: Callable[..., dict[str, Any]], steps: list[Step], chance: random.Random
) -> None:
    plain = histories.list_tellings(steps)
    told = [replace(one, anonymous=chance.random() < 0.5) for one in plain for _ in range(chance.choice((1, 1, 1, 2)))]
    chance.shuffle(told)
    pairs_told_at = chance.randrange(len(told) + 1)
    outcome, wanted = outcome_of(steps, told, pairs_told_at), outcome_of(steps, plain, 0)
    assert outcome == wanted, f"{outcome}\n{wanted}\n{told}\npairs told at {pairs_told_at}"
