"""What the page "Regras" shows of one's own rules, and to staff of what everybody's did."""

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.inbound import automations
from tests.support.automations import CLOSED, OFFICE_HOURS, ingest_text
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT
from tests.support.sessions import connected

PAGE = ROOT / "pages" / "rules.py"


def test_it_offers_office_hours_to_begin_with(user: Actor) -> None:
    at = open_tab(PAGE, user).run()
    assert not at.exception
    assert [one.value for one in at.checkbox] == [True] * 5 + [False] * 2
    assert "Nada ainda." in texts_of(at)


def test_it_saves_hours_and_shows_them_again(user: Actor) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, OFFICE_HOURS)
    at = open_tab(PAGE, user).run()
    at.checkbox[5].check()
    at.button(key="FormSubmitter:auto_reply-Guardar").click().run()
    assert not at.exception
    (rule,) = automations.list_rules(user)
    assert rule.hours[5] is not None
    assert rule.hours[6] is None
    assert rule.hours[0] == OFFICE_HOURS[0]


def test_it_tells_staff_what_rules_did_but_not_what_was_said(user: Actor, staff: Actor, database: Database) -> None:
    session_id = connected(database, user)
    automations.save_auto_reply(user, "Um texto só do dono.", SAO_PAULO, CLOSED)
    ingest_text(session_id, "um segredo do cliente")
    at = open_tab(PAGE, staff)
    at.session_state["rules_of_all"] = True
    at.run()
    assert not at.exception
    said = texts_of(at) + str([table.value for table in at.table])
    assert user.email in said
    assert "Respondeu" in said
    for private in ("segredo", "só do dono", "5511987654321"):
        assert private not in said
    with transaction(SYSTEM) as tx:
        assert tx.exec_driver_sql("select count(*) from automation_uses").scalar_one() == 1
