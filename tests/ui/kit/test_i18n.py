"""Texts for people: catalogues with the Portuguese as source, and errors as one sentence with a next step."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from streamlit.testing.v1 import AppTest

from services.errors import DatabaseUnavailable, ServiceError
from ui.kit import dates, i18n


@pytest.fixture
def english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "en" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    catalogue = Catalog(locale="en")
    catalogue.add("Entrar", "Sign in")
    catalogue.add("Sair", "Not sure", flags=["fuzzy"])
    with (folder / "console.po").open("wb") as file:
        write_po(file, catalogue)
    monkeypatch.setattr(i18n, "LOCALES", tmp_path)
    i18n._load.cache_clear()
    i18n._locale.cache_clear()


@pytest.mark.usefixtures("english")
def test_it_takes_a_text_from_the_catalogue_of_the_language() -> None:
    assert i18n.catalogue("en").gettext("Entrar") == "Sign in"
    assert i18n.catalogue("en-US").gettext("Entrar") == "Sign in"


@pytest.mark.usefixtures("english")
@pytest.mark.parametrize("language", ["pt-BR", "pt", "fr", "xx-YY", "", "../../etc", "\0"])
def test_it_shows_the_portuguese_source_to_everybody_else(language: str) -> None:
    assert i18n.catalogue(language).gettext("Entrar") == "Entrar"


@pytest.mark.usefixtures("english")
def test_it_shows_the_source_of_what_a_catalogue_lacks() -> None:
    assert i18n.catalogue("en").gettext("Senha") == "Senha"
    assert i18n.catalogue("en").gettext("Sair") == "Sair"  # a translation that nobody is sure of is none
    assert i18n._("") == ""


@pytest.mark.usefixtures("english")
@pytest.mark.parametrize(
    ("language", "number", "moment"),
    [
        ("pt-BR", "1.234.567,5", "22/11/2024 14:05:33"),
        ("en-US", "1,234,567.5", "22/11/2024 14:05:33"),
        ("fr", "1.234.567,5", "22/11/2024 14:05:33"),  # in Portuguese, as the texts
        ("xx-YY", "1.234.567,5", "22/11/2024 14:05:33"),
        ("../../etc", "1.234.567,5", "22/11/2024 14:05:33"),
    ],
)
def test_it_writes_numbers_as_the_language_of_the_texts(
    language: str, number: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "_language", lambda: language)
    assert i18n.number(1234567.5, 1) == number
    assert dates.full_time(datetime(2024, 11, 22, 17, 5, 33, tzinfo=UTC)) == moment


@pytest.mark.parametrize(
    ("language", "wall", "day", "month"),
    [
        ("pt-BR", "22/11/2024 14:05", "22/11/2024", "novembro de 2024"),
        ("en-US", "22 Nov 2024 14:05", "22 Nov 2024", "November 2024"),
    ],
)
def test_it_writes_days_and_walls_as_they_stand(
    language: str, wall: str, day: str, month: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "_language", lambda: language)
    moment = datetime(2024, 11, 22, 14, 5)
    assert dates.wall_time(moment) == wall
    assert (dates.calendar_day(moment.date()), dates.month_name(moment.date())) == (day, month)


def failing() -> None:
    from services.errors import DatabaseUnavailable
    from services.messaging.content import MessageTooLong
    from ui.shell import errors

    with errors.shown():
        raise MessageTooLong("internal detail", limit=4096)
    with errors.stopping():
        raise DatabaseUnavailable("internal detail")
    errors.show(MessageTooLong(limit=1))  # never reached


def test_it_shows_an_error_as_a_sentence_and_a_next_step_and_never_its_detail() -> None:
    at = AppTest.from_function(failing, default_timeout=60).run()
    assert not at.exception
    (warning,) = at.warning
    assert warning.value == ("**A mensagem passa de 4096 caracteres.** Encurte o texto ou divida-o em duas mensagens.")
    (error,) = at.error
    assert error.value == f"**{DatabaseUnavailable.message}** {DatabaseUnavailable.hint}"
    assert "internal detail" not in str(at)


def pressed_above_what_redraws_itself() -> None:
    import streamlit as st

    from services.messaging.content import MessageTooLong
    from ui.shell import errors

    errors.begin_page()
    if st.button("above", key="above"):
        with errors.shown():
            raise MessageTooLong(limit=1)

    @st.fragment
    def inside() -> None:
        errors.show_last(redrawn=True)
        if st.button("inside", key="inside"):
            with errors.shown():
                raise MessageTooLong(limit=2)

    inside()


def test_it_tells_once_what_a_press_came_to_where_a_change_comes_together_with_it() -> None:
    at = AppTest.from_function(pressed_above_what_redraws_itself, default_timeout=60).run()
    at.button(key="above").click().run()
    assert len(at.warning) == 1
    assert not at.run().warning
    at.button(key="inside").click().run()
    assert len(at.warning) == 1
    assert len(at.run().warning) == 1, "told again where it would go with the redraw"
    at.button(key="above").click().run()
    assert [one.value.split("**")[1] for one in at.warning] == ["A mensagem passa de 1 caracteres."]


def unforeseen() -> None:
    from ui.shell import errors

    assert errors.on_script_error(ValueError("uma senha no texto do erro"))


def test_it_shows_the_plain_sentence_for_what_nobody_foresaw() -> None:
    at = AppTest.from_function(unforeseen, default_timeout=60).run()
    (error,) = at.error
    assert error.value == f"**{ServiceError.message}** {ServiceError.hint}"
    assert "uma senha" not in str(at)
