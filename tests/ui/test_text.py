"""Texts for people: catalogues with the Portuguese as source, and errors as one sentence with a next step."""

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from streamlit.testing.v1 import AppTest

from services.errors import DatabaseUnavailable, ServiceError
from ui import text


@pytest.fixture
def english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "en" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    catalogue = Catalog(locale="en")
    catalogue.add("Entrar", "Sign in")
    with (folder / "console.mo").open("wb") as file:
        write_mo(file, catalogue)
    monkeypatch.setattr(text, "LOCALES", tmp_path)
    text._load.cache_clear()


@pytest.mark.usefixtures("english")
def test_it_takes_a_text_from_the_catalogue_of_the_language() -> None:
    assert text.catalogue("en").gettext("Entrar") == "Sign in"
    assert text.catalogue("en-US").gettext("Entrar") == "Sign in"


@pytest.mark.usefixtures("english")
@pytest.mark.parametrize("language", ["pt-BR", "pt", "fr", "xx-YY", "", "../../etc", "\0"])
def test_it_shows_the_portuguese_source_to_everybody_else(language: str) -> None:
    assert text.catalogue(language).gettext("Entrar") == "Entrar"


@pytest.mark.usefixtures("english")
def test_it_shows_the_source_of_what_a_catalogue_lacks() -> None:
    assert text.catalogue("en").gettext("Senha") == "Senha"
    assert text._("") == ""


def failing() -> None:
    from services.errors import DatabaseUnavailable, MessageTooLong
    from ui import errors

    with errors.shown():
        raise MessageTooLong("internal detail", limit=4096)
    with errors.stopping():
        raise DatabaseUnavailable("internal detail")
    errors.show(MessageTooLong(limit=1))  # never reached


def test_it_shows_an_error_as_a_sentence_and_a_next_step_and_never_its_detail() -> None:
    at = AppTest.from_function(failing, default_timeout=20).run()
    assert not at.exception
    (warning,) = at.warning
    assert warning.value == ("**A mensagem passa de 4096 caracteres.** Encurte o texto ou divida-o em duas mensagens.")
    (error,) = at.error
    assert error.value == f"**{DatabaseUnavailable.message}** {DatabaseUnavailable.hint}"
    assert "internal detail" not in str(at)


def unforeseen() -> None:
    from ui import errors

    assert errors.on_script_error(ValueError("uma senha no texto do erro"))


def test_it_shows_the_plain_sentence_for_what_nobody_foresaw() -> None:
    at = AppTest.from_function(unforeseen, default_timeout=20).run()
    (error,) = at.error
    assert error.value == f"**{ServiceError.message}** {ServiceError.hint}"
    assert "uma senha" not in str(at)
