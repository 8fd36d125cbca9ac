"""The house's rules, held against the real files: who may import whom, what a page is, and where state may live."""

import ast
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("pages", "ui", "services", "web", "sandbox", "demo", "migrations")
PROCESSES = ("app.py", "webhook.py", "worker.py", "manage.py")

# room → the rooms that it may import. Inside services, ui and web the layers rule.
MAY_IMPORT = {
    "app": {"ui", "services"},
    "pages": {"ui", "services"},
    "ui": {"ui", "services"},
    "webhook": {"web", "services"},
    "web": {"web", "services"},
    "worker": {"services"},
    "manage": {"services", "demo"},
    "demo": {"demo", "services"},
    "services": {"services"},
    "sandbox": {"sandbox", "services.settings", "services.errors"},
    "migrations": {"services.settings", "services.db"},
}

# Lowest first. Who stands in a layer imports the layers below it and itself, never its neighbours nor upwards.
LAYERS = {
    "services": (
        {"errors"}, {"counters", "failure_log", "settings"}, {"log"},
        {"db", "wppconnect"},
        {"platform"},
        {"security"},
        {"accounts", "fleet"},
        {"contacts"},
        {"messaging"},
        {"outreach", "inbound"},
        {"diagnostics", "reporting", "integrations"},
        {"operations"},
    ),
    "ui": (
        {"kit"},
        {"shell"},
        {"components"},
        {"my_session", "sending", "inbound", "diagnostics", "reporting", "integrations", "staff"},
        {"main"},
    ),
    "web": ({"refusals"}, {"receiver", "ops", "api"}),
}  # fmt: skip

# third-party package or module → where it may be imported.
ONLY_IN = {
    "streamlit": ("app.py", "pages/", "ui/"),
    "streamlit_authenticator": ("ui/",),
    "soundfile": ("services/messaging/attachments.py",),
    "sqlalchemy": ("services/", "demo/", "migrations/"),
    "alembic": ("services/db/", "migrations/"),
    "procrastinate": ("services/operations/jobs.py", "worker.py", "migrations/"),
    "psycopg": ("services/", "demo/", "migrations/", "worker.py"),
    "httpx": ("services/wppconnect/",),
    "httpcore": ("services/platform/safe_http.py",),
    "standardwebhooks": ("services/integrations/",),
    # Whether our own processes answer is asked past every proxy.
    "urllib.request": ("services/operations/doctor.py", "services/operations/supervisor.py"),
    "requests": (),
    "starlette": (
        "app.py",
        "webhook.py",
        "web/",
        "sandbox/",
        "ui/shell/live.py",
        "ui/shell/cookie.py",
        "ui/components/media.py",
        "ui/shell/headers.py",
    ),
    "uvicorn": ("webhook.py", "web/receiver/connections.py", "sandbox/"),
    "honcho": ("services/operations/process_manager.py",),
    "prometheus_client": ("services/counters.py", "services/operations/metrics.py", "web/ops/metrics.py"),
    "fpdf": ("services/platform/documents.py",),
}
# What the two lowest rooms may know of third parties.
THIRD_PARTY_OF = {
    "services/db/": {"sqlalchemy", "alembic", "psycopg", "structlog"},
    "services/wppconnect/": {"httpx", "phonenumbers", "bcrypt", "structlog", "orjson"},
}

# What a module may make when it is imported: values that nobody can change, and declarations of libraries.
VALUES = {
    "struct.Struct", "ELEMENT_LENGTH.pack", "Operation", "ipaddress.ip_network", "time",
    "re.compile", "timedelta", "frozenset", "tuple", "Path", "Path(__file__).with_name", "N_", "TypeVar", "NewType",
    "structlog.get_logger", "text", "Table", "Column", "MetaData", "Actor", "Route", "Fault", "functools.partial",
    "_get", "_post", "time_column", "Uuid", "DateTime", "Identity", "event_keys.EventKey", "EventKey", "literal",
    "null", "literal_column",
}  # fmt: skip
DECLARATIONS = {"app.py": {"st.App"}, "manage.py": {"typer.Typer"}}
CHANGERS = {
    "append", "add", "update", "pop", "popitem", "clear", "setdefault", "extend", "insert", "remove", "discard",
    "appendleft", "sort", "reverse",
}  # fmt: skip
# A process's logging is configured once, like the logging module itself.
KNOWN_GLOBALS = {("services/log.py", "_secrets")}


@dataclass(frozen=True)
class Module:
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


def modules() -> list[Module]:
    files = [ROOT / name for name in PROCESSES]
    for room in ROOMS:
        files += sorted((ROOT / room).rglob("*.py"))
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text()) for path in files]


MODULES = modules()
BY_PATH = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)


# --- who imports whom -------------------------------------------------------------------------------------------------


def wrong_imports(module: Module) -> list[str]:
    """Imports that run against the house's directions."""
    return [name for name in module.imports() if _is_ours(name) and not _may_import(module, name)]


def _is_ours(name: str) -> bool:
    first = name.split(".")[0]
    return first in MAY_IMPORT or first in ("tests", "bench")


