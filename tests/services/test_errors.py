"""The whole tree of errors, wherever in `services/` each of them stands."""

import ast
import functools
import importlib
import pkgutil
import string
from collections.abc import Iterator

import pytest

import services
from services import errors
from services.errors import ServiceError
from tests.support.paths import ROOT


def _subclasses(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _errors_of_services() -> list[type[ServiceError]]:
    """Every error below `ServiceError`: a class exists only once its module was imported, so all are."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        importlib.import_module(module.name)
    return [error for error in _subclasses(ServiceError) if error.__module__.startswith("services.")]


ERRORS = _errors_of_services()
KINDS = [error for error in ERRORS if error.__module__ == errors.__name__]
BY_NAME = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)


def _has_texts(definition: ast.ClassDef) -> bool:
    return any(ast.unparse(line).startswith("hint = N_(") for line in definition.body)


def test_it_walks_every_error_of_the_source() -> None:
    written = {
        node.name
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and _has_texts(node)
    }
    assert written
    assert written <= {error.__name__ for error in ERRORS}


def test_it_gives_every_error_a_code_of_its_own() -> None:
    codes = [error.code for error in ERRORS if "code" in vars(error)]
    assert sorted(codes) == sorted(set(codes))
    assert ServiceError.code not in codes


@BY_NAME
def test_it_answers_with_the_status_of_a_failure(error: type[ServiceError]) -> None:
    assert 400 <= error.http_status < 600


@BY_NAME
def test_it_calls_nothing_both_permanent_and_safe_to_retry(error: type[ServiceError]) -> None:
    assert not (error.permanent and error.safe_to_retry)


@BY_NAME
def test_it_fills_only_named_places_of_its_texts(error: type[ServiceError]) -> None:
    for text in (error.message, error.hint):
        assert text.strip()
        names = [name for _text, name, _format, _conversion in string.Formatter().parse(text) if name is not None]
        assert all(name.isidentifier() for name in names)


@functools.cache
def _imports() -> list[tuple[tuple[str, ...], set[str]]]:
    """Of each import of kinds: the package that it is in, like ("services", "fleet"), and the names."""
    return [
        (path.relative_to(ROOT).parts[:2], {alias.name for alias in node.names})
        for room in ("services", "ui", "web")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == errors.__name__
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_it_keeps_among_the_kinds_only_what_several_packages_use(kind: type[ServiceError]) -> None:
    assert len({package for package, names in _imports() if kind.__name__ in names}) > 1, (
        "put it beside the code that raises it"
    )
