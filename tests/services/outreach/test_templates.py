"""Templates: only what their small language has, versions that never change, and one's own files."""

import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from services.db.actor import SYSTEM, Actor, Role
from services.errors import Forbidden, InvalidInput, NotFound, ServiceError
from services.messaging import outbox
from services.messaging.content import TEXT_LIMIT, EmptyMessage, Kind, MessageTooLong
from services.messaging.errors import FileBroken
from services.outreach import template_content, template_exchange, template_language, templates
from services.outreach.errors import UnreadableList
from services.outreach.template_content import TemplateDraft
from services.outreach.template_language import MissingVariable, TemplateInvalid, UnknownVariable
from services.platform import media_store
from tests.support.databases import Database
from tests.support.sessions import connected


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (40, 20), "#ff000080").save(out, "PNG")
    return out.getvalue()


PICTURE = _picture()
ORDER = TemplateDraft("Pedido", "Olá {{nome}}, seu pedido {{pedido}} saiu.", defaults={"pedido": None})


def rendered(body: str, values: dict[str, str] | None = None, **defaults: str | None) -> str:
    return template_content.render(TemplateDraft("x", body, defaults=defaults), values or {}).body


# --- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "values", "text"),
    [
        ("Olá {{ nome }}!", {"nome": "Ana"}, "Olá Ana!"),
        ("{{nome|default('cliente')}}", {}, "cliente"),
        ("{{nome | default(telefone) | upper}}", {"telefone": "a"}, "A"),
        ("{{ nome|trim|title }}", {"nome": "ana maria"}, "Ana Maria"),
        ("{% if nome == 'Ana' %}sim{% elif nome %}talvez{% else %}não{% endif %}", {"nome": "Bia"}, "talvez"),
        ("{% if not (nome != 'Ana' or telefone == '1') %}x{% endif %}y", {"nome": "Ana", "telefone": "2"}, "xy"),
        ("{{Telefone}} {{NOME}}", {"Nome": "Ana", "telefône": "1"}, "1 Ana"),
        ("<b>{{nome}}</b> & *{{nome}}*", {"nome": "<i>{{7*7}}</i>"}, "<b><i>{{7*7}}</i></b> & *<i>{{7*7}}</i>*"),
        ("{# nota #}a{% raw %}{{x}}{% endraw %}", {}, "a{{x}}"),
    ],
)
def test_it_fills_a_text(body: str, values: dict[str, str], text: str) -> None:
    assert rendered(body, values) == text


def test_it_takes_the_default_where_nothing_or_a_blank_is_given() -> None:
    assert rendered("{{loja}}", {}, loja="Centro") == "Centro"
    assert rendered("{{loja}}", {"loja": "  "}, loja="Centro") == "Centro"
    assert rendered("{{loja}}", {"Loja": "Sul"}, loja="Centro") == "Sul"
    assert rendered("a{% if cupom %} {{cupom}}{% endif %}", {}, cupom="") == "a"


def test_it_names_what_it_does_not_know_and_what_it_was_not_given() -> None:
    with pytest.raises(UnknownVariable) as unknown:
        template_content.check_draft(replace(ORDER, body="{{nmoe}}"))
    assert unknown.value.sentence() == "A variável {{nmoe}} não existe neste modelo."
    with pytest.raises(UnknownVariable):
        rendered("{{nmoe}}", {"nmoe": "Ana"})
    with pytest.raises(MissingVariable) as missing:
        rendered("{{pedido}}", {"nome": "Ana"}, pedido=None)
    assert missing.value.sentence() == "Falta um valor para {{pedido}}."
    assert missing.value.hint.format(**missing.value.params)


def test_it_lists_variables_by_the_names_that_they_are_called_by() -> None:
    assert template_language.variables("{{Endereço}} {{nome|default(bairro)}} {{ENDEREÇO}}") == (
        "endereco",
        "nome",
        "bairro",
    )
    assert template_language.variable_name(" Valor (R$) ") == "valor_r"


