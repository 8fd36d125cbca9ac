"""The language of templates: a small part of Jinja2.

Allowed are variables, five filters and conditions. Everything else (loops, calls, attributes, arithmetic) is refused by
a check of the parsed text; the sandbox below it refuses what the check overlooks. Variables are called without accents
and capitals: `{{Endereço}}` is `endereco`.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.errors import N_, InvalidInput
from services.messaging.content import TEXT_LIMIT, MessageTooLong
from services.wppconnect.payload_fields import storable

# Jinja2's parser and Python's compiler recurse; nobody nests conditions so deep.
MAX_DEPTH = 12
FILTERS = ("default", "upper", "lower", "title", "trim")
# What Jinja2 itself puts under these names is no value of ours.
RESERVED_NAMES = frozenset({"self", "loop", "super", "caller", "varargs", "kwargs"})


class TemplateInvalid(InvalidInput):
    """`params["line"]` counts from 1."""

    code = "modelo_invalido"
    message = N_("O texto do modelo não pode ser lido na linha {line}.")
    hint = N_(
        "Confira as chaves. Valem variáveis como {{{{nome}}}}, com default, upper, lower, title e trim, e "
        "{{% if nome %}}…{{% else %}}…{{% endif %}}."
    )


class UnknownVariable(InvalidInput):
    """`params["name"]` as it is written in the template."""

    code = "variavel_desconhecida"
    message = N_("A variável {{{{{name}}}}} não existe neste modelo.")
    hint = N_("Corrija o nome no texto ou inclua a variável no modelo.")


class MissingVariable(InvalidInput):
    code = "variavel_sem_valor"
    message = N_("Falta um valor para {{{{{name}}}}}.")
    hint = N_("Preencha a variável ou dê a ela um valor padrão no modelo.")


def variable_name(written: str) -> str:
    """What a variable (or a column of a list) of that name is called: small letters without accents, digits and `_`."""
    plain = unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


@functools.lru_cache(maxsize=256)
def variables(body: str) -> tuple[str, ...]:
    """The variables of a text, as `variable_name` calls them, in the order of their first use.

    Raises: TemplateInvalid for what is no template.
    """
    found = (variable_name(node.name) or node.name for node in _parse(body).find_all(nodes.Name))
    return tuple(dict.fromkeys(found))


def fill(body: str, values: Mapping[str, str], known: Sequence[str]) -> str:
    """Fills the variables of a text with `values`; `known` has the names that the text may use.

    Raises: TemplateInvalid, UnknownVariable; MissingVariable for one with neither value nor default; MessageTooLong.
    """
    for name in variables(body):
        if name not in known:
            raise UnknownVariable("not among the template's variables", name=name)
    size, parts = 0, []
    try:
        for part in _compile(body).generate(values):
            size += len(part)
            if size > TEXT_LIMIT:
                raise MessageTooLong("too long with its values", limit=TEXT_LIMIT)
            parts.append(part)
    except UndefinedError as error:
        raise MissingVariable("no value and no default", name=error.message) from None
    return storable("".join(parts).strip())


class _MissingVariable(StrictUndefined):
    """Says the name only: the sentence around it is ours."""

    def __init__(self, hint: str | None = None, *, name: str | None = None, **about: Any) -> None:  # noqa: ARG002
        super().__init__(hint=str(name), name=name, **about)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(undefined=_MissingVariable, autoescape=False, cache_size=0)
    made.globals.clear()
    made.tests.clear()
    for name in set(made.filters) - set(FILTERS):
        del made.filters[name]
    return made


@functools.lru_cache(maxsize=256)
def _compile(body: str) -> Compiled:
    tree = _parse(body)
    for node in tree.find_all(nodes.Name):
        node.name = variable_name(node.name)
    return _environment().from_string(tree)


def _parse(body: str) -> nodes.Template:
    """The parsed text, of which every part is one that we know.

    Raises: TemplateInvalid.
    """
    if len(body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(body)} characters", limit=TEXT_LIMIT)
    try:
        tree = _environment().parse(body)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(type(error).__name__, line=error.lineno) from None
    except RecursionError:
        raise TemplateInvalid("nested too deep", line=1) from None
    for node in tree.body:
        _require_part(node, 0)
    return tree


def _require_part(node: nodes.Node, depth: int) -> None:
    """A piece of text, a value, or a condition with such parts in it."""
    if isinstance(node, nodes.Output):
        for value in node.nodes:
            if not isinstance(value, nodes.TemplateData):
                _require_value(value, depth)
    elif isinstance(node, nodes.If) and depth < MAX_DEPTH:
        _require_condition(node.test, depth + 1)
        for part in (*node.body, *node.elif_, *node.else_):
            _require_part(part, depth + 1)
    else:
        _refuse(node)


def _require_value(node: nodes.Node | None, depth: int) -> None:
    """A variable or a text, through filters."""
    if isinstance(node, nodes.Filter) and depth < MAX_DEPTH:
        arguments = 1 if node.name == "default" else 0
        plain = not (node.kwargs or node.dyn_args or node.dyn_kwargs)
        if node.name not in FILTERS or len(node.args) != arguments or not plain:
            _refuse(node)
        for one in (node.node, *node.args):
            _require_value(one, depth + 1)
    elif isinstance(node, nodes.Const):
        if not isinstance(node.value, str):
            _refuse(node)
    elif not isinstance(node, nodes.Name) or variable_name(node.name) in RESERVED_NAMES:
        _refuse(node)


def _require_condition(node: nodes.Node, depth: int) -> None:
    """Values, compared for equality, joined by not, and, or."""
    if depth >= MAX_DEPTH:
        _refuse(node)
    if isinstance(node, nodes.Not):
        _require_condition(node.node, depth + 1)
    elif isinstance(node, nodes.And | nodes.Or):
        _require_condition(node.left, depth + 1)
        _require_condition(node.right, depth + 1)
    elif isinstance(node, nodes.Compare):
        _require_value(node.expr, depth + 1)
        for one in node.ops:
            if one.op not in ("eq", "ne"):
                _refuse(node)
            _require_value(one.expr, depth + 1)
    else:
        _require_value(node, depth)


def _refuse(node: nodes.Node | None) -> NoReturn:
    raise TemplateInvalid(type(node).__name__, line=getattr(node, "lineno", 1))
