"""What is told in passing about a step after which the page is drawn anew.

A toast given right before `st.rerun` goes with the run that it belonged to, mostly before anybody could see it.
"""

import streamlit as st

_NEXT = "toast_next"


def after_rerun(text: str, icon: str | None = None) -> None:
    """Show `text` for a moment once the page has been drawn again."""
    st.session_state[_NEXT] = (text, icon)


def show() -> None:
    """Show what waits; at the end of a run, which one that begins anew never reaches."""
    if told := st.session_state.pop(_NEXT, None):
        text, icon = told
        st.toast(text, icon=icon)
