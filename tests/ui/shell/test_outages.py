"""Bad input, a dead server, a database that goes away: every page says what is wrong in one sentence and goes on."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import psycopg
import pytest
from sqlalchemy import Connection, ExceptionContext, event
from streamlit.testing.v1 import AppTest

from services.db import engine
from services.db.actor import Actor, Role
from services.db.embedded import EmbeddedPostgres
from services.errors import DatabaseUnavailable, NotFound
from services.fleet import session
from services.wppconnect.errors import WppUnreachable
from tests.support.databases import Database, end_connections
from tests.support.pages import PAGES, open_tab
from tests.support.paths import ROOT
from tests.support.process_state import forget_process_state
from tests.support.tenants import create_tenants
from ui.shell import errors as drawn
from ui.shell.navigation import NEW

NOBODY = "http://127.0.0.1:9"
# What an address may hold that names nothing.
NAMELESS = ("../etc/passwd", "00000000-0000-4000-8000-000000000000", "a\x00b", "9" * 100_000, "")
# Of an outage that lasts: it is asked for again and again.
FAILURES = 3
SENTENCE = f"**{DatabaseUnavailable.message}** {DatabaseUnavailable.hint}"
NOT_FOUND = f"**{NotFound.message}**"
PERSON_GONE = "**Esta pessoa não existe mais.**"
ADDRESSED = [
    ("campaigns", "id", NOT_FOUND),
    ("schedules", "id", NOT_FOUND),
    ("templates", "id", NOT_FOUND),
    ("message", "id", NOT_FOUND),
    ("session", "user", PERSON_GONE),
    ("diagnostics", "user", PERSON_GONE),
    ("conversations", "contato", "Essa conversa não existe mais"),
    ("conversations", "pessoa", "Escolha uma sessão na lista."),
]
# What calls the server at once, page by page; the rest is a queue's.
CALLS = [
    ("my_whatsapp", "reconnect"),
    ("my_whatsapp", "disconnect"),
    ("session", "session_restart"),
    ("session", "session_close"),
    ("session", "session_disconnect"),
    ("session", "session_move"),
    ("diagnostics", "step_qr_3"),
    ("servers", "servers_look"),
]

Query = dict[str, str]


class Outage:
    """A database that lets nobody in from the next transaction but so many on, until it is mended or mends itself."""

    def __init__(self, cluster: EmbeddedPostgres, database: Database) -> None:
        self._name = database.one("select current_database()")
        self._elsewhere = psycopg.connect(cluster.url("postgres"), autocommit=True)
        self._transactions_left: int | None = None
        self._failures_left: int | None = None
        self._comes_back = self._began = False
        self.on = False
        for each in (engine.get_console_engine(), engine.get_system_engine()):
            event.listen(each, "begin", self._begun, insert=True)
            event.listen(each, "handle_error", self._failed)

    def comes_at(self, transaction: int, failures: int | None = None, *, comes_back: bool = False) -> None:
        """It begins with this transaction from now, counted from 1. It mends itself after so many failures, and then
        `comes_back` once, with the second transaction after that."""
        self._transactions_left, self._failures_left, self._comes_back = transaction, failures, comes_back
        self._began = False

    def mend(self) -> bool:
        """End it; whether it had begun."""
        had_begun, self.on, self._transactions_left = self.on, False, None
        self._elsewhere.execute(f"alter database {self._name} allow_connections true")
        return had_begun

    def over(self) -> bool:
        """End it and what was still to come of it; whether it has begun since it was told to come."""
        began = self._began
        self.mend()
        return began

    def close(self) -> None:
        self.mend()
        self._elsewhere.close()

    def _begun(self, _connection: Connection) -> None:
        if self._transactions_left is None or self.on:
            return
        self._transactions_left -= 1
        if not self._transactions_left:
            self.on = self._began = True
            self._elsewhere.execute(f"alter database {self._name} allow_connections false")
            end_connections(self._elsewhere, self._name)

    def _failed(self, _context: ExceptionContext) -> None:
        if not self.on or self._failures_left is None:
            return
        self._failures_left -= 1
        if not self._failures_left:
            self.mend()
            if self._comes_back:
                self._transactions_left, self._failures_left, self._comes_back = 2, FAILURES, False


@pytest.fixture
def admin(database: Database, new_actor: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch) -> Actor:
    """Somebody who sees every page and has something on each; nobody answers at their servers."""
    monkeypatch.setattr(drawn, "DATABASE_WAIT_SECONDS", 0.0)
    monkeypatch.setenv("WPP_SERVER_URL", f"{NOBODY},http://127.0.0.1:7")
    monkeypatch.setenv("WPP_SERVER_TOKEN", "its-secret-key")
    forget_process_state()
    tenants = create_tenants(database, partial(new_actor, Role.ADMIN))
    # Rows for the walls between tenants, which no page would find in real life.
    database.execute("delete from fleet_samples")
    return tenants.b.actor


@pytest.fixture
def outage(cluster: EmbeddedPostgres, database: Database, admin: Actor) -> Iterator[Outage]:
    made = Outage(cluster, database)
    yield made
    made.close()


@pytest.fixture
def screen(admin: Actor) -> AppTest:
    """The admin's open_tab."""
    return open_tab(ROOT / "ui" / "main.py", admin).run()


