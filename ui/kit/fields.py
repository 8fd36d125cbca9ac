"""The fields of a form that belong together: their keys begin with the same name."""

import streamlit as st


def forget_fields(key: str) -> None:
    """Drop what was typed, uploaded and chosen in the fields whose keys begin with `key` and an underscore.

    They begin anew at their next drawing.
    """
    for name in [str(one) for one in st.session_state if str(one).startswith(f"{key}_")]:
        del st.session_state[name]
