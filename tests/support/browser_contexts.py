"""Browsers that are used again: a new one fetches and compiles the console's scripts before its first page."""

import json
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Error, Page

NOWHERE = "about:blank"
FORGET = "() => { localStorage.clear(); sessionStorage.clear() }"


class ContextPool:
    """The browsers of one test process, by their options. One that comes back knows the console's scripts, no more."""

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self._idle: dict[str, list[BrowserContext]] = {}
        self._options: dict[BrowserContext, str] = {}

    def take(self, options: dict[str, Any]) -> BrowserContext:
        """A browser that knows nobody."""
        key = json.dumps(options, sort_keys=True)
        if idle := self._idle.get(key):
            return idle.pop()
        made = self._chromium.new_context(**options)
        self._options[made] = key
        return made

    def give_back(self, context: BrowserContext) -> None:
        """Have it forget who was signed in; one that cannot forget is closed."""
        key = self._options[context]
        try:
            _forget(context)
        except Error:
            del self._options[context]
            context.close()
        else:
            self._idle.setdefault(key, []).append(context)

    def close(self) -> None:
        for context in self._options:
            context.close()


def open_page(context: BrowserContext) -> Page:
    """A page of the browser at which nobody has been since it was taken."""
    for page in context.pages:
        if page.url == NOWHERE:
            return page
    return context.new_page()


def _forget(context: BrowserContext) -> None:
    """One page is left, so that its renderer lives on with what it has compiled."""
    for number, page in enumerate(context.pages):
        if page.url.startswith("http"):
            page.evaluate(FORGET)
        if number == 0:
            page.goto(NOWHERE)
        else:
            page.close()
    context.clear_cookies()
