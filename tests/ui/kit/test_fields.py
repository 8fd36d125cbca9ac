"""Fields that belong together, by AppTest."""

from streamlit.testing.v1 import AppTest


def _form() -> None:
    import streamlit as st

    from ui.kit.fields import forget_fields

    st.text_input("a", key="draft_a")
    st.text_input("other", key="drafts")
    st.button("forget", on_click=forget_fields, args=("draft",))


def test_it_forgets_the_fields_of_one_form_and_no_others() -> None:
    tab = AppTest.from_function(_form).run()
    for field in tab.text_input:
        field.input("typed")
    tab.run()
    tab.button[0].click().run()
    assert [field.value for field in tab.text_input] == ["", "typed"]
