"""A backup taken while everything is busy, and the installation that comes out of it: complete, and silent twice."""

import threading
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from services.accounts import cookie_tokens, provisioning, sign_in
from services.db.actor import SYSTEM, Actor, Role
from services.messaging import outbox as messaging_outbox
from services.messaging.state import State
from services.operations import backup, backup_restore
from services.security import audit_chain
from tests.support.databases import Database
from tests.support.event_sender import posting_events
from tests.support.killable_installation import KillableInstallation, pair_people, queue_despite_outages
from tests.support.losses import LEFT, assert_none_stands_twice, outbox, wait_until_settled
from tests.support.process_state import forget_process_state
from tests.support.processes import running_processes
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PASSWORD = "uma senha bem longa"


def test_it_brings_everything_back_that_was_answered_before_the_backup_and_sends_nothing_twice(
    installation: KillableInstallation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = pair_people(installation, 3)
    chief = provisioning.create_user("chefe@example.com", PASSWORD, Role.ADMIN, "Chefe")
    cookie = cookie_tokens.encode_token(sign_in.open_sign_in(chief))
    sign_in.sign_out_everywhere(people[0])
    # One leaves for WhatsApp and hangs there, so that the backup catches a call under way.
    installation.processes.control.fault("send_timeout", f"user_{people[0].user_id}", times=1)
    queued = [f"mensagem {number} de {actor.user_id}" for number in range(40) for actor in people]
    archive = tmp_path / "backup.zip"
    with posting_events(installation) as sender:
        sending = threading.Thread(target=_queue_all, args=(people * 40, queued))
        sending.start()
        sender.wait_for_more_than(1000)
        answered_before = list(sender.answered)
        taken = backup.create_backup(archive)
        answered_after = len(sender.answered)
        sending.join()
    assert answered_after > len(answered_before), "nothing went on while the backup was taken"
    wait_until_settled(installation)  # the day goes on: everything leaves, which the backup cannot know
    source_rows = installation.database.one("select count(*) from events")
    assert archive.stat().st_mode & 0o777 == 0o600

    installation.processes.kill("worker", "webhook")  # the machine is gone
    back = another_database(installation, "plushify_back")
    secrets = {"AUTH_COOKIE_KEY": installation.processes.environment["AUTH_COOKIE_KEY"]}
    monkeypatch.setenv("DATABASE_URL", back.url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "anew"))
    forget_process_state()
    seen: list[tuple[int, int, str]] = []
    assert backup_restore.restore_backup(archive, lambda done, of, what: seen.append((done, of, what))) == taken
    assert seen[-1][0] == seen[-1][1] == sum(taken.rows.values())
    assert any(what == "public.events" for _done, _of, what in seen)

    stored = {key for (key,) in back.execute("select body::json ->> 'id' from events where kind = 'onmessage'")}
    assert not set(answered_before) - stored, "an event answered before the backup is not in it"
    assert back.one("select count(*) from events") == taken.rows["public.events"] < source_rows
    assert audit_chain.verify(SYSTEM).sound
    again = KillableInstallation(installation.postgres, back, installation.processes)
    doubted = {body for body, state in outbox(again).items() if state is State.UNCERTAIN}
    assert doubted, "the backup caught nothing under way: it proves nothing"

    # A worker on what came back, at the same WPPConnect server: what had left is found, and nothing leaves again.
    sandbox = {"SANDBOX_PORT": installation.processes.environment["SANDBOX_PORT"], "SEND_PACE_SECONDS": "0", **secrets}
    with running_processes(back.url, tmp_path / "anew", ("webhook", "worker"), **sandbox) as processes:
        wait_for(lambda: any(outbox(again).get(body) in LEFT for body in doubted), 30, "a doubt to be settled")
        assert sign_in.sign_in("chefe@example.com", PASSWORD)
        assert cookie_tokens.verify_token(cookie) is not None
        assert processes.running("worker")
        messaging_outbox.queue(people[1], "11987654321", "depois da volta", "depois da volta")
        wait_for(lambda: outbox(again)["depois da volta"] in LEFT, 20, "a new message to leave")
        assert_none_stands_twice(again)
    left = Counter(one["body"] for one in installation.processes.control.sent())
    assert {body: count for body, count in left.items() if count > 1} == {}
    assert set(left) == {*queued, "depois da volta"}


def _queue_all(people: list[Actor], bodies: list[str]) -> None:
    for actor, body in zip(people, bodies, strict=True):
        queue_despite_outages(actor, body)


def another_database(installation: KillableInstallation, name: str) -> Database:
    with psycopg.connect(installation.postgres.url("postgres"), autocommit=True) as owner:
        owner.execute(f"create database {name}")
    return Database(installation.postgres.url(name))
