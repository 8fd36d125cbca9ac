"""What tests share is in tests/support, named for its topic: no test module imports another one, or a conftest."""

import ast

import pytest

from tests.support.paths import ROOT

TESTS = ROOT / "tests"
SHARED = "tests.support"
UNNAMED = {"helpers", "utils", "common", "misc", "shared"}


def list_imported_modules(source: str) -> list[str]:
    """The modules of tests that `source` imports, within functions too."""
    imported: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            imported += [f"tests.{'.' * node.level}{node.module or ''}"]
        elif isinstance(node, ast.ImportFrom) and node.module in ("tests", SHARED):
            imported += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.append(node.module)
    return [name for name in imported if name.split(".")[0] == "tests"]


def find_forbidden_imports(source: str) -> list[str]:
    """Imports of what is not shared: test modules and conftests."""
    return [
        name
        for name in list_imported_modules(source)
        if not name.startswith(f"{SHARED}.") or name.rpartition(".")[2].startswith(("test_", "conftest"))
    ]


def test_it_shares_through_tests_support_alone() -> None:
    forbidden = {
        str(path.relative_to(ROOT)): names
        for path in sorted(TESTS.rglob("*.py"))
        if (names := find_forbidden_imports(path.read_text()))
    }
    assert forbidden == {}, "move what they share into tests/support/<topic>.py"


def test_it_names_what_is_shared_for_its_topic() -> None:
    assert UNNAMED & {path.stem for path in (TESTS / "support").rglob("*.py")} == set()


@pytest.mark.parametrize(
    ("source", "forbidden"),
    [
        ("from tests.support.waiting import wait_for", []),
        ("from tests.support import days", []),
        ("import pytest\nfrom services.db import engine", []),
        ("from tests.conftest import Database", ["tests.conftest"]),
        ("from tests.web.conftest import ORIGIN", ["tests.web.conftest"]),
        ("from tests.services.fleet.test_sessions import pair", ["tests.services.fleet.test_sessions"]),
        ("from tests import test_isolation", ["tests.test_isolation"]),
        ("import tests.conftest as shared", ["tests.conftest"]),
        ("from tests.support.test_conversation_history import x", ["tests.support.test_conversation_history"]),
        ("from tests.support import test_conversation_history", ["tests.support.test_conversation_history"]),
        ("from . import test_api", ["tests.."]),
        ("from .test_api import x", ["tests..test_api"]),
        ("def f():\n    from tests.test_manage import x", ["tests.test_manage"]),
    ],
)
def test_it_sees_an_import_of_what_is_not_shared(source: str, forbidden: list[str]) -> None:
    assert find_forbidden_imports(source) == forbidden
