"""What counts as a message, what it says in words, and what it stands in."""

import base64
from typing import Any

import pytest

from services.wppconnect.event_parsing import parse_event
from services.wppconnect.events import Annotation, InboundMessage, Unsupported

ANA, BIA, ME = "5511999999999@c.us", "5511977770000@c.us", "5511988887777@c.us"
LID, GROUP = "123456789012345@lid", "120363000000000000@g.us"
IN = f"false_{ANA}_3EB0AAAA"
BASE64 = base64.b64encode(bytes(range(256))).decode()


def read(type_: str, **more: Any) -> InboundMessage:
    event = parse({"type": type_, **more})
    assert isinstance(event, InboundMessage)
    return event


def parse(payload: dict[str, Any]) -> Any:
    return parse_event({"event": "onmessage", "id": IN, "from": ANA, "to": ME, "chatId": ANA, "t": 1, **payload})


def in_group(**more: Any) -> InboundMessage:
    return read("chat", **{"id": f"false_{GROUP}_3EB0GG_{ANA}", "from": GROUP, "chatId": GROUP, "author": ANA, **more})


# --- what is no message -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "notice",
    [
        {"type": "e2e_notification", "subtype": "encrypt"},
        {"type": "gp2", "subtype": "create"},
        {"type": "notification_template"},
        {"type": "call_log"},
        {"type": "protocol", "subtype": "ephemeral_setting"},
        {"type": "protocol"},
        {"type": "protocol", "subtype": "message_edit"},  # of nothing
        {"type": "pinned_message"},
        {"type": "keep_in_chat"},
        {"type": "poll_update"},
        {"type": "album", "expectedImageCount": 3},
        {"type": "debug"},
        {"type": "reaction"},
        {"type": "unknown", "subtype": "bot_action"},
        {"type": "hologram", "isNotification": True},
        {"type": "image", "from": "status@broadcast", "chatId": "status@broadcast", "author": ANA},
        {"type": "image", "id": f"false_status@broadcast_3EB0_{ANA}", "chatId": ANA},
        {"type": "chat", "isStatusV3": True},
        {"type": "chat", "fromMe": True, "from": ME, "to": "status@broadcast", "chatId": None},
        {"type": "revoked", "id": f"false_status@broadcast_3EB0_{ANA}"},
    ],
)
def test_it_makes_no_message_of_what_nobody_said(notice: dict[str, Any]) -> None:
    assert isinstance(parse(notice), Unsupported)


@pytest.mark.parametrize(
    ("payload", "wrote"),
    [
        ({"type": "chat", "body": "oi"}, True),
        ({"type": "image"}, True),
        ({"type": "hologram"}, True),
        ({"type": "unknown"}, True),
        ({"type": "ciphertext", "subtype": "view_once_unavailable_fanout"}, True),
        ({"type": "chat", "from": GROUP, "chatId": GROUP}, True),
        ({"type": "ciphertext", "subtype": "fanout"}, False),
        ({"type": "chat", "chatId": "120363000000000001@newsletter"}, False),
        ({"type": "chat", "chatId": "1234@broadcast"}, False),
        ({"event": "incomingcall", "id": "C", "peerJid": ANA}, False),
    ],
)
def test_it_knows_whether_somebody_said_something(payload: dict[str, Any], wrote: bool) -> None:
    event = parse(payload)
    assert isinstance(event, InboundMessage)
    assert event.wrote is wrote


def test_it_keeps_what_is_left_of_a_deleted_message_without_saying_that_somebody_spoke() -> None:
    event = parse({"type": "revoked", "id": f"false_{GROUP}_3EB0_{BIA}", "from": GROUP, "chatId": GROUP})
    assert isinstance(event, Annotation)
    assert (event.kind, event.who, event.at) == ("revoke", BIA, 1000)
    assert event.left is not None
    assert (event.left.type, event.left.text, event.left.wrote) == ("revoked", "", False)


# --- what it says in words --------------------------------------------------------------------------------------------


