"""Contact cards as phones of all ages write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.wppconnect import vcards


def card(*lines: str, version: str = "3.0") -> str:
    return "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD"])


CARDS: list[tuple[str, dict[str, Any]]] = [
    (
        card("FN:Carlos Invento", "item1.TEL;waid=5511987650012:+55 11 98765-0012", "item1.X-ABLabel:Celular",
             "TEL;type=WORK:+55 11 3333-0012"),
        {"name": "Carlos Invento", "phone": "+55 11 98765-0012", "phones": ["+55 11 98765-0012", "+55 11 3333-0012"]},
    ),
    (
        card("FN:Ana", "TEL;VALUE=uri:tel:+55-11-98765-0012", version="4.0"),
        {"name": "Ana", "phone": "+55-11-98765-0012"},
    ),
    (
        card('FN:Ana', 'TEL;VALUE=uri;TYPE="voice:home,work":tel:+1-201-555-0123;ext=102', version="4.0"),
        {"name": "Ana", "phone": "+1-201-555-0123"},
    ),
    (card("FN:Ana Maria da ", " Silva Inven", "\ttada", "TEL:1234567"), {"name": "Ana Maria da Silva Inventada",
                                                                           "phone": "1234567"}),
    (
        card("N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Gon=C3=A7alves;Jos=C3=A9;;;",
             "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Jos=C3=A9 =", "Gon=C3=A7alves",
             "TEL;CELL;QUOTED-PRINTABLE:=2B5511987650013", version="2.1"),
        {"name": "José Gonçalves", "phone": "+5511987650013"},
    ),
    (
        card("FN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:Jos=E9", "TEL;CELL:11987650013", version="2.1"),
        {"name": "José", "phone": "11987650013"},
    ),
    (card("N:Lima;Bia;;;", "TEL;waid=5511987650014:"), {"name": "Bia Lima", "phone": "+5511987650014"}),
    (card("ORG:Oficina do Zé\\, ltda;Vendas", "TEL:+551133330012"), {"name": "Oficina do Zé, ltda;Vendas",
                                                                   "phone": "+551133330012"}),
    (card("FN:+55 11 98765-0015", "TEL:+55 11 98765-0015", "TEL:+5511987650015"), {"name": None,
                                                                             "phone": "+55 11 98765-0015"}),
    (card("FN:Sem número"), {"name": "Sem número"}),
    ("no card at all", {"name": None}),
]  # fmt: skip


@pytest.mark.parametrize(("written", "read"), CARDS)
def test_it_reads_a_name_and_all_numbers(written: str, read: dict[str, Any]) -> None:
    assert vcards.read_card({"body": written}) == read
    assert vcards.read_card({"vcard": written.replace("\r\n", "\n")}) == read


def test_it_reads_several_cards_listed_or_one_after_the_other() -> None:
    ana, bia = card("FN:Ana", "TEL:+5511987650001"), card("FN:Bia", "TEL:+5511987650002")
    read = {"contacts": [{"name": "Ana", "phone": "+5511987650001"}, {"name": "Bia", "phone": "+5511987650002"}]}
    assert vcards.read_cards({"vcardList": [{"displayName": "Ana", "vcard": ana}, bia]}) == read
    assert vcards.read_cards({"body": f"{ana}\r\n{bia}"}) == read
    assert vcards.read_cards({"vcardList": [], "body": ""}) == {"contacts": []}


def test_it_calls_a_card_what_whatsapp_calls_it_but_never_by_a_number() -> None:
    written = card("FN:Ana", "TEL:+5511987650001")
    assert vcards.read_card({"body": written, "vcardFormattedName": "Ana Souza"})["name"] == "Ana Souza"
    assert vcards.read_card({"body": written, "vcardFormattedName": "+55 11 98765-0001"})["name"] == "Ana"


lines = st.sampled_from(
    ["BEGIN:VCARD", "FN;ENCODING=QUOTED-PRINTABLE;CHARSET=idna:=FF=", "FN;CHARSET=\x00;QUOTED-PRINTABLE:=00", " x",
     "TEL:", "TEL;VALUE=uri:tel:%00", "N:;;", 'TEL;X="', "\\", "END:VCARD"]
)  # fmt: skip


@given(st.text(max_size=300) | st.lists(lines, max_size=12).map("\n".join))
def test_it_never_raises_and_gives_what_can_be_stored(written: str) -> None:
    for found in (vcards.read_card({"body": written}), *vcards.read_cards({"body": written})["contacts"]):
        assert "\x00" not in repr(found["name"])
        assert "\x00" not in "".join(found.get("phones", [found.get("phone", "")]))
