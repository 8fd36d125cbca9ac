"""What the page "Lacunas" says of each gap, to its owner and to staff."""

from services.db.actor import Actor
from services.inbound import outages
from services.wppconnect.errors import WppUnreachable
from tests.support.databases import Database
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT
from tests.support.sessions import connected

PAGE = ROOT / "pages" / "outages.py"
CHAT = "5511987654321@c.us"


def gap(database: Database, user: Actor, **columns: str) -> None:
    connected(database, user)
    database.execute("select app.record_outage('receiver', now() - interval '1 hour', now(), null, null)")
    database.execute("update outages set " + ", ".join(f"{name} = {value}" for name, value in columns.items()))


def test_it_says_that_there_is_none(user: Actor) -> None:
    at = open_tab(PAGE, user).run()
    assert not at.exception
    assert "Nenhuma lacuna." in texts_of(at)


def test_it_tells_the_owner_what_came_back_and_what_did_not_and_why(user: Actor, database: Database) -> None:
    gap(database, user, state="'done'", recovered="9", chats="4", failed="1")
    database.execute(
        "insert into outage_chats (outage_id, address, user_id, state, failure)"
        " select id, %s, user_id, 'failed', 'too_deep' from outages",
        CHAT,
    )
    at = open_tab(PAGE, user).run()
    assert not at.exception
    said = texts_of(at) + str([table.value.to_dict() for table in at.table])
    assert "O receptor estava fora do ar" in said
    assert "9 mensagens recuperadas · 3 conversas conferidas · 1 não lidas por completo" in said
    assert "+55 11 98765-4321" in said
    assert "lemos as 1.000 mais novas" in said


def test_it_says_what_it_waits_for(user: Actor, database: Database) -> None:
    gap(database, user, state="'waiting'", attempts="1", failure=f"'{WppUnreachable.code}'")
    at = open_tab(PAGE, user).run()
    assert not at.exception
    assert "Em leitura" in texts_of(at)
    assert outages.list_own(user)[0].failure == WppUnreachable.code


def test_it_shows_staff_whose_gap_it_was_and_no_chat(user: Actor, staff: Actor, database: Database) -> None:
    gap(database, user, state="'done'", failed="1")
    database.execute(
        "insert into outage_chats (outage_id, address, user_id, state) select id, %s, user_id, 'failed' from outages",
        CHAT,
    )
    at = open_tab(PAGE, staff)
    (outage,) = outages.list_outages(staff)
    key = f"outage_of_receiver_{outage.from_at.timestamp():.6f}_{outage.to_at.timestamp() if outage.to_at else 0:.6f}"
    at.session_state[key] = True
    at.run()
    assert not at.exception
    assert "1 sessão" in texts_of(at)
    said = texts_of(at) + str([frame.value.to_dict() for frame in at.dataframe])
    assert user.email in said
    assert "98765" not in said