def go(screen: AppTest, page: str, **query: str) -> AppTest:
    screen.switch_page(str(ROOT / "pages" / f"{page}.py"))
    for name in list(screen.query_params):
        del screen.query_params[name]
    screen.query_params.update(query)
    return screen.run()


def errors(screen: AppTest) -> list[str]:
    """What the page says is wrong; a traceback where it says nothing."""
    return [str(one.value) for one in [*screen.exception, *screen.error]]


def told(screen: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*screen.exception, *screen.error, *screen.warning, *screen.info])


def queries(database: Database, admin: Actor) -> Iterator[tuple[str, Query]]:
    """Every page, those that show one thing also with one of each."""
    for page in (path.stem for path in PAGES):
        if page in ("campaigns", "schedules", "templates", "message"):
            table = "messages" if page == "message" else page
            found = str(database.one(f"select id from {table} where user_id = %s limit 1", admin.user_id))
            yield page, {"id": found}
        if page in ("schedules", "campaigns"):
            yield page, {"id": NEW}
        if page == "conversations":
            yield page, {"contato": str(database.one("select id from contacts where user_id = %s", admin.user_id))}
        yield page, {"user": str(admin.user_id)} if page in ("session", "diagnostics") else {}


@pytest.mark.timeout(300)
def test_it_says_so_wherever_the_database_goes_away_and_goes_on_when_it_is_back(
    database: Database, admin: Actor, screen: AppTest, outage: Outage
) -> None:
    faults = []
    for page, query in queries(database, admin):
        go(screen, page, **query)
        for moment in count(1):
            outage.comes_at(moment)
            screen.run()
            hit = outage.mend()
            # The last run ends before the outage begins: it is the proof that the page goes on.
            if errors(screen) != [SENTENCE] if hit else screen.exception or SENTENCE in errors(screen):
                faults.append((page, query, moment, errors(screen)))
            if not hit:
                break
    assert not faults, "\n".join(map(str, faults))


