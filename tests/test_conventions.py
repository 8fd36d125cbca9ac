"""How the product's code is written: errors and transactions, docstrings and types, short files."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from tests.support.product_modules import BY_PATH, MODULES, ProductModule


def blanket_catches(module: ProductModule) -> list[int]:
    """Lines that catch everything without being an outermost loop that says so."""
    lines = module.source.splitlines()
    found = []
    for node in module.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {ast.unparse(one) for one in ast.walk(node.type)} if node.type else {"Exception"}
        said = " ".join(lines[max(0, node.lineno - 4) : node.lineno])
        if caught & {"Exception", "BaseException"} and "outermost" not in said.lower():
            found.append(node.lineno)
    for node in module.nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            found += [node.lineno for one in node.args if ast.unparse(one) in ("Exception", "BaseException")]
    return found


@BY_PATH
def test_it_catches_everything_only_in_outermost_loops(module: ProductModule) -> None:
    assert blanket_catches(module) == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept (OSError, BaseException):\n    pass",
        "with suppress(Exception):\n    f()",
        "# outermost\n\n\n\n\ntry:\n    f()\nexcept Exception:\n    pass",
    ],
)
def test_it_sees_a_blanket_catch(source: str) -> None:
    assert blanket_catches(ProductModule("services/careless.py", source))


# What talks to somebody over the network, by full name; whoever calls one of these does so too.
NETWORK = {
    "services.wppconnect.shared.get_client", "services.platform.safe_http.post",
    "services.platform.media_store._filesystem",
}  # fmt: skip


@dataclass(frozen=True)
class Function:
    """One function of a module with the full names of all that it calls, and of what it calls under a transaction."""

    name: str
    calls: frozenset[str]
    under_transaction: frozenset[str]


def functions_of(module: ProductModule) -> Iterator[Function]:
    """Every function and method of a module; what it calls is named by the module's imports."""
    own = module.path.removesuffix(".py").replace("/", ".")
    names = {
        node.name: f"{own}.{node.name}"
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            blocks = [
                part
                for part in ast.walk(node)
                if isinstance(part, ast.With)
                and any("transaction(" in ast.unparse(item.context_expr) for item in part.items)
            ]
            under = {call for block in blocks for part in block.body for call in _calls(part, names)}
            yield Function(f"{own}.{node.name}", frozenset(_calls(node, names)), frozenset(under))


def _calls(tree: ast.AST, names: Mapping[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(name) if name in names:
                    yield names[name]
                case ast.Attribute(value=ast.Name("self"), attr=attribute) if attribute in names:
                    yield names[attribute]
                case ast.Attribute(value=ast.Name(name), attr=attribute) if name in names:
                    yield f"{names[name]}.{attribute}"


def talkers(list_modules: Sequence[ProductModule]) -> set[str]:
    """The full names of all functions that talk over the network, themselves or through others."""
    functions = [function for module in list_modules for function in functions_of(module)]
    reached = set(NETWORK)
    while more := {function.name for function in functions if function.calls & reached} - reached:
        reached |= more
    return reached


def calls_inside_transactions(module: ProductModule, talking: set[str]) -> list[str]:
    """HTTP under an open transaction: the lock would be held for as long as the other server pleases."""
    return sorted({call for function in functions_of(module) for call in function.under_transaction & talking})


def test_it_makes_no_http_call_in_a_transaction() -> None:
    talking = talkers(MODULES)
    assert {one.path: calls for one in MODULES if (calls := calls_inside_transactions(one, talking))} == {}


@pytest.mark.parametrize(
    "call",
    ["get_client().send_text('a')", "media_store.delete_file(a, b)", "g()", "alert_webhook.post({})", "self.h()"],
)
def test_it_sees_an_http_call_in_a_transaction(call: str) -> None:
    source = f"""
from services.db.engine import transaction
from services.platform import alert_webhook, media_store
from services.wppconnect.shared import get_client
def f():
    with transaction(actor) as tx:
        tx.execute(x)
        {call}
def g():
    return h()
def h():
    return get_client().status_session(a, b)
"""
    careless = ProductModule("services/careless.py", source)
    assert calls_inside_transactions(careless, talkers([*MODULES, careless]))


def unexplained(module: ProductModule) -> list[str]:
    """Public functions of services without a docstring or with a type left out."""
    found = []
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        if not ast.get_docstring(node) and node.name != "N_":
            found.append(f"{node.name}: docstring")
        if node.returns is None or any(one is not None and one.annotation is None for one in arguments):
            found.append(f"{node.name}: annotations")
    return found


@pytest.mark.parametrize("module", [one for one in MODULES if one.room == "services"], ids=lambda module: module.path)
def test_it_explains_and_types_every_public_function_of_services(module: ProductModule) -> None:
    assert unexplained(module) == []


def test_it_sees_a_function_without_docstring_or_types() -> None:
    assert unexplained(ProductModule("services/x.py", "def f(a: int) -> int:\n    return a"))
    assert unexplained(ProductModule("services/x.py", "def f(a) -> int:\n    'Says.'\n    return a"))
    assert unexplained(ProductModule("services/x.py", "def f(a: int):\n    'Says.'\n    return a"))


def hidden_errors(module: ProductModule) -> list[str]:
    """Docstrings of public functions that tell of an error in the middle of a sentence."""
    return [
        node.name
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and re.search(r"\b[Rr]aises (?!no |nothing)[A-Z`]", ast.get_docstring(node) or "")
    ]


@pytest.mark.parametrize("module", [one for one in MODULES if one.room == "services"], ids=lambda module: module.path)
def test_it_names_errors_on_a_line_of_their_own(module: ProductModule) -> None:
    assert hidden_errors(module) == [], "write them as a last paragraph, `Raises: NotFound where …`"


def test_it_sees_an_error_that_is_named_in_passing() -> None:
    assert hidden_errors(ProductModule("services/x.py", "def f() -> None:\n    'Says it. Raises NotFound.'"))
    assert not hidden_errors(ProductModule("services/x.py", "def f() -> None:\n    'Says it.\\n\\nRaises: NotFound.'"))


# One reason to change each: what grows beyond this has two.
MAX_LINES = 450


def test_it_keeps_files_short() -> None:
    long = {one.path: lines for one in MODULES if (lines := len(one.source.splitlines())) > MAX_LINES}
    assert not long


@BY_PATH
def test_it_explains_every_module(module: ProductModule) -> None:
    if module.source.strip():
        assert ast.get_docstring(module.tree)
