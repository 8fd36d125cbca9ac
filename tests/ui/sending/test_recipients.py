"""What the choice of recipients says before anything is sent; how people use it is in tests/browser."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from services.contacts import opt_outs
from services.db.actor import Actor
from services.outreach import templates
from services.outreach.template_content import TemplateDraft
from tests.support.databases import Database
from tests.support.pages import texts_of
from tests.support.sessions import connected

ANA, BIA, CAIO = "5511988887777", "5511977776666", "5511966665555"


def several(actor: "Any") -> None:
    from ui.sending import bulk_send

    bulk_send.show_form(actor)


def look(actor: Actor, database: Database) -> AppTest:
    """The form of somebody connected whose server knows everything already."""
    line = connected(database, actor)
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, checked_at, fresh_until)"
        " select %s, %s, phone, phone <> %s, now(), now() + interval '1 day' from unnest(%s::text[]) phone",
        line, actor.user_id, CAIO, [ANA, BIA, CAIO],
    )  # fmt: skip
    at = AppTest.from_function(several, args=(actor,), default_timeout=60).run()
    assert not at.exception
    return at


def paste(at: AppTest, text: str) -> AppTest:
    next(one for one in at.text_area if one.label == "Números").input(text).run()
    assert not at.exception
    return at


def test_it_shows_what_is_wrong_with_each_and_sends_to_the_others(user: Actor, database: Database) -> None:
    opt_outs.add(user, BIA)
    at = look(user, database)
    next(one for one in at.text_area if one.label == "Mensagem").input("Oi {{nome}}!").run()
    paste(at, f"Ana {ANA}\n11 8888-7777\n{BIA}\n{CAIO}\n=SOMA(A1)\n12")
    said = texts_of(at)
    assert "Prontos: 1" in said
    assert "Com problema: 5" in said
    table = at.dataframe[0].value
    assert dict(zip(table["Como veio"], table["Situação"], strict=True)) == {
        "11 8888-7777": "Já está na lista, em outra linha; recebe uma vez só.",
        BIA: "Pediu para não receber mais mensagens.",
        CAIO: "Esse número não está no WhatsApp.",
        "'=SOMA(A1": "A célula tem uma fórmula, que não calculamos. Cole o valor dela.",
        "12": "Não é um número de telefone válido. Informe DDD e número, ou +código do país.",
        ANA: "Pronto",
    }
    at.button(key="several_send").click().run()
    assert database.execute("select phone, body from messages") == [(ANA, "Oi Ana!")]
    assert next(one for one in at.text_area if one.label == "Mensagem").value == ""


def test_it_says_at_once_that_a_variable_is_unknown_or_without_a_value(user: Actor, database: Database) -> None:
    templates.save(user, TemplateDraft("Pedido", "{{pedido}} para {{nome}}", defaults={"pedido": None}))
    at = look(user, database)
    next(one for one in at.text_area if one.label == "Mensagem").input("Oi {{nmoe}}!").run()
    assert "A variável {{nmoe}} não existe neste modelo." in texts_of(paste(at, f"Ana {ANA}"))
    at.selectbox[0].select_index(1).run()
    assert "Com problema: 1" in texts_of(at)
    assert at.dataframe[0].value["Situação"][0] == "Falta o valor de uma variável do modelo. ({{pedido}})"
    assert at.button(key="several_send").disabled
    at.text_input[0].input("Bolo").run()
    assert at.dataframe[0].value["Situação"][0] == "Pronto"


def test_it_sends_few_from_here(user: Actor, database: Database) -> None:
    at = look(user, database)
    next(one for one in at.text_area if one.label == "Mensagem").input("Oi").run()
    paste(at, "\n".join(f"1191{n:07d}" for n in range(51)))
    assert "Daqui saem até 50 mensagens de uma vez." in texts_of(at)
    assert at.button(key="several_send").disabled


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "A lista está vazia."),
        (b"Nome;Telefone\n", "Nenhuma coluna dessa lista tem números de telefone."),
        (b"Nome;Cidade\nAna;Recife\n", "Nenhuma coluna dessa lista tem números de telefone."),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "Não conseguimos ler esse arquivo."),
        (b"PK\x03\x04", "Não conseguimos ler esse arquivo."),
        (b"11988887777\n" * 20_002, "A lista passa de 20000 linhas."),
    ],
)
def test_it_says_what_is_wrong_with_a_file(user: Actor, database: Database, content: bytes, sentence: str) -> None:
    at = look(user, database)
    at.segmented_control[0].set_value("Arquivo").run()
    at.file_uploader[0].upload("lista.csv", content, "text/csv").run()
    assert not at.exception
    assert sentence in texts_of(at)


def test_it_lets_one_choose_the_columns_of_a_file(user: Actor, database: Database) -> None:
    at = look(user, database)
    at.segmented_control[0].set_value("Arquivo").run()
    content = f"Fixo;Endereço;Celular\n;Rua São João;{ANA}\n1133334444;;{BIA}\n".encode("cp1252")
    at.file_uploader[0].upload("lista.csv", content, "text/csv").run()
    chosen = {one.label: one for one in at.selectbox}
    assert chosen["Coluna do telefone"].options == ["Fixo", "Endereço", "Celular"]
    assert [chosen["Coluna do telefone"].value, chosen["Coluna do nome"].value] == [2, None]
    assert list(at.dataframe[0].value["Vai para"]) == ["+55 11 98888-7777", "+55 11 97777-6666"]
    chosen["Coluna do nome"].select_index(2).run()
    assert list(at.dataframe[0].value["Nome"]) == ["Rua São João", ""]