def flow(params: str) -> dict[str, Any]:
    return {"interactiveResponseMessage": {"nativeFlowResponseMessage": {"name": "x", "paramsJson": params}}}


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"type": "list_response", "listResponse": {"title": "SAIR", "singleSelectReply": {"selectedRowId": "b"}}},
         "SAIR"),
        ({"type": "list_response", "body": "SAIR\nNão quero mais", "listResponse": {"title": "SAIR"}}, "SAIR"),
        ({"type": "list_response", "listResponse": {"singleSelectReply": {"selectedRowId": "SAIR"}}}, "SAIR"),
        ({"type": "list_response", "body": "SAIR"}, "SAIR"),
        ({"type": "buttons_response", "body": "SAIR", "selectedButtonId": "1"}, "SAIR"),
        ({"type": "buttons_response", "selectedButtonId": "SAIR"}, "SAIR"),
        ({"type": "buttons_response", "buttonsResponse": {"selectedDisplayText": "SAIR"}}, "SAIR"),
        ({"type": "template_button_reply", "selectedDisplayText": "SAIR", "selectedId": "x"}, "SAIR"),
        ({"type": "template_button_reply", "body": "SAIR", "selectedId": "x"}, "SAIR"),
        ({"type": "template_button_reply", "templateButtonReplyMessage": {"selectedId": "SAIR"}}, "SAIR"),
        ({"type": "interactive", "nativeFlow": {"paramsJson": '{"id":"x","display_text":"SAIR"}'}}, "SAIR"),
        ({"type": "interactive", "nativeFlowResponse": {"paramsJson": '{"id":"SAIR"}'}}, "SAIR"),
        ({"type": "interactive_response", **flow('{"response_json":"{\\"title\\":\\"SAIR\\"}"}')}, "SAIR"),
        ({"type": "interactive", "body": "SAIR", **flow('{"id":"x"}')}, "SAIR"),
        ({"type": "interactive", "body": "Enviado", **flow('{"flow_token":"t","dia":"2","ok":true,"cor":["a","b"]}')},
         "Enviado\ndia: 2\ncor: a, b"),
        ({"type": "interactive", "body": "oi", **flow("{broken")}, "oi"),
        ({"type": "list", "list": {"title": "Planos", "description": "Escolha", "sections": [{"rows": [
            {"title": "A", "rowId": "1"}]}]}}, "Planos\nEscolha"),
        ({"type": "hsm", "hydratedTitleText": "Boleto", "body": "Vence amanhã"}, "Boleto\nVence amanhã"),
        ({"type": "product", "title": "Camiseta", "body": "/9j/4AAQ"}, "Camiseta"),
        ({"type": "order", "orderTitle": "Pedido", "message": "Entrega?", "body": "/9j/4AAQ"}, "Entrega?"),
        ({"type": "groups_v4_invite", "comment": "Vem!", "inviteCode": "AbC"}, "Vem!"),
        ({"type": "hologram", "body": BASE64}, ""),
        ({"type": "hologram", "body": "data:image/jpeg;base64," + BASE64}, ""),
        ({"type": "hologram", "body": "uma frase " * 50}, "uma frase " * 50),
        ({"type": "chat", "body": BASE64}, BASE64),  # somebody may write what they like
        ({"type": "image", "body": BASE64, "caption": "a foto"}, "a foto"),
        ({"type": "live_location", "body": "/9j/4AAQ", "lat": 1, "lng": 2}, ""),
    ],
)  # fmt: skip
def test_it_says_in_words_what_was_written_or_chosen(payload: dict[str, Any], text: str) -> None:
    event = parse(payload)
    assert isinstance(event, InboundMessage)
    assert event.text == text


def test_it_reads_an_order_with_its_items() -> None:
    items = [{"name": "Camiseta", "quantity": 2, "priceAmount1000": 30_000}, {"quantity": 9}, "x"]
    event = read("order", itemCount="2", totalAmount1000="60000", totalCurrencyCode="BRL", products=items)
    assert event.detail == {
        "count": 2,
        "total": 60_000,
        "currency": "BRL",
        "items": [{"name": "Camiseta", "quantity": 2, "price": 30_000}],
    }


