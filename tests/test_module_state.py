"""Where state may live: a module of the product makes nothing that anybody could change."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.product_modules import BY_PATH, MODULES, ProductModule

# What a module may make when it is imported: values that nobody can change, and declarations of libraries.
VALUES = {
    "struct.Struct", "ELEMENT_LENGTH.pack", "Operation", "ipaddress.ip_network", "time",
    "re.compile", "timedelta", "frozenset", "tuple", "Path", "Path(__file__).with_name", "N_", "TypeVar", "NewType",
    "structlog.get_logger", "text", "Table", "Column", "MetaData", "Actor", "Route", "Fault", "functools.partial",
    "_get", "_post", "time_column", "Uuid", "DateTime", "Identity", "event_keys.EventKey", "EventKey", "literal",
    "null", "literal_column", "AfterValidator", "Field", "queries.load",
    "BeforeValidator", "Fraction", "str", "Limits", "Restriction", "BodyCoding", "_list_news_columns",
}  # fmt: skip
DECLARATIONS = {"app.py": {"st.App"}, "manage.py": {"typer.Typer"}}
CHANGERS = {
    "append", "add", "update", "pop", "popitem", "clear", "setdefault", "extend", "insert", "remove", "discard",
    "appendleft", "sort", "reverse",
}  # fmt: skip
# A process's logging is configured once, like the logging module itself.
KNOWN_GLOBALS = {("services/log.py", "_secrets")}


def module_state(module: ProductModule) -> list[str]:
    """What a module keeps between calls outside of functools.cache."""
    top: set[str] = set()
    faults = []
    for node in module.tree.body:
        value = getattr(node, "value", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        top |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        faults += [f"makes {name}" for name in _made(value) if not _may_make(module, name)]
    return faults + [f"changes {name}" for name in _changed(module.tree, top)] + _globals(module)


def _made(value: ast.expr) -> Iterator[str]:
    """The outermost calls of an expression: what they are given is theirs."""
    if isinstance(value, ast.Call):
        yield ast.unparse(value.func)
        return
    if isinstance(value, ast.Lambda):
        return
    for child in ast.iter_child_nodes(value):
        if isinstance(child, ast.expr):
            yield from _made(child)


def _may_make(module: ProductModule, name: str) -> bool:
    # A page and the migrations' entry are scripts: what they assign lives for one run.
    if module.room in ("pages", "migrations"):
        return True
    method_of_value = re.search(r"\.(join|label|with_name|format|union|keys|values|items)$", name)
    return name in VALUES or name in DECLARATIONS.get(module.path, ()) or method_of_value is not None


def _changed(tree: ast.Module, top: set[str]) -> Iterator[str]:
    """Module-level names that something in the module changes in place."""
    for node in ast.walk(tree):
        changed: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGERS:
            changed = node.func.value
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            changed = node.value
        if isinstance(changed, ast.Name) and changed.id in top and not _is_local(tree, node, changed.id):
            yield changed.id


def _is_local(tree: ast.Module, inside: ast.AST, name: str) -> bool:
    """Whether the function around a node has a variable of its own by that name."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and inside in ast.walk(function):
            arguments = [*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs]
            stored = {
                one.id for one in ast.walk(function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            }
            if name in stored or name in {one.arg for one in arguments}:
                return True
    return False


def _globals(module: ProductModule) -> list[str]:
    names = [name for node in module.nodes if isinstance(node, ast.Global) for name in node.names]
    return [f"global {name}" for name in names if (module.path, name) not in KNOWN_GLOBALS]


@BY_PATH
def test_it_keeps_no_state_in_a_module(module: ProductModule) -> None:
    assert module_state(module) == []


@pytest.mark.parametrize(
    "source",
    [
        "engine = create_engine('x')",
        "CLIENT: Client = WppClient({})",
        "pool = ThreadPoolExecutor(3)",
        "lock = threading.Lock()",
        "listener = Listener('x', (), f, g).start()",
        "both = (re.compile('x'), httpx.Client())",
        "_seen = {}\ndef f(k):\n    _seen[k] = 1",
        "_seen: list[int] = []\ndef f(k):\n    _seen.append(k)",
        "_last = None\ndef f(k):\n    global _last\n    _last = k",
        "CACHE = dict()",
    ],
)
def test_it_sees_state_in_a_module(source: str) -> None:
    assert module_state(ProductModule("services/careless.py", source))


def test_it_makes_one_engine_listener_and_client_a_process() -> None:
    """Each behind a cached function in its own room."""
    makers = {
        "_create_engine": "services/db/engine.py",
        "WppClient": "services/wppconnect/shared.py",
    }
    for maker, place in makers.items():
        callers = {
            (one.path, function.name)
            for one in MODULES
            for function in one.nodes
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == maker
        }
        assert callers
        for path, name in callers:
            assert path == place
            source = next(one for one in MODULES if one.path == path)
            function = next(one for one in ast.walk(source.tree) if getattr(one, "name", None) == name)
            assert [ast.unparse(one) for one in getattr(function, "decorator_list", [])] == ["functools.cache"]
