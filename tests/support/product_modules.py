"""The product's own files, read to hold rules against them."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.paths import ROOT

ROOMS = ("pages", "ui", "services", "web", "sandbox", "demo", "migrations")
PROCESSES = ("app.py", "webhook.py", "worker.py", "manage.py")


@dataclass(frozen=True)
class ProductModule:
    """One file of the product. `path` is relative to the root, with slashes."""

    path: str
    source: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def room(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    @property
    def package(self) -> str:
        """Its package inside its room, or its own name where it stands in none."""
        return self.path.split("/")[1].removesuffix(".py")

    def imports(self) -> Iterator[str]:
        """Every module that it imports, anywhere in it, by full name: `from services import db` gives `services.db`."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.path}: relative import"
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"


def list_modules() -> list[ProductModule]:
    files = [ROOT / name for name in PROCESSES]
    for room in ROOMS:
        files += sorted((ROOT / room).rglob("*.py"))
    return [ProductModule(path.relative_to(ROOT).as_posix(), path.read_text()) for path in files]


MODULES = list_modules()
BY_PATH = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
