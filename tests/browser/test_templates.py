"""Templates and recipients as a person uses them: written, shown, and sent to several people of a list."""

import pytest
from playwright.sync_api import FilePayload, Page, expect

from services.db.actor import Role
from tests.support.browser_user import NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

# As a Brazilian Excel saves it.
LIST = (
    "Nome;Telefone;Pedido\nJoão;(11) 91111-1111;=1+1\nMaria;11 92222-2222;12\nJoão;11 1111-1111;\nZé;123;\n"
    "Lia;(11) 93333-3333;13\nAna;(11) 94444-4444;14\n"
)


def write(page: Page, label: str, text: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.blur()


def upload(page: Page, name: str, content: bytes) -> None:
    file = FilePayload(name=name, mimeType="text/csv", buffer=content)
    page.locator("input[type=file]").last.set_input_files([file])


def test_it_sends_a_template_to_three_people(new_browser_user: NewBrowserUser) -> None:
    person = new_browser_user(paired=True, path="/templates")
    control, database = person.installation.processes.control, person.installation.database
    control.number("5511944444444", exists=False)
    page = person.page

    page.get_by_role("button", name="Novo modelo").click()
    write(page, "Nome do modelo", "Pedido saiu")
    write(page, "Texto", "Oi {{nome}}, o pedido {{pedido}} saiu da loja {{loja}}.")
    expect(page.get_by_text("A variável {{pedido}} não existe neste modelo.")).to_be_visible()
    page.get_by_role("button", name="Incluir pedido no modelo").click()
    page.get_by_role("button", name="Incluir loja no modelo").click()
    expect(page.get_by_text("Falta um valor para {{pedido}}.")).to_be_visible()
    write(page, "Padrão de pedido", "novo")
    write(page, "Padrão de loja", "Centro")
    expect(page.get_by_text("Oi Maria Souza, o pedido novo saiu da loja Centro.")).to_be_visible()
    page.get_by_role("button", name="Salvar").click()
    expect(page.get_by_text("Salvo como versão 1.")).to_be_visible()
    write(page, "Texto", "Oi {{nome}}, seu pedido {{pedido}} saiu da loja {{loja}}.")
    page.get_by_role("button", name="Salvar").click()
    expect(page.get_by_text("Salvo como versão 2.")).to_be_visible()
    page.get_by_text("Versões (2)").click()
    page.get_by_role("button", name="Restaurar").click()
    expect(page.get_by_text("Restaurado como versão 3.")).to_be_visible()
    expect(page.get_by_label("Texto", exact=True)).to_have_count(1)
    expect(page.get_by_label("Texto", exact=True)).to_have_value(
        "Oi {{nome}}, o pedido {{pedido}} saiu da loja {{loja}}."
    )

    person.go("/send")
    page.get_by_role("tab", name="Modelo ou várias pessoas").click()
    page.get_by_label("Modelo", exact=True).click()
    page.get_by_role("option", name="Pedido saiu").click()
    page.get_by_text("Arquivo", exact=True).click()
    upload(page, "lista.csv", LIST.encode("cp1252"))
    expect(page.get_by_text("Prontos: 3")).to_be_visible()
    expect(page.get_by_text("Com problema: 3")).to_be_visible()
    write(page, "loja", "Sul")
    page.get_by_text("Como chega para o primeiro").click()
    expect(page.get_by_text("Oi João, o pedido =1+1 saiu da loja Sul.")).to_be_visible()
    page.get_by_role("button", name="Enviar para 3").dblclick()
    expect(page.get_by_text("3 mensagens na fila.")).to_be_visible()
    wait_for(lambda: len(control.sent(person.session)) == 3, what="three messages left")
    assert {message["body"] for message in control.sent(person.session)} == {
        "Oi João, o pedido =1+1 saiu da loja Sul.",
        "Oi Maria, o pedido 12 saiu da loja Sul.",
        "Oi Lia, o pedido 13 saiu da loja Sul.",
    }
    assert database.execute(
        "select distinct t.name, m.template_version from messages m join templates t on t.id = m.template_id"
        " where m.user_id = %s",
        person.user_id,
    ) == [("Pedido saiu", 3)]
    assert database.one("select count(*) from messages where user_id = %s", person.user_id) == 3


def test_staff_share_one_and_a_user_copies_it(new_browser_user: NewBrowserUser) -> None:
    admin, user = (
        new_browser_user(Role.ADMIN, path=None),
        new_browser_user(path=None, color_scheme="dark", viewport={"width": 390, "height": 844}),
    )
    page = admin.page
    admin.go("/templates")
    expect(page.get_by_text("Nenhum modelo ainda.")).to_be_visible()
    page.get_by_role("button", name="Novo modelo").click()
    write(page, "Nome do modelo", "Boas-vindas")
    page.get_by_role("button", name="Salvar").click()
    page.get_by_role("button", name="Compartilhar com todos").click()
    expect(page.get_by_role("button", name="Deixar de compartilhar")).to_be_visible()

    user.go("/templates")
    user.page.get_by_role("button", name="Ver").click()
    expect(user.page.get_by_text("Olá {{nome}}!")).to_be_visible()
    user.page.get_by_role("button", name="Copiar para os meus").click()
    expect(user.page.get_by_label("Nome do modelo")).to_have_value("Boas-vindas (cópia)")
    user.page.get_by_role("button", name="Todos os modelos").click()
    expect(user.page.get_by_text("Boas-vindas (cópia)")).to_be_visible()

    page.get_by_role("button", name="Arquivar").click()
    page.get_by_role("dialog").get_by_role("button", name="Arquivar").click()
    expect(page.get_by_text("Arquivados (1)")).to_be_visible()
    user.page.reload()
    expect(user.page.get_by_text("Da equipe")).to_have_count(0)
