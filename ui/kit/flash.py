"""A short notice about a step after which the page is drawn again.

A toast right before `st.rerun` disappears with its run, mostly before anybody can see it.
"""

import streamlit as st

_NEXT_TOAST = "toast_next"


def after_rerun(text: str, icon: str | None = None) -> None:
    """Show `text` for a moment once the page has been drawn again."""
    st.session_state[_NEXT_TOAST] = (text, icon)


def show_pending() -> None:
    """Show what waits; at the end of a run, which one that begins anew never reaches."""
    if told := st.session_state.pop(_NEXT_TOAST, None):
        text, icon = told
        st.toast(text, icon=icon)
