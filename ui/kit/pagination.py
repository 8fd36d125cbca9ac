"""The pages of a long list: which one a tab looks at, and the numbers to choose another by."""

from typing import Literal

import streamlit as st

PagedList = Literal["users", "fleet", "timeline", "actions", "security", "report"]


def get_page_number(of: PagedList) -> int:
    """The page that is looked at, counted from 1."""
    return int(st.session_state.get(_key(of), 1))


def show_page_numbers(of: PagedList, total: int, page_size: int) -> None:
    """Draw the numbers of the pages that `total` rows take; nothing where one page holds them all."""
    pages = -(-total // page_size)
    if pages > 1:
        st.pagination(pages, key=_key(of))


def _key(of: PagedList) -> str:
    return f"{of}_page"
