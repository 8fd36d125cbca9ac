"""Whom a message goes to: everything that is wrong with them is known before anything is sent."""

import time
from uuid import UUID

import pytest

from sandbox.server import SandboxServer
from services.contacts import number_checks, opt_outs
from services.db.actor import ANONYMOUS, Actor
from services.errors import Forbidden
from services.messaging.errors import SessionNotConnected
from services.outreach import address_book, recipient_import, recipients, spreadsheet, templates
from services.outreach.address_book import KnownContact
from services.outreach.errors import EmptyList, ListTooLong
from services.outreach.recipient_row import RecipientRow
from services.outreach.recipients import PROBLEM_SENTENCES, Problem
from services.outreach.template_content import TemplateDraft
from services.outreach.template_language import MissingVariable, UnknownVariable
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected, own_session, pair_by_asking

ANA, BIA, CAIO = "5511988887777", "5511977776666", "5511966665555"
GROUP = "120363041234567890@g.us"


def entries(*written: str) -> list[RecipientRow]:
    return [RecipientRow(row, one) for row, one in enumerate(written, 1)]


def problems(found: tuple[recipients.Recipient, ...]) -> list[Problem | None]:
    return [one.problem for one in found]


@pytest.fixture
def line(user: Actor, server: SandboxServer, control: SandboxControl, database: Database) -> UUID:
    """The session of a user who is connected to the sandbox."""
    pair_by_asking(user, control, database)
    return own_session(user).id


def test_it_says_of_each_what_is_wrong(user: Actor, line: UUID, control: SandboxControl, database: Database) -> None:
    control.number(BIA, exists=False)
    opt_outs.add(user, CAIO)
    found = recipients.examine(
        user, entries("(11) 98888-7777", "11 8888-7777", BIA, CAIO, "12", "=A1", "1,19E+10", GROUP, "+1 202 555 0123")
    )
    assert problems(found) == [
        None, Problem.DUPLICATE, Problem.NOT_ON_WHATSAPP, Problem.OPTED_OUT, Problem.INVALID, Problem.FORMULA,
        Problem.ROUNDED, None, None,
    ]  # fmt: skip
    assert [one.phone for one in recipients.only_sendable(found)] == [ANA, GROUP, "12025550123"]
    assert [one.row for one in found] == list(range(1, 10))
    assert set(PROBLEM_SENTENCES) == set(Problem)


def test_it_says_why_something_is_no_number(user: Actor) -> None:
    found = recipients.examine(user, entries("219.812.345-67", "5.51199E+12", "status@broadcast", "=A1"))
    assert problems(found) == [Problem.DOCUMENT, Problem.ROUNDED, Problem.INVALID, Problem.FORMULA]


def test_it_knows_one_line_in_every_form_that_it_is_handed_in(user: Actor) -> None:
    forms = [
        "5511988887777@c.us", "551188887777@s.whatsapp.net", "5511988887777:12@c.us", "'+5511988887777",
        '="5511988887777"', "5.511988887777E+12", "https://wa.me/5511988887777", "Tel: (0xx11) 98888-7777",
    ]  # fmt: skip
    found = recipients.examine(user, entries(*forms), ask=False)
    assert {one.phone for one in found} == {ANA}
    assert problems(found) == [Problem.UNCHECKED] + [Problem.DUPLICATE] * (len(forms) - 1)
    both = recipients.examine(user, entries("+54 9 11 2345-6789", "+54 11 2345-6789"), ask=False)
    assert problems(both) == [Problem.UNCHECKED, Problem.DUPLICATE]


@pytest.mark.parametrize(
    ("written", "known_as"), [("+525512345678", "5215512345678"), ("+541123456789", "5491123456789")]
)
def test_silence_holds_in_both_spellings_of_a_line(user: Actor, written: str, known_as: str) -> None:
    opt_outs.add(user, f"{known_as}@c.us")
    assert problems(recipients.examine(user, entries(written), ask=False)) == [Problem.OPTED_OUT]


