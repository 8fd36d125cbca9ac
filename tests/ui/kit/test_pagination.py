"""The pages of a long list, by AppTest."""

from streamlit.testing.v1 import AppTest


def _list() -> None:
    import streamlit as st

    from ui.kit import pagination

    st.text(f"page {pagination.get_page_number('users')}")
    pagination.show_page_numbers("users", st.session_state["total"], 50)


def open_list(total: int) -> AppTest:
    tab = AppTest.from_function(_list)
    tab.session_state["total"] = total
    return tab.run()


def test_it_begins_at_the_first_page() -> None:
    tab = open_list(101)
    assert tab.text[0].value == "page 1"
    assert tab.get("pagination")


def test_it_draws_no_numbers_where_one_page_holds_everything() -> None:
    assert not open_list(50).get("pagination")
    assert open_list(51).get("pagination")


def test_it_keeps_the_page_of_each_list_by_itself() -> None:
    tab = open_list(101)
    tab.session_state["fleet_page"] = 2
    assert tab.run().text[0].value == "page 1"
    tab.session_state["users_page"] = 3
    assert tab.run().text[0].value == "page 3"