def _may_import(module: Module, name: str) -> bool:
    allowed = MAY_IMPORT[module.room]
    if not any(name == known or name.startswith(f"{known}.") for known in allowed):
        return False
    layers = LAYERS.get(module.room)
    if layers is None or name.split(".")[0] != module.room or module.package == "__init__":
        return True
    target = name.split(".")[1]
    return target == module.package or layer_of(layers, target) < layer_of(layers, module.package)


def layer_of(layers: Sequence[set[str]], package: str) -> int:
    """Which layer holds a package; raises StopIteration for one that the table does not name."""
    return next(number for number, packages in enumerate(layers) if package in packages)


def foreign_imports(module: Module) -> list[str]:
    """Third-party packages imported where they have no business."""
    names = set(module.imports())
    wrong = [
        package
        for package, places in ONLY_IN.items()
        if any(name == package or name.startswith(f"{package}.") for name in names)
        and not module.path.startswith(places or ("nowhere",))
    ]
    packages = {name.split(".")[0] for name in names}
    for place, known in THIRD_PARTY_OF.items():
        if module.path.startswith(place):
            wrong += [package for package in packages & set(ONLY_IN) if package not in known]
    return sorted(set(wrong))


def test_it_knows_the_layer_of_every_package() -> None:
    for room, layers in LAYERS.items():
        known = [package for packages in layers for package in packages]
        assert sorted(known) == sorted({module.package for module in MODULES if module.room == room} - {"__init__"})


@BY_PATH
def test_it_imports_one_way(module: Module) -> None:
    assert wrong_imports(module) == []
    assert foreign_imports(module) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/db/engine.py", "from services.wppconnect import client"),
        ("services/wppconnect/client.py", "from services.db.engine import transaction"),
        ("services/db/engine.py", "from services.fleet import sessions"),
        ("services/fleet/sessions.py", "from services.messaging import messages"),
        ("services/fleet/sessions.py", "def f():\n    from services.inbound import event_processing"),
        ("services/fleet/sessions.py", "from services.accounts import users"),
        ("services/messaging/messages.py", "import services.operations.jobs"),
        ("services/settings.py", "from services import log"),
        ("services/platform/heartbeats.py", "from ui.shell import errors"),
        ("services/platform/heartbeats.py", "from tests.support import installation"),
        ("ui/shell/errors.py", "from pages import send"),
        ("ui/sending/compose.py", "from ui.staff import session_details"),
        ("ui/components/confirm.py", "from ui.inbound import conversations"),
        ("web/receiver/webhook.py", "import ui.kit.i18n"),
        ("web/receiver/webhook.py", "from web.api import authentication"),
        ("worker.py", "from web.ops import health"),
        ("webhook.py", "from ui.kit import i18n"),
        ("sandbox/app.py", "from services.fleet import sessions"),
    ],
)
def test_it_sees_an_import_against_the_direction(path: str, source: str) -> None:
    assert wrong_imports(Module(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/fleet/sessions.py", "import streamlit as st"),
        ("ui/staff/fleet.py", "from sqlalchemy import select"),
        ("pages/send.py", "import sqlalchemy"),
        ("services/messaging/messages.py", "import httpx"),
        ("ui/shell/errors.py", "from starlette.routing import Route"),
        ("services/inbound/event_processing.py", "from starlette.requests import Request"),
        ("services/db/engine.py", "import httpx"),
        ("web/ops/health.py", "import psycopg"),
        ("pages/send.py", "import requests"),
        ("services/reporting/reports.py", "import urllib.request"),
        ("services/reporting/reports.py", "from urllib import request"),
        ("services/reporting/reports.py", "from urllib.request import urlopen"),
    ],
)
def test_it_sees_a_library_where_it_has_no_business(path: str, source: str) -> None:
    assert foreign_imports(Module(path, source))


@BY_PATH
def test_it_imports_nothing_by_a_name_made_up_at_run_time(module: Module) -> None:
    """No test of imports sees those."""
    calls = {ast.unparse(node.func) for node in module.nodes if isinstance(node, ast.Call)}
    assert not calls & {"__import__", "importlib.import_module", "import_module", "exec", "eval"}


def test_it_names_no_module_after_what_is_in_everybodys_drawer() -> None:
    assert [
        one.path for one in MODULES if Path(one.path).stem in ("utils", "util", "helpers", "helper", "common", "misc")
    ] == []


# --- pages and fragments ----------------------------------------------------------------------------------------------

PAGES = [one for one in MODULES if one.room == "pages" and not one.path.endswith("__init__.py")]


def page_faults(page: Module) -> list[str]:
    faults = []
    if len(page.source.splitlines()) > 120:
        faults.append("over 120 lines")
    statements = [node for node in page.tree.body if not _is_preamble(node)]
    if not statements or not _is_guard(statements[0]):
        faults.append("its first statement is not the guard")
    for node in page.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not _is_fragment(node):
            faults.append(f"{node.name}: helpers live in ui")
    return faults + fragment_faults(page)


def fragment_faults(module: Module) -> list[str]:
    """Fragments and dialogs that do not guard themselves: a rerun of one does not run the page above it."""
    return [
        f"{node.name}: its first statement is not the guard"
        for node in module.nodes
        if isinstance(node, ast.FunctionDef) and _is_fragment(node) and not _is_guard(_without_docstring(node)[0])
    ]