@pytest.mark.parametrize(
    "body",
    [
        "{% for x in nome %}{{x}}{% endfor %}",
        "{{ nome.__class__ }}",
        "{{ nome['x'] }}",
        "{{ nome() }}",
        "{{ nome * 9 }}",
        "{{ nome ~ nome }}",
        "{{ 9 }}",
        "{{ [nome] }}",
        "{{ self }}",
        "{{ Self }}",
        "{{ loop }}",
        "{{ range(9) }}",
        "{{ nome | center(9999) }}",
        "{{ nome | default(nome, true) }}",
        "{{ nome | default(default_value='x') }}",
        "{{ nome | attr('x') }}",
        "{% set nome = 'x' %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% if nome < 'x' %}{% endif %}",
        "{% if nome is defined %}{% endif %}",
        "{{ 'a' if nome else 'b' }}",
        "{{ nome",
        "{{ primeiro nome }}",
        "{% if nome %}",
        "{{" + "(" * 2000 + "nome" + ")" * 2000 + "}}",
        "{% if nome %}" * 100 + "{% endif %}" * 100,
        "{{ nome" + "|trim" * 100 + " }}",
        "{% if " + "not " * 900 + "nome %}{% endif %}",
    ],
)
def test_it_refuses_whatever_is_more_than_filling_in(body: str) -> None:
    with pytest.raises(TemplateInvalid) as refused:
        template_content.check_draft(TemplateDraft("x", body))
    assert refused.value.hint.format(**refused.value.params)
    with pytest.raises(TemplateInvalid):
        rendered(body, {"nome": "x"})


def test_it_says_in_which_line_the_fault_is() -> None:
    with pytest.raises(TemplateInvalid) as refused:
        template_content.check_draft(TemplateDraft("x", "Olá\n\n{{ nome"))
    assert refused.value.sentence() == "O texto do modelo não pode ser lido na linha 3."


def test_it_bounds_what_comes_out() -> None:
    with pytest.raises(MessageTooLong):
        rendered("{{nome}}" * 400, {"nome": "x" * 100_000})
    with pytest.raises(MessageTooLong):
        template_content.check_draft(TemplateDraft("x", "x" * (TEXT_LIMIT + 1)))
    with pytest.raises(EmptyMessage):
        rendered("{% if nome == 'x' %}y{% endif %}", {"nome": "z"})


PIECES = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "nome", "if", "endif", "else", "elif", "for", "in", "|", "upper", "default(",
     ")", "'a'", "==", "<", "and", "not", "(", "[", ".", "__class__", "+", "~", "1", "%", " ", "\n", "set", "x", "self"]
)  # fmt: skip
BODIES = st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join)


@examples(max_examples=300, deadline=None)
@given(body=BODIES, name=st.text(max_size=20))
def test_it_never_fails_but_in_words_of_its_own(body: str, name: str) -> None:
    try:
        text = rendered(body, {"nome": name}, x="")
    except ServiceError:
        return
    assert 0 < len(text) <= TEXT_LIMIT
    text.encode()


@examples(max_examples=200, deadline=None)
@given(parts=st.lists(st.sampled_from(["{{nome}}", "{{ x|default('-') }}"]) | st.text("ab &<ç\n", max_size=4)))
def test_it_puts_each_value_in_its_place_and_nothing_else(parts: list[str]) -> None:
    wanted = "".join({"{{nome}}": "Ana {{x}}", "{{ x|default('-') }}": "-"}.get(part, part) for part in parts)
    if wanted.strip():
        assert rendered("".join(parts), {"nome": "Ana {{x}}"}, x=None) == wanted.strip()


# --- kept -------------------------------------------------------------------------------------------------------------


def test_it_makes_a_version_of_each_change_and_of_nothing_else(user: Actor) -> None:
    first = templates.save(user, ORDER)
    assert (first.version, first.newest, first.draft) == (1, 1, ORDER)
    assert templates.save(user, replace(ORDER, name="Pedido saiu"), first.id).version == 1
    changed = templates.save(user, replace(ORDER, body="Oi {{nome}}: {{pedido}}"), first.id)
    assert (changed.version, changed.name) == (2, "Pedido")
    assert templates.get_template(user, first.id, 1).body == ORDER.body
    assert [one.version for one in templates.list_versions(user, first.id)] == [2, 1]
    assert templates.save(user, templates.get_template(user, first.id, 1).draft, first.id).body == ORDER.body
    assert templates.get_template(user, first.id).version == 3


