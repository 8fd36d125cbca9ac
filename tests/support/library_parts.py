"""What a library keeps for itself and an adapter of ours uses all the same: whether its version still has it."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any


def assert_has_parts(library: str, adapter: str, owner: object, names: Iterable[str]) -> None:
    """`owner`, an object or class of `library`, still has these parts."""
    missing = [name for name in names if not hasattr(owner, name)]
    assert not missing, _describe(library, adapter, f"no longer has {', '.join(missing)}")


def assert_takes(library: str, adapter: str, function: Callable[..., Any], *parameters: str) -> None:
    """`function`, which the adapter overrides or calls, still takes these parameters."""
    taken = tuple(inspect.signature(function).parameters)
    assert taken == parameters, _describe(library, adapter, f"now has {function.__qualname__}({', '.join(taken)})")


def assert_asks_only(library: str, adapter: str, method: Callable[..., Any], *names: str) -> None:
    """`method`, which runs on an object that the adapter has made itself, asks it for nothing but these."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    asked = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "self"}
    unknown = sorted(asked - set(names))
    assert not unknown, _describe(library, adapter, f"asks in {method.__qualname__} also for {', '.join(unknown)}")


def _describe(library: str, adapter: str, change: str) -> str:
    return (
        f"{library} {metadata.version(library)} {change}. {adapter} relies on this although nobody promised it: read "
        "what the new version does instead and adapt that file, or stay with the version that its docstring names."
    )