@pytest.mark.parametrize(
    ("written", "known_as"), [("+525512345678", "5215512345678"), ("+541123456789", "5491123456789")]
)
def test_it_asks_about_both_spellings_of_a_line(
    user: Actor, line: UUID, control: SandboxControl, written: str, known_as: str
) -> None:
    control.number(written.removeprefix("+"), exists=False)
    assert problems(recipients.examine(user, entries(written))) == [None]
    control.number(known_as, exists=False)
    other = written.replace("6789", "0000").replace("5678", "0000")
    for spelling in (other.removeprefix("+"), known_as.replace("6789", "0000").replace("5678", "0000")):
        control.number(spelling, exists=False)
    assert problems(recipients.examine(user, entries(other))) == [Problem.NOT_ON_WHATSAPP]


def test_whatsapp_is_asked_about_what_may_be_a_number_and_not_about_a_lid(
    user: Actor, line: UUID, control: SandboxControl
) -> None:
    control.number("22997123456", exists=False)
    found = recipients.examine(user, entries("+225 07 12 34 56", "+229 97 12 34 56", "112233445566778@lid"))
    assert problems(found) == [None, Problem.NOT_ON_WHATSAPP, None]
    assert set(number_checks.get_known(user, line, [one.phone or "" for one in found])) == {
        "22507123456",
        "22997123456",
    }