def test_a_message_remembers_the_version_that_it_came_from(user: Actor, database: Database) -> None:
    connected(database, user)
    template = templates.save(user, ORDER)
    content = template_content.render(template, {"nome": "Ana", "pedido": "7"})
    outbox.queue(user, "11987654321", content, "key", origin=template.origin)
    assert database.execute("select template_id, template_version, body from messages") == [
        (template.id, 1, "Olá Ana, seu pedido 7 saiu.")
    ]


def test_it_puts_one_away_and_takes_it_out_again(user: Actor) -> None:
    made = templates.save(user, ORDER)
    templates.set_archived(user, made.id)
    assert templates.list_templates(user) == []
    assert [one.id for one in templates.list_templates(user, archived=True)] == [made.id]
    assert templates.get_template(user, made.id).archived_at is not None
    templates.set_archived(user, made.id, on=False)
    assert [one.id for one in templates.list_templates(user)] == [made.id]


def test_it_is_its_owners_until_staff_share_theirs(new_actor: Callable[..., Actor], staff: Actor) -> None:
    owner, other = new_actor(), new_actor()
    private = templates.save(owner, ORDER)
    for stranger in (other, staff):
        with pytest.raises(NotFound):
            templates.get_template(stranger, private.id)
        with pytest.raises(NotFound):
            templates.save(stranger, ORDER, private.id)
        with pytest.raises(NotFound):
            templates.set_archived(stranger, private.id)
    with pytest.raises(Forbidden):
        templates.set_shared(owner, private.id)
    with pytest.raises(NotFound):
        templates.set_shared(staff, private.id)
    ours = templates.save(staff, ORDER)
    templates.set_shared(staff, ours.id)
    assert [one.id for one in templates.list_templates(other)] == [ours.id]
    with pytest.raises(NotFound):
        templates.save(other, replace(ORDER, body="outro"), ours.id)
    templates.set_shared(staff, ours.id, on=False)
    assert templates.list_templates(other) == []


def test_any_staff_put_a_shared_one_away_on_the_record(
    new_actor: Callable[..., Actor], staff: Actor, user: Actor, database: Database
) -> None:
    ours = templates.save(staff, ORDER)
    templates.set_shared(staff, ours.id)
    with pytest.raises(NotFound):
        templates.set_archived(user, ours.id)
    templates.set_archived(new_actor(Role.ADMIN), ours.id)
    assert templates.list_templates(user) == []
    actions = database.execute("select action from audit_log order by seq")
    assert actions == [("template.share",), ("template.archive",)]


def test_who_is_no_staff_any_more_changes_no_shared_one(staff: Actor) -> None:
    ours = templates.save(staff, ORDER)
    templates.set_shared(staff, ours.id)
    former = replace(staff, role=Role.USER)
    for act in (
        lambda: templates.save(former, replace(ORDER, body="outro"), ours.id),
        lambda: templates.set_archived(former, ours.id),
    ):
        with pytest.raises(NotFound):
            act()
    assert templates.get_template(former, ours.id).draft == ORDER


def test_it_keeps_names_and_variables_within_bounds(user: Actor) -> None:
    for wrong in (
        replace(ORDER, name=" "),
        replace(ORDER, name="x" * 81),
        replace(ORDER, defaults={"pedido": "x" * 1001}),
        replace(ORDER, defaults={"pedido": None, "9": None}),
        replace(ORDER, defaults={"pedido": None, "self": None}),
        replace(ORDER, kind=Kind.LOCATION),
    ):
        with pytest.raises(InvalidInput):
            templates.save(user, wrong)
    with pytest.raises(EmptyMessage):
        templates.save(user, replace(ORDER, body="  "))
    with pytest.raises(EmptyMessage):
        templates.save(user, replace(ORDER, kind=Kind.IMAGE))


# --- files ------------------------------------------------------------------------------------------------------------


