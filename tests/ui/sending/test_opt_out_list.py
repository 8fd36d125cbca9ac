"""Who asked for silence, on the page "Campanhas": searched, page by page, noted and undone."""

from streamlit.testing.v1 import AppTest

from services.contacts import opt_outs
from services.db.actor import Actor
from tests.support.databases import Database
from tests.support.pages import look_at, texts_of
from tests.support.paths import ROOT
from ui.sending.opt_out_list import PAGE_SIZE

PAGE = ROOT / "pages" / "campaigns.py"


def press(at: AppTest, label: str) -> None:
    next(one for one in at.button if one.label == label).click().run()
    assert not at.exception


def count_listed(at: AppTest) -> int:
    return sum(one.label == "Desfazer" for one in at.button)


def test_it_says_that_nobody_asked(user: Actor) -> None:
    assert "Ninguém pediu até agora." in texts_of(look_at(PAGE, user))


def test_it_lists_them_page_by_page_and_searches_all(user: Actor, database: Database) -> None:
    database.execute(
        "insert into opt_outs (user_id, phone, said_at) select %s, (5511980000000 + n)::text, now() - n * interval"
        " '1 hour' from generate_series(1, %s) n",
        user.user_id,
        PAGE_SIZE + 3,
    )
    at = look_at(PAGE, user)
    assert f"{PAGE_SIZE + 3} no total" in texts_of(at)
    assert count_listed(at) == PAGE_SIZE
    press(at, "Próximos")
    assert count_listed(at) == 3
    press(at, "Anteriores")
    assert count_listed(at) == PAGE_SIZE
    at.text_input(key="silence_search").set_value(f"98000-00{PAGE_SIZE + 2}").run()
    assert f"+55 11 98000-00{PAGE_SIZE + 2}" in texts_of(at)
    assert count_listed(at) == 1
    at.text_input(key="silence_search").set_value("ninguém").run()
    assert "Ninguém com esse número ou nome." in texts_of(at)


def test_it_undoes_a_slip_for_a_reason(user: Actor) -> None:
    """What stands in the dialog, and in the contact's card: Streamlit's tester opens no dialog twice."""

    def fields(actor: "Actor") -> None:
        from ui.components import opt_out_undo

        opt_out_undo.show_fields(actor, "5511912345678")

    opt_outs.add(user, "11 91234-5678")
    at = AppTest.from_function(fields, args=(user,), default_timeout=60).run()
    press(at, "Desfazer: pode voltar a receber")
    assert "Escreva o motivo" in texts_of(at)
    at.text_input(key="undo_reason").set_value("falava da consulta")
    press(at, "Desfazer: pode voltar a receber")
    assert not opt_outs.is_opted_out(user, "11 91234-5678")