def test_it_reads_an_event_in_milliseconds_that_was_called_off() -> None:
    event = read("event_creation", eventName="Reunião", eventStartTime=1_760_003_600_000, isEventCanceled=True)
    assert event.detail == {"name": "Reunião", "starts_at": 1_760_003_600, "canceled": True}


@pytest.mark.parametrize(
    "form",
    [
        {"hydratedButtons": [{"quickReplyButton": {"displayText": "Sim"}}, {"callButton": {"displayText": "Ligar"}}]},
        {"buttons": [{"buttonId": "1", "buttonText": {"displayText": "Sim"}}, {"text": "Ligar"}]},
        {"interactivePayload": {"buttons": [{"buttonParamsJson": f'{{"display_text":"{one}"}}'}
                                            for one in ("Sim", "Ligar")]}},
    ],
)  # fmt: skip
def test_it_reads_the_buttons_below_a_message_of_any_type(form: dict[str, Any]) -> None:
    assert read("chat", body="Confirma?", **form).detail == {"buttons": ["Sim", "Ligar"]}


@pytest.mark.parametrize(
    ("payload", "has_file"),
    [
        ({"type": "image"}, True),
        ({"type": "image", "isViewOnce": False}, True),
        ({"type": "image", "isViewOnce": True}, False),
        ({"type": "ptt", "isViewOnce": True}, False),
        ({"type": "ciphertext", "subtype": "view_once_unavailable_fanout"}, False),
        ({"type": "product", "mimetype": "image/jpeg"}, False),
    ],
)
def test_it_expects_no_file_of_what_can_be_opened_once(payload: dict[str, Any], has_file: bool) -> None:
    event = parse(payload)
    assert event.has_file is has_file
    assert event.detail.get("view_once", False) is (not has_file and payload["type"] != "product")


# --- what it stands in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quoting", "quoted_id", "author", "quoted"),
    [
        ({"quotedMsgId": IN}, IN, None, {}),
        ({"quotedStanzaID": "3EB0C13_out", "quotedParticipant": LID}, "3EB0C13", LID, {"author": LID}),
        ({"quotedStanzaID": "3EB0C13", "quotedMsg": {"type": "chat", "body": "Qual  o\npreço?"}}, "3EB0C13", None,
         {"kind": "chat", "text": "Qual o preço?"}),
        ({"quotedMsg": {"type": "image", "body": BASE64, "caption": "a foto"}}, None, None,
         {"kind": "image", "text": "a foto"}),
        ({"quotedMsg": {"type": "product", "body": "/9j/4AAQ", "title": "Camiseta"}}, None, None,
         {"kind": "product", "text": "Camiseta"}),
        ({"quotedMsg": {"type": "chat", "body": "o" * 500}, "quotedMsgId": IN}, IN, None,
         {"kind": "chat", "text": "o" * 120}),
        ({"quotedMsg": {"body": "oi", "id": IN, "author": ANA}}, IN, ANA, {"kind": "chat", "text": "oi",
                                                                            "author": ANA}),
        ({"quotedStanzaID": "x" * 1000}, None, None, None),
        ({"quotedMsg": "oi", "quotedParticipant": 0.5}, None, None, None),
    ],
)  # fmt: skip
def test_it_tells_what_it_answers_by_what_the_event_says(
    quoting: dict[str, Any], quoted_id: str | None, author: str | None, quoted: dict[str, Any] | None
) -> None:
    for event in (read("chat", **quoting), in_group(**quoting)):
        assert (event.quoted_id, event.quoted_author, event.detail.get("quoted")) == (quoted_id, author, quoted)


def test_it_lists_whom_it_mentions() -> None:
    listed = [ANA, {"_serialized": LID}, ANA, None, 5.5, {"user": "1", "server": "c.us"}]
    assert in_group(mentionedJidList=listed).detail == {"mentions": [ANA, LID, "1@c.us"]}
    assert in_group(mentionedJidList=[]).detail == {}


