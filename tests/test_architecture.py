"""The project's rules, held against the real files: who may import whom, and what a page is."""

import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.product_modules import BY_PATH, MODULES, ProductModule

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
    "migrations": {"migrations.ddl", "services.settings", "services.db"},
}

# Lowest first. Who stands in a layer imports the layers below it and itself, never its neighbours nor upwards.
LAYERS = {
    "services": (
        {"errors", "settings_sources", "settings_values"}, {"counters", "failure_log", "settings"}, {"log"},
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
    # Its inner workings: types for annotations are in `streamlit.typing`.
    "streamlit.runtime": (),
    "streamlit.elements": (),
    "streamlit.proto": (),
    "streamlit_authenticator": ("ui/shell/authenticator.py",),
    # Decoders of what strangers made live in the child process that converts files, and nowhere else.
    "av": ("services/messaging/transcoding_av.py",),
    "pillow_heif": ("services/messaging/transcoding_pictures.py",),
    "services.messaging.transcoding_av": ("services/messaging/transcoding_child.py",),
    "services.messaging.transcoding_pictures": ("services/messaging/transcoding_child.py",),
    "services.messaging.transcoding_child": (),
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
    "honcho": ("services/operations/honcho_hooks.py",),
    "prometheus_client": ("services/counters.py", "services/operations/metrics.py", "web/ops/metrics.py"),
    "fpdf": ("services/platform/documents.py",),
    # Time zones have one place, and one in the console above it. Settings lie below both and only check a name.
    "zoneinfo": ("services/platform/local_time.py", "services/settings_values.py"),
    "services.platform.local_time": ("services/", "ui/kit/dates.py"),
}
# What the two lowest rooms may know of third parties.
THIRD_PARTY_OF = {
    "services/db/": {"sqlalchemy", "alembic", "psycopg", "structlog"},
    "services/wppconnect/": {"httpx", "phonenumbers", "bcrypt", "structlog", "orjson"},
}


# --- who imports whom -------------------------------------------------------------------------------------------------


def wrong_imports(module: ProductModule) -> list[str]:
    """Imports that run against the layers' directions."""
    return [name for name in module.imports() if _is_ours(name) and not _may_import(module, name)]


def _is_ours(name: str) -> bool:
    first = name.split(".")[0]
    return first in MAY_IMPORT or first in ("tests", "bench")


def _may_import(module: ProductModule, name: str) -> bool:
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


def foreign_imports(module: ProductModule) -> list[str]:
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
def test_it_imports_one_way(module: ProductModule) -> None:
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
    assert wrong_imports(ProductModule(path, source))


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
        ("services/reporting/reports.py", "from zoneinfo import ZoneInfo"),
        ("ui/sending/schedule_form.py", "from services.platform import local_time"),
        ("services/messaging/attachments.py", "import av"),
        ("services/messaging/attachments.py", "from services.messaging import transcoding_av"),
        ("ui/sending/compose.py", "from streamlit.runtime.uploaded_file_manager import UploadedFile"),
    ],
)
def test_it_sees_a_library_where_it_has_no_business(path: str, source: str) -> None:
    assert foreign_imports(ProductModule(path, source))


def private_parts(module: ProductModule) -> list[str]:
    """What a library names with a leading underscore and this module imports or reads from what it imports."""
    names = {name.rsplit(".", 1)[-1] for name in module.imports() if _is_library(name)}
    names |= {
        alias.asname
        for node in module.nodes
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname and _is_library(alias.name)
    }
    reads = (ast.unparse(node) for node in module.nodes if isinstance(node, ast.Attribute))
    used = [name for name in module.imports() if _is_library(name)]
    used += [name for name in reads if name.split(".")[0] in names]
    return [name for name in used if re.fullmatch(r"(\w+\.)*_[a-z]\w*(\.\w+)*", name)]


def _is_library(name: str) -> bool:
    # `_typeshed` holds the types of the standard library, for annotations.
    return not _is_ours(name) and name.split(".")[0] not in {*sys.stdlib_module_names, "_typeshed"}


@BY_PATH
def test_it_uses_nothing_that_a_library_calls_private(module: ProductModule) -> None:
    assert not private_parts(module)


@pytest.mark.parametrize(
    "source",
    [
        "from uvicorn._types import HTTPScope",
        "import streamlit as st\nst._main.write(1)",
        "from honcho import manager\nmanager.Manager._start = None",
    ],
)
def test_it_sees_a_private_part_of_a_library(source: str) -> None:
    assert private_parts(ProductModule("services/fleet/sessions.py", source))


@BY_PATH
def test_it_imports_nothing_by_a_name_made_up_at_run_time(module: ProductModule) -> None:
    """No test of imports sees those."""
    calls = {ast.unparse(node.func) for node in module.nodes if isinstance(node, ast.Call)}
    assert not calls & {"__import__", "importlib.import_module", "import_module", "exec", "eval"}


def test_it_names_no_module_after_what_is_in_everybodys_drawer() -> None:
    assert [
        one.path for one in MODULES if Path(one.path).stem in ("utils", "util", "helpers", "helper", "common", "misc")
    ] == []


# --- pages and fragments ----------------------------------------------------------------------------------------------

PAGES = [one for one in MODULES if one.room == "pages" and not one.path.endswith("__init__.py")]


def page_faults(page: ProductModule) -> list[str]:
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


def fragment_faults(module: ProductModule) -> list[str]:
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
def test_it_keeps_a_page_short_guarded_and_without_helpers(page: ProductModule) -> None:
    assert page_faults(page) == []


@pytest.mark.parametrize("module", [one for one in MODULES if one.room == "ui"], ids=lambda module: module.path)
def test_it_guards_every_fragment_outside_pages_too(module: ProductModule) -> None:
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
    assert page_faults(ProductModule("pages/careless.py", source))


def test_it_reads_the_pages() -> None:
    assert len(PAGES) >= 3