def _is_preamble(node: ast.stmt) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    constant = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom) or docstring or constant


def _is_guard(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("guard", "guard.guard")


def _is_fragment(node: ast.stmt) -> bool:
    names = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
    return any(re.match(r"(st\.)?(experimental_)?(fragment|dialog)\b", name) for name in names)


def _without_docstring(node: ast.FunctionDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) else node.body


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_it_keeps_a_page_short_guarded_and_without_helpers(page: Module) -> None:
    assert page_faults(page) == []


@pytest.mark.parametrize("module", [one for one in MODULES if one.room == "ui"], ids=lambda module: module.path)
def test_it_guards_every_fragment_outside_pages_too(module: Module) -> None:
    assert fragment_faults(module) == []


@pytest.mark.parametrize(
    "source",
    [
        "import streamlit as st\nst.title('x')\nactor = guard()",
        "import streamlit as st\nactor = None\nst.title('x')",
        "x = sessions.counts()\nactor = guard()",
        "actor = guard()\n" + "\n" * 120,
        "actor = guard()\ndef helper(): ...",
        "actor = guard()\n@st.fragment\ndef card():\n    st.write(1)",
        "actor = guard()\n@st.fragment(run_every=2)\ndef card():\n    'Says.'\n    st.write(1)\n    guard()",
    ],
)
def test_it_sees_a_page_that_breaks_the_rules(source: str) -> None:
    assert page_faults(Module("pages/careless.py", source))


def test_it_walks_the_pages() -> None:
    assert len(PAGES) >= 3


# --- state ------------------------------------------------------------------------------------------------------------


def module_state(module: Module) -> list[str]:
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


def _may_make(module: Module, name: str) -> bool:
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


def _globals(module: Module) -> list[str]:
    names = [name for node in module.nodes if isinstance(node, ast.Global) for name in node.names]
    return [f"global {name}" for name in names if (module.path, name) not in KNOWN_GLOBALS]


@BY_PATH
def test_it_keeps_no_state_in_a_module(module: Module) -> None:
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
    assert module_state(Module("services/careless.py", source))


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


# --- errors, transactions, words --------------------------------------------------------------------------------------


def blanket_catches(module: Module) -> list[int]:
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
def test_it_catches_everything_only_in_outermost_loops(module: Module) -> None:
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
    assert blanket_catches(Module("services/careless.py", source))


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


def functions_of(module: Module) -> Iterator[Function]:
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


def talkers(modules: Sequence[Module]) -> set[str]:
    """The full names of all functions that talk over the network, themselves or through others."""
    functions = [function for module in modules for function in functions_of(module)]
    reached = set(NETWORK)
    while more := {function.name for function in functions if function.calls & reached} - reached:
        reached |= more
    return reached


def calls_inside_transactions(module: Module, talking: set[str]) -> list[str]:
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
    careless = Module("services/careless.py", source)
    assert calls_inside_transactions(careless, talkers([*MODULES, careless]))


def unexplained(module: Module) -> list[str]:
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
def test_it_explains_and_types_every_public_function_of_services(module: Module) -> None:
    assert unexplained(module) == []


def test_it_sees_a_function_without_docstring_or_types() -> None:
    assert unexplained(Module("services/x.py", "def f(a: int) -> int:\n    return a"))
    assert unexplained(Module("services/x.py", "def f(a) -> int:\n    'Says.'\n    return a"))
    assert unexplained(Module("services/x.py", "def f(a: int):\n    'Says.'\n    return a"))


def hidden_errors(module: Module) -> list[str]:
    """Docstrings of public functions that tell of an error in the middle of a sentence."""
    return [
        node.name
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and re.search(r"\b[Rr]aises (?!no |nothing)[A-Z`]", ast.get_docstring(node) or "")
    ]


@pytest.mark.parametrize("module", [one for one in MODULES if one.room == "services"], ids=lambda module: module.path)
def test_it_names_errors_on_a_line_of_their_own(module: Module) -> None:
    assert hidden_errors(module) == [], "write them as a last paragraph, `Raises: NotFound where …`"


def test_it_sees_an_error_that_is_named_in_passing() -> None:
    assert hidden_errors(Module("services/x.py", "def f() -> None:\n    'Says it. Raises NotFound.'"))
    assert not hidden_errors(Module("services/x.py", "def f() -> None:\n    'Says it.\\n\\nRaises: NotFound.'"))


# One reason to change each: what grows beyond this has two.
MAX_LINES = 450
# What is read as a list, from top to bottom.
LISTS = {
    "services/errors.py": "the kinds of errors, one after another",
    "services/settings.py": "the settings, one after another",
}


def test_it_keeps_files_short() -> None:
    long = {one.path: lines for one in MODULES if (lines := len(one.source.splitlines())) > MAX_LINES}
    assert long.keys() <= LISTS.keys(), long


@BY_PATH
def test_it_explains_every_module(module: Module) -> None:
    if module.source.strip():
        assert ast.get_docstring(module.tree)