@pytest.mark.parametrize(
    ("more", "album"),
    [
        ({"parentMsgKey": f"false_{ANA}_3EB0ALBUM"}, "false_3EB0ALBUM"),
        ({"parentMsgKey": {"_serialized": f"false_{LID}_3EB0ALBUM"}, "associationType": "media_album"},
         "false_3EB0ALBUM"),
        ({"parentMsgKey": f"false_{ANA}_3EB0ALBUM", "associationType": "HD_IMAGE_DUAL_UPLOAD"}, None),
        ({"parentMsgKey": None}, None),
        ({"parentMsgKey": "x" * 1000}, None),
    ],
)  # fmt: skip
def test_it_keeps_what_the_pictures_of_an_album_have_in_common(more: dict[str, Any], album: str | None) -> None:
    assert read("image", **more).detail.get("album") == album
    assert "album" not in read("chat", **more).detail


@pytest.mark.parametrize(
    ("more", "author", "phone_id"),
    [
        ({"author": ANA}, ANA, None),
        ({"author": {"_serialized": LID}, "sender": {"id": LID, "phoneNumber": ANA}}, LID, ANA),
        ({"author": LID, "sender": {"id": ANA}}, LID, ANA),
        ({"author": None, "sender": {"id": BIA}}, BIA, None),
        ({"author": None}, ANA, None),  # the end of its id
        ({"author": None, "id": f"false_{GROUP}_3EB0GG"}, None, None),
        ({"author": GROUP, "id": f"false_{GROUP}_3EB0GG", "sender": {"id": GROUP}}, None, None),
        ({"fromMe": True, "from": ME}, None, None),
    ],
)
def test_it_tells_who_wrote_to_a_group_named_or_not(
    more: dict[str, Any], author: str | None, phone_id: str | None
) -> None:
    event = in_group(**more)
    assert (event.author, event.author_phone_id, event.phone_id) == (author, phone_id, None)


@pytest.mark.parametrize(
    ("sender", "book_name", "pushname", "known"),
    [
        ({"name": "Oficina do Zé"}, "Oficina do Zé", "Zé", None),
        ({"name": "Oficina", "isMyContact": True, "pushname": "José"}, "Oficina", "José", True),
        ({"formattedName": "Oficina", "isMyContact": True}, "Oficina", "Zé", True),
        ({"shortName": "Zé da Oficina", "formattedName": "+55 11 98765-0001", "isMyContact": True}, "Zé da Oficina",
         "Zé", True),
        ({"formattedName": "Zé"}, None, "Zé", None),  # for others, it is only how WhatsApp shows them
        ({"name": "Banco S.A.", "isMyContact": False}, None, "Zé", False),
        ({"name": "+55 11 98765-0001", "isMyContact": True}, None, "Zé", True),
        ({"name": "256420476400492", "pushname": "256420476400492"}, None, "Zé", None),
    ],
)  # fmt: skip
def test_it_tells_the_address_books_name_from_how_somebody_calls_themselves(
    sender: dict[str, Any], book_name: str | None, pushname: str, known: bool | None
) -> None:
    event = read("chat", body="oi", notifyName="Zé", sender=sender)
    assert (event.sender_name, event.pushname, event.in_address_book) == (book_name, pushname, known)


@pytest.mark.parametrize(
    ("times", "read_as"),
    [
        ({"t": 1_795_832_933.5}, 1_795_832_933),
        ({"t": "1795832933.5"}, 1_795_832_933),
        ({"t": 1_795_832_933_500_001}, 1_795_832_933),
        ({"t": None, "timestamp": 1_795_832_933_500}, 1_795_832_933),
        ({"t": "soon", "timestamp": "1795832933"}, 1_795_832_933),
        ({"t": None}, None),
    ],
)
def test_it_reads_when_it_was_said_in_any_unit(times: dict[str, Any], read_as: int | None) -> None:
    assert read("chat", body="oi", **times).timestamp == read_as
    revoked = parse({"type": "revoked", **times})
    assert (revoked.at and revoked.at // 1000) == read_as


def test_it_reads_the_edit_of_a_caption_and_who_made_it() -> None:
    edit = {"type": "protocol", "subtype": "message_edit", "protocolMessageKey": {"_serialized": IN}}
    event = parse({**edit, "from": GROUP, "author": BIA, "body": BASE64, "caption": "nova legenda"})
    assert event == Annotation(IN, "edit", BIA, 1000, {"body": "nova legenda"})
