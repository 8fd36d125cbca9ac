"""The page "Chaves" as a person uses it, and what a program can do with what it made."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browser_user import BrowserUser

pytestmark = pytest.mark.browser

STATE = "/functions/v1/sessao-de-whatsapp"


def test_it_makes_a_key_shows_it_once_and_takes_it_back(new_browser_user: Callable[..., BrowserUser]) -> None:
    person = new_browser_user(path="/keys")
    page, api = person.page, person.installation.processes.webhook_url
    expect(page.get_by_text("Assim um programa envia com a chave")).to_be_visible()

    page.get_by_label("Para qual programa?").fill("ERP da loja")
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    secret = dialog.locator("code").inner_text().strip()
    headers = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(api + STATE, headers=headers).json()["status"] == "desconectado"
    # The scopes that were chosen, and no more.
    refused = httpx.post(api + STATE, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "sem_permissao")
    dialog.get_by_role("button", name="Já guardei").click()

    expect(page.get_by_text("ERP da loja")).to_be_visible()
    assert secret not in page.content()
    assert secret not in person.installation.processes.logs()

    page.get_by_role("button", name="Revogar").click()
    expect(dialog.get_by_text("param de funcionar na hora")).to_be_visible()
    dialog.get_by_role("button", name="Revogar").click()
    expect(page.get_by_text("Revogada")).to_be_visible()
    assert httpx.get(api + STATE, headers=headers).status_code == 401
