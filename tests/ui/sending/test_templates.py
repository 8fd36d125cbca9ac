"""What the page "Modelos" offers and says; how people use it is in tests/browser."""

import io
import json

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from services.db.actor import Actor
from services.messaging.content import Kind
from services.outreach import template_exchange, templates
from services.outreach.template_content import TemplateDraft
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT

PAGE = ROOT / "pages" / "templates.py"


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(out, "PNG")
    return out.getvalue()


PICTURE = _picture()


def look(actor: Actor, **query: str) -> AppTest:
    at = open_tab(PAGE, actor)
    at.query_params.update(query)
    return seen(at.run())


def seen(at: AppTest) -> AppTest:
    assert not at.exception
    return at


def bubble(at: AppTest) -> str:
    return "".join(one.proto.body for one in at.get("html"))


def test_it_says_what_to_do_where_there_is_none(user: Actor) -> None:
    at = look(user)
    assert "Nenhum modelo ainda." in texts_of(at)
    assert [one.label for one in at.main.button] == ["Novo modelo"]


def test_it_searches_where_there_are_many(user: Actor) -> None:
    for number in range(31):
        templates.save(user, TemplateDraft(f"Modelo {number:02}", "Olá!" if number else "Sua 1ª entrega_chegou"))
    at = look(user)
    assert "Modelo 29" in texts_of(at)
    assert "Modelo 30" not in texts_of(at)
    assert "Há mais modelos." in texts_of(at)
    for typed, shown in (
        ("modelo 30", "Modelo 30"),
        ("entrega_", "Modelo 00"),
        ("nada disso", "Nenhum modelo encontrado."),
    ):
        seen(at.text_input(key="template_search").input(typed).run())
        assert shown in texts_of(at)
        assert "Modelo 29" not in texts_of(at)


def test_it_brings_templates_out_and_in_again(user: Actor) -> None:
    templates.save(user, TemplateDraft("Pedido", "Olá {{nome}}"))
    at = look(user)
    seen(at.button(key="template_export").click().run())
    assert next(one.label for one in at.download_button).startswith("Baixar modelos-")
    written = template_exchange.export_json(user, templates.list_templates(user))
    at.file_uploader[0].upload("modelos.json", written.encode(), "application/json").run()
    seen(at.button(key="template_import_go").click().run())
    assert [one.name for one in templates.list_templates(user)] == ["Pedido", "Pedido"]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"nada", "Não conseguimos ler esse arquivo."),
        (
            json.dumps(
                {"format": template_exchange.EXPORT_FORMAT, "templates": [{"name": "a", "body": "{{b}}"}]}
            ).encode(),
            "A variável {{b}} não existe neste modelo.",
        ),
    ],
)
def test_it_says_what_is_wrong_with_an_imported_file(user: Actor, written: bytes, sentence: str) -> None:
    at = look(user)
    at.file_uploader[0].upload("modelos.json", written, "application/json").run()
    assert sentence in texts_of(seen(at.button(key="template_import_go").click().run()))
    assert templates.list_templates(user) == []


def test_it_carries_a_file_in_the_next_version_and_drops_it_again(user: Actor) -> None:
    made = templates.save(user, TemplateDraft("Foto", "Para {{nome}}"))
    at = look(user, id=str(made.id))
    at.file_uploader[0].upload("foto.png", PICTURE, "image/png").run()
    seen(at.button(key="template_save").click().run())
    assert templates.get_template(user, made.id).kind is Kind.IMAGE
    at = look(user, id=str(made.id))
    next(one for one in at.checkbox if one.label == "Tirar o arquivo").check().run()
    seen(at.button(key="template_save").click().run())
    assert (templates.get_template(user, made.id).version, templates.get_template(user, made.id).media) == (3, None)
    assert "O arquivo mudou: Texto." in texts_of(at)


def test_it_says_what_is_wrong_with_a_file_and_keeps_what_is_written(user: Actor) -> None:
    made = templates.save(user, TemplateDraft("Foto", "Para {{nome}}"))
    at = look(user, id=str(made.id))
    seen(at.file_uploader[0].upload("foto.png", PICTURE[:60], "image/png").run())
    assert "corrompido ou vazio" in texts_of(at)
    assert at.button(key="template_save").disabled


def test_it_shows_it_for_the_row_of_a_list(user: Actor) -> None:
    made = templates.save(user, TemplateDraft("Pedido", "{{nome}}: {{pedido}}", defaults={"pedido": None}))
    at = look(user, id=str(made.id))
    assert "Falta um valor para {{pedido}}." in texts_of(at)
    at.segmented_control[0].set_value("Linha de uma lista").run()
    content = "Nome;Fone;Pedido\nAna;11988887777;7\nZé;11977776666;8\n".encode("cp1252")
    at.file_uploader[1].upload("lista.csv", content, "text/csv").run()
    assert "Ana: 7" in bubble(at)
    at.number_input[0].set_value(2).run()
    assert "Zé: 8" in bubble(seen(at))


def test_it_asks_for_a_name(user: Actor) -> None:
    at = look(user, id="novo")
    assert "Falta o nome do modelo." in texts_of(seen(at.button(key="template_save").click().run()))


def test_it_is_found_by_nobody_else(user: Actor, staff: Actor) -> None:
    made = templates.save(user, TemplateDraft("Meu", "Olá"))
    at = look(staff, id=str(made.id))
    assert "Não encontramos o que você procura." in texts_of(at)