def test_it_asks_only_about_whom_nothing_is_known_within_the_budget(
    user: Actor, line: UUID, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER_CHECKS_PER_HOUR", "2")
    forget_process_state()
    number_checks.check_numbers(user, line, [BIA])
    steps: list[tuple[int, int]] = []
    found = recipients.examine(user, entries(ANA, BIA, CAIO), lambda done, of: steps.append((done, of)))
    assert problems(found) == [None, None, Problem.UNCHECKED]
    assert steps == [(1, 1)]
    assert len(recipients.only_sendable(found)) == 3


def test_it_asks_nobody_where_it_shall_not_or_cannot(user: Actor, line: UUID, database: Database) -> None:
    assert problems(recipients.examine(user, entries(ANA), ask=False)) == [Problem.UNCHECKED]
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    assert problems(recipients.examine(user, entries(ANA))) == [Problem.UNCHECKED]
    database.execute("update whatsapp_sessions set status = 'conectado', server_url = 'http://127.0.0.1:9'")
    assert problems(recipients.examine(user, entries(ANA))) == [Problem.UNCHECKED]
    assert number_checks.get_known(user, line, [ANA]) == {}


def test_it_marks_whom_a_template_cannot_be_filled_for(user: Actor) -> None:
    read = [
        RecipientRow(1, ANA, "Ana", {"pedido": "7"}),
        RecipientRow(2, BIA, "Bia", {"pedido": " "}),
        RecipientRow(3, CAIO, "Caio", {"pedido": "x" * 5000}),
        RecipientRow(4, "12", "Zé", {}),
    ]
    found = recipients.examine(user, read)
    template = TemplateDraft("Pedido", "{{nome}} ({{telefone}}): {{pedido}}", defaults={"pedido": None})
    marked = recipients.check_for_template(found, template)
    assert problems(marked) == [Problem.UNCHECKED, Problem.MISSING_VALUE, Problem.UNSUITABLE, Problem.INVALID]
    assert marked[1].missing == "pedido"
    assert recipients.render_for(marked[0], template).body == "Ana (+55 11 98888-7777): 7"
    with pytest.raises(UnknownVariable):
        recipients.check_for_template(found, TemplateDraft("x", "{{outra}}"))


def test_it_knows_people_and_groups(user: Actor, line: UUID, control: SandboxControl, database: Database) -> None:
    session = f"user_{user.user_id}"
    control.inbound(session, ANA, "oi", name="Ana")
    control.inbound(session, BIA, "oi", name="Bia", group=GROUP, group_name="Equipe")
    database.execute(
        "insert into contacts (session_id, user_id, address, phone, is_group, name, blocked_at) values"
        " (%s, %s, '5511977776666@c.us', '5511977776666', false, 'Bia do bairro', null),"
        " (%s, %s, '5511966665555@c.us', '5511966665555', false, 'Caio', now()),"
        " (%s, %s, '1203630000000000@g.us', null, true, 'Família', null)",
        *(line, user.user_id) * 3,
    )
    assert address_book.list_people(user) == [KnownContact(ANA, "Ana"), KnownContact(BIA, "Bia do bairro")]
    assert address_book.list_groups(user) == [
        KnownContact(GROUP, "Equipe"),
        KnownContact("1203630000000000@g.us", "Família"),
    ]
    found = recipients.examine(user, address_book.rows_from_contacts(address_book.list_groups(user)))
    assert [(one.name, one.is_group, one.problem) for one in found] == [("Equipe", True, None), ("Família", True, None)]
    control.kill(session, page_gone=True)
    assert [one.name for one in address_book.list_people(user)] == ["Bia do bairro"]


def test_it_queues_a_template_for_several_once_and_for_nobody_who_cannot_get_it(
    user: Actor, line: UUID, control: SandboxControl, database: Database
) -> None:
    control.number(CAIO, exists=False)
    made = templates.save(user, TemplateDraft("Pedido", "Oi {{nome}}, {{loja}}", defaults={"loja": None}))
    read = [
        RecipientRow(1, ANA, "Ana"),
        RecipientRow(2, BIA, "Bia", {"loja": "Sul"}),
        RecipientRow(3, CAIO, "Caio"),
        RecipientRow(4, GROUP, "Nós"),
    ]
    found = recipients.examine(user, read)
    for _again in range(2):
        assert len(recipients.queue(user, found, made, "key", {"loja": "Centro"})) == 3
    assert database.execute("select phone, body, template_id, template_version from messages order by seq") == [
        (ANA, "Oi Ana, Centro", made.id, 1), (BIA, "Oi Bia, Sul", made.id, 1), (GROUP, "Oi Nós, Centro", made.id, 1)
    ]  # fmt: skip
    with pytest.raises(MissingVariable):
        recipients.queue(user, found, made, "other")
    with pytest.raises(EmptyList):
        recipients.queue(user, found[2:3], made, "other")
    opt_outs.add(user, ANA)
    with pytest.raises(EmptyList):
        recipients.queue(user, found[:1], made, "meanwhile", {"loja": "Centro"})
    many = recipients.examine(user, entries(*(f"1191{n:07d}" for n in range(51))), ask=False)
    with pytest.raises(ListTooLong):
        recipients.queue(user, many, TemplateDraft("", "oi"), "other")
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    with pytest.raises(SessionNotConnected):
        recipients.queue(user, found, TemplateDraft("", "oi"), "other")
    assert database.one("select count(*) from messages") == 3


def test_it_looks_at_ten_thousand_rows_in_seconds(user: Actor, database: Database) -> None:
    line = connected(database, user)
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, checked_at, fresh_until)"
        " select %s, %s, '55119' || (80000000 + n), n %% 2 = 0, now(), now() + interval '1 day'"
        "   from generate_series(1, 10000) n",
        line, user.user_id,
    )  # fmt: skip
    text = "Nome;Telefone;Pedido\n" + "".join(f"Ana {n};(11) 9{80000000 + n};{n}\n" for n in range(1, 10001))
    started = time.monotonic()
    sheet = spreadsheet.read_file(text.encode("cp1252"))
    found = recipients.examine(user, recipient_import.rows_from_sheet(sheet, recipient_import.guess_columns(sheet)))
    filled = recipients.check_for_template(found, TemplateDraft("x", "{{nome}}: {{pedido}}", defaults={"pedido": None}))
    assert time.monotonic() - started < 20, "generous: on a quiet machine it is 2 s"
    assert (len(filled), len(recipients.only_sendable(filled))) == (10_000, 5_000)


def test_it_is_for_people_who_are_signed_in() -> None:
    with pytest.raises(Forbidden):
        recipients.examine(ANONYMOUS, entries(ANA))