def test_who_sends_a_shared_one_gets_its_file_into_their_own_store(
    staff: Actor, user: Actor, database: Database
) -> None:
    connected(database, user)
    kept = media_store.save(staff, PICTURE, "image/png")
    ours = templates.save(staff, TemplateDraft("Foto", "Para {{nome}}", Kind.IMAGE, kept, "foto.png"))
    with pytest.raises(NotFound):
        media_store.read(user, kept.sha256, staff.user_id)
    templates.set_shared(staff, ours.id)
    content = template_content.render(templates.get_template(user, ours.id), {"nome": "Ana"})
    for sender in (user, SYSTEM):
        own = templates.with_own_file(sender, content, user.user_id)
        assert own.media is not None
        assert own.media.user_id == user.user_id
    queued = outbox.queue(user, "11987654321", own, "key", origin=ours.origin)
    assert (queued.body, queued.media_sha256) == ("Para Ana", kept.sha256)
    assert media_store.read(user, kept.sha256) == PICTURE


def test_it_copies_a_shared_one_with_its_file(staff: Actor, user: Actor) -> None:
    ours = templates.save(staff, templates.with_file(staff, TemplateDraft("Foto", "Oi"), PICTURE, "foto.pdf"))
    assert (ours.kind, ours.filename) == (Kind.IMAGE, "foto.png")
    templates.set_shared(staff, ours.id)
    copy = templates.duplicate(user, templates.get_template(user, ours.id), "Minha foto")
    assert (copy.user_id, copy.name, copy.body, copy.shared) == (user.user_id, "Minha foto", "Oi", False)
    assert copy.media is not None
    assert media_store.read(user, copy.media.sha256) == PICTURE
    assert templates.with_file(user, TemplateDraft("x"), b"anything", "nota.txt").kind is Kind.DOCUMENT
    with pytest.raises(FileBroken):
        templates.with_file(user, TemplateDraft("x"), b"", "nota.txt")
    with pytest.raises(FileBroken):
        templates.with_file(user, TemplateDraft("x"), PICTURE[:60], "foto.png")
    assert len(media_store.list_media(user, 10)) == 2


def test_it_takes_no_file_of_somebody_else_nor_one_of_another_kind(new_actor: Callable[..., Actor]) -> None:
    owner, other = new_actor(), new_actor()
    kept = media_store.save(owner, PICTURE, "image/png")
    with pytest.raises(NotFound):
        templates.save(other, TemplateDraft("Foto", "", Kind.IMAGE, kept))
    with pytest.raises(InvalidInput):
        templates.save(owner, TemplateDraft("Foto", "", Kind.VIDEO, kept))


def test_it_goes_out_into_a_file_and_comes_in_again(new_actor: Callable[..., Actor]) -> None:
    owner, other = new_actor(), new_actor()
    kept = media_store.save(owner, PICTURE, "image/png")
    templates.save(owner, ORDER)
    templates.save(owner, TemplateDraft("Foto", "Para {{nome}}", Kind.IMAGE, kept, "foto.png"))
    written = template_exchange.export_json(owner, templates.list_templates(owner))
    made = template_exchange.import_json(other, written)
    assert [replace(one.draft, media=None) for one in made] == [
        replace(one.draft, media=None) for one in templates.list_templates(owner)
    ]
    assert media_store.read(other, kept.sha256) == PICTURE


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("", UnreadableList),
        ("{}", UnreadableList),
        ('{"format": "plushify-templates", "templates": []}', UnreadableList),
        (b"\xff\xfe\x00", UnreadableList),
        (json.dumps({"format": "plushify-templates", "templates": [{"name": "a", "body": "{{b}}"}]}), UnknownVariable),
        (
            json.dumps({"format": "plushify-templates", "templates": [{"name": "a", "body": "b", "file": "?"}]}),
            UnreadableList,
        ),
        (
            json.dumps({"format": "plushify-templates", "templates": [{"name": "a", "body": "\ud800"}]}),
            ServiceError,
        ),
    ],
)
def test_it_takes_nothing_from_a_file_that_is_not_right(
    user: Actor, written: str | bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        template_exchange.import_json(user, written)
    assert templates.list_templates(user) == []
