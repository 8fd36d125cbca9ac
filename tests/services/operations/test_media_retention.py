"""Files that nothing carries any more: gone from the store and from its table, also where a process dies between."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from services import settings
from services.db.actor import Actor
from services.errors import NotFound
from services.messaging import content, outbox
from services.operations.retention import ExpiredKind
from services.operations.retention_worker import RetentionWorker
from services.platform import media_store
from tests.support.databases import Database
from tests.support.retention import run_cleanup
from tests.support.sessions import connected
from tests.support.waiting import wait_for


def test_a_store_that_hangs_holds_no_transaction_and_what_is_kept_again_meanwhile_is_whole(
    database: Database, user: Actor, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = media_store.save(user, b"again", "text/plain")
    database.execute("update media set created_at = now() - interval '40 days'")
    deleting, go_on = threading.Event(), threading.Event()
    delete = media_store.delete_file

    def hanging(user_id: UUID, sha256: bytes) -> None:
        deleting.set()
        assert go_on.wait(20)
        delete(user_id, sha256)

    monkeypatch.setattr(media_store, "delete_file", hanging)
    with ThreadPoolExecutor(2) as pool:
        cleaning = pool.submit(run_cleanup, cleaner, ExpiredKind.MEDIA)
        assert deleting.wait(20)
        open_ones = "select count(*) from pg_stat_activity where state like 'idle in transaction%%'"
        wait_for(lambda: database.one(open_ones) == 0, what="no transaction waits for the store")
        again = pool.submit(media_store.save, user, b"again", "text/plain")
        wait_for(lambda: database.one("select count(*) from app.media_deleting") == 1)
        assert not again.done()
        go_on.set()
        assert cleaning.result().counts == {ExpiredKind.MEDIA: 1}
        assert again.result() == kept
    assert media_store.read(user, kept.sha256) == b"again"
    assert database.one("select count(*) from app.media_deleting") == 0


def test_files_that_a_dead_process_was_deleting_are_found_again(
    database: Database, user: Actor, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_store.save(user, b"left behind", "text/plain")
    database.execute("update media set created_at = now() - interval '40 days'")

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(media_store, "delete_file", dies)
        run_cleanup(cleaner, ExpiredKind.MEDIA)
    files = [path for path in (settings.get().storage.data_dir / "media").rglob("*") if path.is_file()]
    assert len(files) == 1
    database.execute("update app.media_deleting set lease_until = now() - interval '1 s'")
    while cleaner.step():
        pass
    assert not files[0].exists()
    assert database.one("select count(*) from app.media_deleting") == 0


def test_it_deletes_files_that_nothing_carries_with_their_rows(
    database: Database, user: Actor, cleaner: RetentionWorker
) -> None:
    connected(database, user)
    names = ("used", "forgotten", "young", "kept again")
    kept = {name: media_store.save(user, name.encode(), "text/plain") for name in names}
    outbox.queue(
        user, "11987654321", content.Content(kind=content.Kind.DOCUMENT, media=kept["used"], filename="a.txt"), "key"
    )
    database.execute(
        "update media set created_at = now() - interval '40 days' where sha256 <> %s", kept["young"].sha256
    )
    media_store.save(user, b"kept again", "text/plain")
    done = run_cleanup(cleaner, ExpiredKind.MEDIA)
    assert done.counts == {ExpiredKind.MEDIA: 1}
    with pytest.raises(NotFound):
        media_store.get(user, kept["forgotten"].sha256)
    for name in ("used", "young", "kept again"):
        assert media_store.read(user, kept[name].sha256) == name.encode()
    files = [path for path in (settings.get().storage.data_dir / "media").rglob("*") if path.is_file()]
    assert len(files) == 3
    # What is gone can be kept anew.
    assert media_store.read(user, media_store.save(user, b"forgotten", "text/plain").sha256) == b"forgotten"