@pytest.fixture
def patient(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages wait as long as people's do, and ask as often as they can."""
    monkeypatch.setattr(drawn, "DATABASE_WAIT_SECONDS", 30.0)
    monkeypatch.setattr(drawn, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(drawn, "PAGE_RERUNS_SECONDS", 0.0)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("patient")
def test_it_waits_for_a_database_that_goes_away_while_a_page_is_drawn(
    database: Database, admin: Actor, screen: AppTest, outage: Outage
) -> None:
    """A page that is cut off would take away what is being typed on it."""
    faults = []
    for page, query in queries(database, admin):
        go(screen, page, **query)
        for moment in count(1):
            outage.comes_at(moment, FAILURES)
            screen.run()
            if SENTENCE in errors(screen) or screen.exception:
                faults.append((page, query, moment, errors(screen)))
            if not outage.over():
                break
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.usefixtures("patient")
def test_it_keeps_what_is_being_written_whenever_the_database_goes_away(screen: AppTest, outage: Outage) -> None:
    """What is read only once something stands in a field is waited for like what every page reads."""
    go(screen, "send")
    screen.text_input(key="compose_phone").set_value("11987654321")
    screen.text_area(key="compose_text").set_value("Uma mensagem longa").run()
    faults = []
    for moment in count(1):
        outage.comes_at(moment, FAILURES, comes_back=True)
        screen.run()
        if screen.exception or errors(screen) or screen.text_area(key="compose_text").value != "Uma mensagem longa":
            faults.append((moment, errors(screen)))
        if not outage.over():
            break
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.usefixtures("patient")
def test_it_sends_once_or_gives_back_what_was_sent_off_whenever_the_database_goes_away(
    database: Database, admin: Actor, screen: AppTest, outage: Outage
) -> None:
    """The field of a conversation is empty as soon as its text is sent off: a run that is cut off must not keep it."""
    contact = database.one("select id from contacts where user_id = %s", admin.user_id)
    database.execute("update contacts set blocked_at = null, phone = '5511987654321'")
    database.execute("update whatsapp_sessions set status = 'conectado'")
    go(screen, "conversations", contato=str(contact))
    faults, given_back = [], 0
    for moment in count(1):
        text = f"Já vai, número {moment}"
        outage.comes_at(moment, FAILURES)
        screen.chat_input[0].set_value(text).run()
        hit = outage.over()
        left = database.one("select count(*) from messages where body = %s", text)
        back = int(screen.chat_input[0].proto.value == text)
        given_back += back
        if screen.exception or left + back != 1:
            faults.append((moment, left, back, errors(screen)))
        if not hit:
            break
    assert not faults, "\n".join(map(str, faults))
    assert given_back


def test_it_tells_in_the_end_what_fails_again_and_again(
    screen: AppTest, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that always takes too long to answer does not begin anew for ever."""
    monkeypatch.setattr(drawn, "DATABASE_WAIT_SECONDS", 30.0)
    go(screen, "send")
    monkeypatch.setattr(session, "get", refuse)
    assert errors(screen.run()) == [SENTENCE]


def refuse(_actor: Actor) -> None:
    raise DatabaseUnavailable("QueryCanceled")


def test_it_says_so_where_an_address_names_nothing(screen: AppTest) -> None:
    faults = []
    for page, parameter, words in ADDRESSED:
        for value in NAMELESS:
            go(screen, page, **{parameter: value})
            if screen.exception or words not in told(screen):
                faults.append((page, parameter, value[:40], told(screen)))
    assert not faults, "\n".join(map(str, faults))


def test_it_goes_on_saying_so_when_the_page_is_drawn_anew(screen: AppTest) -> None:
    for page, parameter, words in ADDRESSED:
        go(screen, page, **{parameter: NAMELESS[1]})
        assert words in told(screen.run()), page


def test_it_says_so_where_a_draft_or_an_invitation_is_none(screen: AppTest, database: Database) -> None:
    for value in NAMELESS:
        assert not go(screen, "send", rascunho=value).exception
    anonymous = open_tab(ROOT / "ui" / "main.py")
    for value in NAMELESS[:-1]:
        anonymous.query_params["convite"] = value
        assert not anonymous.run().exception
        assert "**Este link não vale mais" in told(anonymous)


@pytest.mark.parametrize(("page", "button"), CALLS)
def test_it_says_so_where_a_server_is_away(admin: Actor, screen: AppTest, page: str, button: str) -> None:
    go(screen, page, **({"user": str(admin.user_id)} if page in ("session", "diagnostics") else {}))
    screen.button(key=button).click().run()
    if "confirm_yes" in [one.key for one in screen.button]:
        screen.button(key=button).click()
        screen.button(key="confirm_yes").click().run()
    assert not screen.exception
    assert WppUnreachable.message in told(screen)
    assert not go(screen, page).exception
