"""Every text of the code stands in every other language's catalogue, complete and sure of itself."""

import ast
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_file
from babel.messages.pofile import read_po

from tests.support.paths import ROOT

LOCALES = sorted((ROOT / "locales").glob("*/LC_MESSAGES/console.po"))
ROOMS = ("pages", "ui", "services")
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
# What looks alike in a text and its translation where the looks are Markdown's.
MARKS = ("**", "`", "\n", "→")


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Every text → where it stands."""
    found: dict[str, str] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for line, text, _comments, _context in extract_from_file("python", path, DEFAULT_KEYWORDS):
                assert isinstance(text, str), f"{path}:{line}: say a plural as two texts"
                found.setdefault(text, f"{path.relative_to(ROOT)}:{line}")
    return found


@pytest.fixture(scope="module", params=LOCALES, ids=lambda path: path.parts[-3])
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    path: Path = request.param
    with path.open("rb") as file:
        return read_po(file)


def test_it_is_complete(sources: dict[str, str], catalogue: Catalog) -> None:
    there = {message.id: message for message in catalogue if message.id}
    missing = [f"{place}: {text!r}" for text, place in sources.items() if text not in there or not there[text].string]
    unsure = [text for text, message in there.items() if message.fuzzy]
    assert not missing, "`make messages` adds these, to be filled in:\n" + "\n".join(missing)
    assert unsure == []


def test_it_holds_nothing_that_nobody_says(sources: dict[str, str], catalogue: Catalog) -> None:
    assert [message.id for message in catalogue if message.id and message.id not in sources] == []
    assert not catalogue.obsolete


def test_it_keeps_placeholders_and_marks(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id and message.string:
            said, meant = str(message.string), str(message.id)
            assert sorted(PLACEHOLDER.findall(said)) == sorted(PLACEHOLDER.findall(meant)), meant
            assert [said.count(mark) for mark in MARKS] == [meant.count(mark) for mark in MARKS], meant
            assert (said[0] == " ", said[-1] == " ") == (meant[0] == " ", meant[-1] == " "), meant


def test_it_finds_what_a_catalogue_lacks(sources: dict[str, str]) -> None:
    assert "Meu WhatsApp" in sources
    assert "Algo deu errado do nosso lado." in sources  # through N_
    with pytest.raises(AssertionError, match="make messages"):
        test_it_is_complete(sources, Catalog())


def computed_texts(source: str) -> list[int]:
    """Lines on which a text is put together before it is looked up: no catalogue could ever hold it."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("_", "N_")
        and isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_it_looks_up_only_whole_texts(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert computed_texts(path.read_text()) == [], path


def test_it_sees_a_text_that_is_put_together() -> None:
    assert computed_texts('_(f"há {n} dias")') == [1]
    assert computed_texts('_("há " + n)') == [1]
    assert computed_texts('_("há {n} dias").format(n=n)') == []
