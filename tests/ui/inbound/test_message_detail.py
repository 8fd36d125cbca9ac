"""What a message of each kind says to people."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from services.contacts.contact_names import PeopleNames
from services.contacts.contacts import Contact
from services.inbound.conversations import Annotations, ThreadMessage
from services.messaging.state import Message, State
from ui.inbound.message_card import split_albums
from ui.inbound.message_detail import describe_detail, view_once_words
from ui.inbound.message_words import contact_name, message_kind_word
from ui.inbound.people import author_name, name_mentions, quoted_name

ANA, BIA, LID = "5511999999999@c.us", "5511977770000@c.us", "123456789012345@lid"
NOW = datetime(2024, 1, 2, tzinfo=UTC)
PEOPLE = PeopleNames({BIA: "Bia", LID: "Carla"}, frozenset({"5511988887777@c.us"}))


def message(body: str = "", kind: str = "chat", name: str | None = None, **detail: Any) -> Message:
    return Message(
        id=uuid4(), seq=1, direction="in", state=State.RECEIVED, phone="", contact_name=name, kind=kind, body=body,
        media_sha256=None, mimetype=None, filename=None, detail=detail, failure=None, waiting=None, run_at=NOW,
        created_at=NOW, sent_at=None, delivered_at=None, read_at=None, ended_at=None,
    )  # fmt: skip


def contact(address: str, **more: Any) -> Contact:
    plain = {"phone": None, "lid": None, "is_group": False, "name": None, "pushname": None, **more}
    return Contact(
        id=uuid4(), user_id=uuid4(), address=address, notes="", labels=(), blocked_at=None, opted_out=False, unread=0,
        of_number=None, **plain,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body", "detail", "shown"),
    [
        ("order", "", {"count": 2, "total": 120_500, "currency": "BRL"}, "Pedido: 2 itens, R$ 120,50"),
        ("order", "Hoje?", {"count": 1, "items": [{"name": "Camiseta", "quantity": 1, "price": 59_000}]},
         "Pedido: 1 item\n• 1 × Camiseta, 59,00\nHoje?"),
        ("order", "", {}, "Pedido"),
        ("product", "Camiseta\nTem azul?", {"title": "Camiseta", "price": 59_900, "currency": "BRL"},
         "Produto: Camiseta, R$ 59,90\nTem azul?"),
        ("product", "", {}, "Produto"),
        ("vcard", "Bia", {"name": "Bia", "phone": "+5511977776666", "author": LID}, "Bia · +55 11 97777-6666"),
        ("multi_vcard", "", {"contacts": [{"name": "Bia", "phone": "11 1", "phones": ["11 1", "+5511977776666"]},
                                          {"name": None, "phone": "190"}], "author": LID},
         "Bia · 11 1 · +55 11 97777-6666\n190"),
        ("groups_v4_invite", "Vem!", {"name": "Turma"}, "Convite para o grupo: Turma\nVem!"),
        ("event_creation", "Reunião", {"name": "Reunião", "place": "Sala 2", "canceled": True},
         "Evento cancelado: Reunião\nSala 2"),
        ("list", "Planos", {"options": ["A", "B"]}, "Planos\n• A\n• B"),
        ("list_response", "Plano B", {"chosen_id": "b"}, "Escolheu: Plano B"),
        ("buttons_response", "", {}, "Resposta a um botão"),
        ("poll_creation", "", {"name": "Vamos?", "options": ["Sim", "Não"]}, "Vamos?\n• Sim: 2\n• Não: 0"),
        ("location", "", {}, "Localização"),
        ("call", "", {"video": True}, "Chamada de vídeo"),
    ],
)  # fmt: skip
def test_it_says_each_kind_in_words(kind: str, body: str, detail: dict[str, Any], shown: str) -> None:
    assert describe_detail(kind, body, detail, {"Sim": 2}) == shown


def test_it_says_what_is_seen_only_on_the_phone() -> None:
    assert view_once_words("image") == "Foto de visualização única: abra no celular"
    assert "visualização única: abra no celular" in view_once_words("view_once")
    assert message_kind_word("hologram") == "Mensagem de um tipo que o console ainda não mostra: abra no celular."


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("status@broadcast", "Status"),
        ("120363000000001234@newsletter", "Canal …1234"),
        ("1234@broadcast", "Lista de transmissão …1234"),
        ("1122331234@lid", "Sem número …1234"),
        ("1122331234@bot", "Assistente do WhatsApp …1234"),
        ("1122331234@hosted.lid", "Contato de um tipo que o console ainda não conhece …1234"),
    ],
)
def test_it_names_every_family_of_address_in_words(address: str, name: str) -> None:
    assert contact_name(contact(address)) == name


@pytest.mark.parametrize(
    ("written", "author"),
    [
        (message(author=BIA, name="B."), "Bia"),
        (message(author=ANA, name="Ana"), "Ana"),
        (message(author=ANA), "+55 11 99999-9999"),
        (message(author=ANA, name="5511999999999"), "+55 11 99999-9999"),
        (message(author="998877661234@lid"), "Participante sem número …1234"),
        (message(name="Ana"), "Ana"),
        (message(), ""),
    ],
)
def test_it_says_who_wrote_in_a_group(written: Message, author: str) -> None:
    assert author_name(written, PEOPLE) == author


def test_it_puts_names_in_the_place_of_mentioned_numbers() -> None:
    mentions = [BIA, LID, ANA, "5511988887777@c.us", "551197777@c.us"]
    body = "@5511977770000 e @123456789012345, @5511999999999? @5511988887777 @551197777 a@b"
    written = message(body, mentions=mentions)
    assert name_mentions(written, PEOPLE) == "@Bia e @Carla, @+55 11 99999-9999? @Você @+55 1197777 a@b"


def test_it_says_whom_a_message_answers() -> None:
    person, group = contact("1@lid", phone="5511999999999", name="Ana S."), contact("1@g.us", is_group=True)
    assert quoted_name("551199999999@c.us", person, PEOPLE) == "Ana S."
    assert quoted_name("5511988887777@c.us", person, PEOPLE) == "Você"
    assert quoted_name(BIA, group, PEOPLE) == "Bia"
    assert quoted_name(None, group, PEOPLE) == ""


def test_it_keeps_the_pictures_of_an_album_together() -> None:
    albums = ("a", "a", None, None, "a", "b", "b", "b")
    written = [message(**({"album": album} if album else {})) for album in albums]
    thread = [ThreadMessage(one, None, NOW, None, Annotations(), False) for one in written]
    assert [len(together) for together in split_albums(thread)] == [2, 1, 1, 1, 3]
