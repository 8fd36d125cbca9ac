"""Payloads of both dialects, and every malformed one that Hypothesis can think of."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.wppconnect import payload_fields
from services.wppconnect.event_keys import (
    MAX_KIND_CHARS,
    MAX_MESSAGE_ID_CHARS,
    EventKey,
    get_dedupe_key,
    get_event_key,
    get_message_key,
)
from services.wppconnect.event_parsing import KINDS_NOT_HANDLED, parse_event
from services.wppconnect.events import (
    Ack,
    Annotation,
    Event,
    InboundMessage,
    PhoneCode,
    QrCode,
    SessionClosed,
    StatusFind,
    StoredFile,
    Unsupported,
)

FIXTURES = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "fixtures").glob("*.json")}
SESSION = "user_0b8a6f7e-2c1d-4e5f-9a3b-7c6d5e4f3a2b"
ANA, ME = "5511999999999@c.us", "5511988887777@c.us"
IN, OUT = f"false_{ANA}_3EB0AAAA", f"true_{ANA}_3EB0BBBB_out"
LID, GROUP = "123456789012345@lid", "120363000000000000@g.us"
PNG = FIXTURES["qrcode__stock"]["qrcode"]
TEXT = InboundMessage(
    id=IN, from_=ANA, to=ME, chat_id=ANA, type="chat", body="Olá", timestamp=1_760_000_000,
    sender_id=ANA, sender_name="Ana Souza", pushname="Ana", in_address_book=True,
)  # fmt: skip


def text(**more: Any) -> InboundMessage:
    return InboundMessage(**{**vars(TEXT), **more})


EXPECTED: dict[str, Event] = {
    "qrcode__stock": QrCode("2@AbC,dEf,gHi", PNG),
    "qrcode__overview": QrCode(None, PNG),
    "phoneCode__stock": PhoneCode("ABCD-1234", "5511988887777"),
    "phoneCode__after_restart_without_session": PhoneCode("ABCD-1234", "5511988887777"),
    "status-find__in_chat": StatusFind("inChat"),
    "status-find__is_logged": StatusFind("isLogged"),
    "status-find__not_logged": StatusFind("notLogged"),
    "status-find__qr_read_success": StatusFind("qrReadSuccess"),
    "status-find__qr_read_fail": StatusFind("qrReadFail"),
    "status-find__qr_read_error": StatusFind("qrReadError"),
    "status-find__autoclose_called": StatusFind("autocloseCalled"),
    "status-find__browser_close": StatusFind("browserClose"),
    "status-find__server_close": StatusFind("serverClose"),
    "status-find__disconnected_mobile": StatusFind("disconnectedMobile"),
    "status-find__phone_not_connected": StatusFind("phoneNotConnected"),
    "status-find__overview_connected": StatusFind("inChat"),
    "closesession__stock": SessionClosed("closesession"),
    "logoutsession__stock": SessionClosed("logoutsession"),
    "onmessage__text": TEXT,
    "onmessage__image": text(id=IN + "1", body="/9j/4AAQ", caption="a foto", mimetype="image/jpeg", type="image"),
    "onmessage__lid": text(
        id="false_123456789012345@lid_3EB0CCCC", from_=LID, chat_id=LID, sender_id=LID, sender_name=None,
        in_address_book=None,
    ),
    "onmessage__group": text(
        id=f"false_{GROUP}_3EB0DDDD_{ANA}", from_=GROUP, chat_id=GROUP, is_group=True, author=ANA
    ),
    "onmessage__group_quoting": text(
        id=f"false_{GROUP}_3EB0GQ_{ANA}", from_=GROUP, chat_id=GROUP, is_group=True, author=ANA, sender_name=None,
        pushname=None, in_address_book=False, body="@5511988880000 sim", quoted_id="3EB0C13",
        quoted_author="5511977770000@c.us",
        detail={
            "quoted": {"kind": "chat", "text": "Qual o preço?", "author": "5511977770000@c.us"},
            "mentions": ["5511988880000@c.us"],
        },
    ),
    "onmessage__location": text(
        id=f"false_{ANA}_3EB0LOC", type="location", body="",
        detail={"lat": -23.5505, "lng": -46.6333, "title": "Praça da Sé", "address": "Centro, São Paulo"},
    ),
    "onmessage__vcard": text(
        id=f"false_{ANA}_3EB0CARD", type="vcard", body="Bia Lima",
        detail={"name": "Bia Lima", "phone": "+55 11 98888-0000"},
    ),
    "onmessage__poll": text(
        id=f"false_{ANA}_3EB0POLL", type="poll_creation", body="", detail={"name": "Vamos?", "options": ["Sim", "Não"]}
    ),
    "onmessage__quoting": text(
        id=f"false_{ANA}_3EB0QUOTE", body="Isso!", quoted_id="3EB0BBBB", quoted_author=ME,
        detail={"quoted": {"kind": "chat", "text": "Oi", "author": ME}},
    ),
    "onmessage__file_put_aside": text(
        id=f"false_{ANA}_3EB0FILE", type="ptt", body="", mimetype="audio/ogg; codecs=opus", size=4096,
        file=StoredFile(b"\xab" * 32, 4096), detail={"seconds": 3},
    ),
    "onmessage__edit": Annotation(IN, "edit", ANA, 1_760_000_060_123, {"body": "Olá de novo"}),
    "onmessage__lid_and_phone": text(
        id=f"false_{LID}_3EB0BOTH", from_=LID, chat_id=LID, sender_id=LID, sender_name=None, phone_id=ANA,
        in_address_book=None,
    ),
    "onmessage__album": Unsupported("onmessage", "a notice of WhatsApp itself"),
    "onmessage__album_picture": text(
        id=f"false_{ANA}_3EB0PIC1", type="image", body="", caption="um", mimetype="image/jpeg", size=4096,
        file=StoredFile(b"\xab" * 32, 4096), detail={"album": "false_3EB0ALBUM"},
    ),
    "onmessage__list_response": text(
        id=f"false_{ANA}_3EB0LIST", type="list_response", body="Plano B", detail={"chosen_id": "b"}
    ),
    "onmessage__buttons_response": text(
        id=f"false_{ANA}_3EB0BUTTON", type="buttons_response", body="Sim", detail={"chosen_id": "1"}
    ),
    "onmessage__template_button_reply": text(
        id=f"false_{ANA}_3EB0REPLY", type="template_button_reply", body="SAIR", detail={"chosen_id": "sair"}
    ),
    "onmessage__interactive": text(
        id=f"false_{ANA}_3EB0ASK", type="interactive", body="Pague\nSeu pedido",
        detail={"title": "Pague", "buttons": ["Pagar"], "footer": "Loja"},
    ),
    "onmessage__interactive_answer": text(
        id=f"false_{ANA}_3EB0FLOW", type="interactive", body="SAIR", detail={"chosen_id": "out"}
    ),
    "onmessage__order": text(
        id=f"false_{ANA}_3EB0ORDER", type="order", body="Entrega hoje?",
        detail={"order_id": "77", "title": "Pedido", "count": 2, "total": 120_500, "currency": "BRL"},
    ),
    "onmessage__product": text(
        id=f"false_{ANA}_3EB0PROD", type="product", body="Camiseta", mimetype="image/jpeg", size=90_000,
        detail={"title": "Camiseta", "price": 59_000, "currency": "BRL"},
    ),
    "onmessage__groups_v4_invite": text(
        id=f"false_{ANA}_3EB0INVITE", type="groups_v4_invite", body="Vem!",
        detail={"name": "Turma", "group": "120363000000000009@g.us", "expires_at": 1_760_086_400},
    ),
    "onmessage__event_creation": text(
        id=f"false_{ANA}_3EB0EVENT", type="event_creation", body="Reunião\nTrazer a ata",
        detail={"name": "Reunião", "description": "Trazer a ata", "place": "Sala 2", "starts_at": 1_760_003_600},
    ),
    "onmessage__multi_vcard": text(
        id=f"false_{ANA}_3EB0CARDS", type="multi_vcard", body="Bruna Alves\nCaio",
        detail={"contacts": [
            {"name": "Bruna Alves", "phone": "+5511977776666"}, {"name": "Caio", "phone": "+5521966665555"},
        ]},
    ),
    "onmessage__poll_v3": text(
        id=f"false_{ANA}_3EB0POLL3", type="poll_creation", body="",
        detail={"name": "Que dia?", "options": ["Segunda", "Sexta"]},
    ),
    "onmessage__hsm": text(
        id=f"false_{ANA}_3EB0HSM", type="hsm", body="Boleto\nVence amanhã",
        detail={"buttons": ["Já paguei", "Abrir"], "footer": "Loja"},
    ),
    "onmessage__view_once": text(
        id=f"false_{ANA}_3EB0ONCE", type="image", body="", mimetype="image/jpeg", detail={"view_once": True}
    ),
    "onmessage__view_once_elsewhere": text(
        id=f"false_{ANA}_3EB0ONCE2", type="view_once", body="", detail={"view_once": True}
    ),
    "onmessage__revoked": Annotation(
        f"false_{ANA}_3EB0GONE", "revoke", ANA, 1_760_000_000_000,
        left=text(id=f"false_{ANA}_3EB0GONE", type="revoked", body=""),
    ),
    "onmessage__unknown_kind": text(id=f"false_{ANA}_3EB0NEW", type="hologram", body=""),
    "unreadmessages__text": TEXT,
    "onselfmessage__text": text(
        id=f"true_{ANA}_3EB0EEEE", from_me=True, from_=ME, to=ANA, sender_id=ME, sender_name=None, pushname="Eu", ack=1,
        in_address_book=None,
    ),
    "onreactionmessage__stock": Annotation(OUT, "reaction", ANA, 1_760_000_000_123, {"emoji": "👍"}),
    "onrevokedmessage__stock": Annotation(IN, "revoke", ANA),
    "onpollresponse__stock": Annotation(OUT, "vote", ANA, 1_760_000_000_123, {"options": ["Sim"]}),
    "incomingcall__stock": InboundMessage(
        id="call_CALL0001", from_=ANA, to=None, chat_id=ANA, type="call", timestamp=1_760_000_000,
        detail={"video": False, "group": False},
    ),
    "onack__received": Ack(OUT, 2),
    "onack__failed": Ack(OUT, -1),
    "onack__id_without_serialized": Ack(OUT, 3),
    **{f"{kind}__stock": Unsupported(kind, "not handled") for kind in KINDS_NOT_HANDLED},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FIXTURES))
def test_it_reads_every_documented_event(name: str) -> None:
    assert parse_event(FIXTURES[name]) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(FIXTURES))
def test_it_names_every_documented_event(name: str) -> None:
    key = get_event_key(FIXTURES[name])
    assert key.kind == name.partition("__")[0]
    assert key.session == (None if "without_session" in name else SESSION)


def test_it_has_a_fixture_for_everything_it_expects() -> None:
    assert set(FIXTURES) == set(EXPECTED)


def test_it_knows_which_steps_prove_a_connection() -> None:
    proving = {name for name, event in EXPECTED.items() if isinstance(event, StatusFind) and event.connected}
    assert proving == {"status-find__in_chat", "status-find__is_logged", "status-find__overview_connected"}


def test_it_hides_contents_in_representations() -> None:
    shown = repr([EXPECTED[name] for name in ("qrcode__stock", "phoneCode__stock", "onmessage__image")])
    for private in (PNG, "2@AbC", "ABCD-1234", "/9j/4AAQ", "a foto", "Ana"):
        assert private not in shown


# Malformed

MALFORMED: list[dict[str, Any]] = [
    {"event": "qrcode"},
    {"event": "qrcode", "urlcode": "", "qrcode": None},
    {"event": "qrcode", "urlcode": ["2@x"], "qrcode": '" onload="x'},
    {"session": SESSION, "status": "QRCODE"},
    {"session": SESSION, "status": "QRCODE", "qrcode": "data:text/html;base64,AAAA"},
    {"event": "phoneCode", "phone": "5511"},
    {"event": "phoneCode", "phoneCode": {"a": 1}},
    {"event": "status-find"},
    {"event": "status-find", "status": 3},
    {"event": "status-find", "status": "x" * 65},
    {"event": "onmessage"},
    {"event": "onmessage", "id": IN},
    {"event": "onmessage", "from": ANA},
    {"event": "onmessage", "id": {"_serialized": 0.5}, "from": ANA},
    {"event": "onmessage", "id": "x" * (MAX_MESSAGE_ID_CHARS + 1), "from": ANA},
    {"event": "onmessage", "id": IN, "from": {"user": 5}},
    {"event": "unreadmessages", "id": [], "from": []},
    {"event": "onack", "id": OUT},
    {"event": "onack", "id": OUT, "ack": "read"},
    {"event": "onack", "id": OUT, "ack": True},
    {"event": "onack", "id": OUT, "ack": 10**6},
    {"event": "onack", "ack": 1},
]


@pytest.mark.parametrize("payload", MALFORMED)
def test_it_calls_a_malformed_event_what_it_is(payload: dict[str, Any]) -> None:
    event = parse_event(payload)
    assert isinstance(event, Unsupported)
    assert event.kind == payload.get("event", "qrcode")
    assert event.reason.startswith("malformed: ")


@pytest.mark.parametrize("event", [None, 5, {}, [], "", "something-new", "onMessage"])
def test_it_keeps_an_event_whose_name_was_overwritten(event: Any) -> None:
    found = parse_event({**FIXTURES["onmessage__text"], "event": event})
    assert isinstance(found, Unsupported)
    assert found.reason == "unknown event"


def test_it_reads_loose_types() -> None:
    payload = {
        "event": "onmessage", "id": IN, "from": 5511999999999, "to": None, "type": 7, "body": 12, "t": "1760000000",
        "sender": "nobody", "isGroupMsg": "yes", "chatId": 0.5, "notifyName": "Ana", "fromMe": 1, "caption": {},
    }  # fmt: skip
    assert parse_event(payload) == InboundMessage(
        id=IN, from_="5511999999999", to=None, chat_id="5511999999999", type="7", body="12",
        timestamp=1_760_000_000, pushname="Ana",
    )  # fmt: skip


def test_it_takes_a_message_of_one_own_for_what_its_id_says() -> None:
    event = parse_event({"event": "onmessage", "id": f"true_{ANA}_X", "from": ME, "to": ANA})
    assert isinstance(event, InboundMessage)
    assert event.from_me
    assert event.chat_id == ANA


def test_it_reads_milliseconds_and_no_absurd_times() -> None:
    times = [1_760_000_000_123, 1_760_000_000.0, 0, -5, 10**18, "soon", None, True, float("inf")]
    events = [parse_event({**FIXTURES["onmessage__text"], "t": moment}) for moment in times]
    found = [event.timestamp for event in events if isinstance(event, InboundMessage)]
    assert found == [1_760_000_000, 1_760_000_000, *[None] * 7]


def test_it_makes_texts_that_the_database_takes() -> None:
    event = parse_event({**FIXTURES["onmessage__text"], "body": "a\x00b\ud800c", "id": f"{IN}\x00"})
    assert isinstance(event, InboundMessage)
    assert (event.body, event.id) == ("ab?c", IN)


NOTICES = ("e2e_notification", "gp2", "notification_template", "call_log")


@pytest.mark.parametrize("kind", ["onmessage", "unreadmessages", "onselfmessage"])
def test_it_takes_no_notice_of_whatsapp_itself_for_a_message(kind: str) -> None:
    plain = {**FIXTURES["onmessage__text"], "event": kind}
    for payload in (*({**plain, "type": type_} for type_ in NOTICES), {**plain, "isNotification": True}):
        assert isinstance(parse_event(payload), Unsupported)
    assert isinstance(parse_event({**plain, "isNotification": False}), InboundMessage)
    assert isinstance(parse_event({**plain, "from": "status@broadcast", "chatId": "status@broadcast"}), Unsupported)


def test_it_tells_of_what_was_deleted_by_what_is_left_of_it() -> None:
    left = {**FIXTURES["onmessage__text"], "type": "revoked", "body": "", "isNotification": True}
    assert parse_event(left) == Annotation(IN, "revoke", ANA, 1_760_000_000_000, left=text(type="revoked", body=""))


@pytest.mark.parametrize("address", ["120363000000000001@newsletter", "1234@broadcast"])
def test_it_calls_a_channel_and_a_list_no_group(address: str) -> None:
    event = parse_event({**FIXTURES["onmessage__text"], "from": address, "chatId": address, "isGroupMsg": True})
    assert isinstance(event, InboundMessage)
    assert not event.is_group


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (OUT, "true_3EB0BBBB"),
        (f"true_{LID}_3EB0BBBB_out", "true_3EB0BBBB"),
        (f"true_{ANA}_3EB0BBBB", "true_3EB0BBBB"),
        (f"true_{GROUP}_3EB0BBBB_{ME}_out", "true_3EB0BBBB"),
        (f"false_{GROUP}_3EB0BBBB_{ANA}", "false_3EB0BBBB"),
        ("call_39BB", "call_39BB"),
        ("3EB0BBBB", "3EB0BBBB"),
        ("a__b", "a_b"),
        ("a_b_", "a_b_"),
    ],
)
def test_it_knows_what_all_names_of_a_message_have_in_common(name: str, key: str) -> None:
    assert get_message_key(name) == key


# What tells two deliveries apart


def test_it_tells_a_message_that_can_be_read_now_or_was_edited_from_the_first_one() -> None:
    plain = FIXTURES["onmessage__text"]
    unreadable = {**plain, "type": "ciphertext", "body": ""}
    edited = [{**plain, "latestEditSenderTimestampMs": at} for at in (1_760_000_001_000, 1_760_000_002_000)]
    keys = [key_of(one) for one in (plain, unreadable, *edited)]
    assert None not in keys
    assert len(set(keys)) == 4
    assert key_of({**plain, "latestEditSenderTimestampMs": None}) == keys[0]
    assert key_of(dict(unreadable)) == keys[1]


def key_of(payload: dict[str, Any], session: str = SESSION) -> bytes | None:
    return get_dedupe_key(session, get_event_key(payload))


WITH_KEY = {
    "onmessage", "onselfmessage", "unreadmessages", "onack", "onreactionmessage", "onrevokedmessage", "onpollresponse",
    "incomingcall",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FIXTURES))
def test_it_gives_a_key_to_messages_only(name: str) -> None:
    key = key_of(FIXTURES[name])
    assert (key is not None) == (name.partition("__")[0] in WITH_KEY)
    assert key == key_of(json.loads(json.dumps(FIXTURES[name])))


def test_it_gives_different_keys_to_different_events() -> None:
    ack = FIXTURES["onack__received"]
    events = [
        key_of(ack),
        key_of({**ack, "ack": 3}),
        key_of({**ack, "id": IN}),
        key_of(ack, session="user_b"),
        key_of(FIXTURES["onmessage__text"]),
        key_of(FIXTURES["unreadmessages__text"]),
        key_of({"event": "onmessage", "id": OUT}),
    ]
    assert None not in events
    assert len(set(events)) == len(events)


def test_it_finds_the_same_ack_in_both_forms_of_its_id() -> None:
    ack = FIXTURES["onack__received"]
    assert key_of(ack) == key_of({**ack, "id": OUT}) == key_of({**ack, "session": "another", "t": 5})


def test_it_ignores_the_ack_that_a_message_carries() -> None:
    message = FIXTURES["onmessage__text"]
    assert key_of(message) == key_of({**message, "ack": 3})


def test_it_tells_reactions_to_one_message_apart() -> None:
    reaction = FIXTURES["onreactionmessage__stock"]
    other_time = {**reaction, "timestamp": reaction["timestamp"] + 1}
    other_emoji = {**reaction, "reactionText": ""}
    keys = [key_of(one) for one in (reaction, other_time, other_emoji)]
    assert None not in keys
    assert len(set(keys)) == 3
    assert key_of({**reaction, "timestamp": None}) is None
    assert "👍" not in repr(get_event_key(reaction))


def test_it_tells_the_votes_in_one_poll_apart() -> None:
    vote = FIXTURES["onpollresponse__stock"]
    keys = [key_of(one) for one in (vote, {**vote, "sender": ME}, {**vote, "timestamp": vote["timestamp"] + 1})]
    assert None not in keys
    assert len(set(keys)) == 3


def test_it_has_a_key_that_stays_the_same_over_releases() -> None:
    key = EventKey("onack", None, OUT, 2)
    assert get_dedupe_key(SESSION, key) == bytes.fromhex("dbdd4abb77579040d0a55e72ef732a91")


def test_it_ignores_ids_too_long_to_be_one() -> None:
    longest = "x" * MAX_MESSAGE_ID_CHARS
    for kind in ("onmessage", "incomingcall"):
        assert get_event_key({"event": kind, "id": longest}).message_id is not None
        assert get_event_key({"event": kind, "id": f"{longest}x"}).message_id is None
    assert get_event_key({"event": "onmessage", "session": "x" * 200}).session is None


# Properties

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from(sorted({name.partition("__")[0] for name in FIXTURES}))
keys = st.sampled_from(
    ["id", "from", "to", "chatId", "type", "body", "t", "sender", "ack", "status", "qrcode", "urlcode", "phoneCode",
     "session", "_serialized", "remote", "fromMe", "user", "server", "msgId", "refId", "timestamp", "notifyName",
     "quotedMsg", "mentionedJidList", "parentMsgKey", "vcardList", "vcard", "listResponse", "list", "sections", "rows",
     "nativeFlow", "paramsJson", "buttons", "hydratedButtons", "products", "title", "pollOptions", "author",
     "subtype"]
)  # fmt: skip
TYPES = sorted({str(one["type"]) for one in FIXTURES.values() if "type" in one})
payloads = st.builds(
    lambda kind, rest: {"event": kind, **rest},
    kinds | st.text(max_size=80) | json_values,
    st.dictionaries(keys, json_values | st.dictionaries(keys, json_values, max_size=4), max_size=8),
)
messages = st.builds(
    lambda type_, rest: {**rest, "event": "onmessage", "id": IN, "from": ANA, "type": type_},
    st.sampled_from(TYPES),
    st.dictionaries(keys, json_values | st.dictionaries(keys, json_values, max_size=4), max_size=8),
)


def storable(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(storable(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return all(map(storable, value))
    return not isinstance(value, str) or ("\x00" not in value and value.encode() is not None)


@settings(deadline=None, max_examples=300)
@given(payloads | messages | json_values)
def test_it_never_raises(payload: Any) -> None:
    event, key = parse_event(payload), get_event_key(payload)
    assert len(key.kind) <= MAX_KIND_CHARS
    assert key.kind
    assert len(key.message_id or "") <= MAX_MESSAGE_ID_CHARS
    assert key.ack is None or -100 <= key.ack <= 100
    assert get_dedupe_key(SESSION, key) == get_dedupe_key(SESSION, key)
    assert all(storable(value) for value in [*vars(event).values(), *key])
    if isinstance(event, Unsupported):
        assert event.kind == key.kind


@settings(deadline=None)
@given(st.sampled_from(sorted(FIXTURES)), st.data())
def test_it_survives_any_one_field_gone_wrong(name: str, data: st.DataObject) -> None:
    payload = dict(FIXTURES[name])
    field = data.draw(st.sampled_from(sorted(payload)))
    payload[field] = data.draw(json_values)
    assert isinstance(parse_event(payload), Event)
    assert get_event_key(payload).kind


@given(st.integers(-7, 4), st.text(min_size=1, max_size=60).filter(lambda text: text.isalnum()))
def test_it_reads_back_every_ack(ack: int, unique: str) -> None:
    message_id = f"true_{ANA}_{unique}"
    key = {"fromMe": True, "remote": ANA, "id": unique}
    for form in (message_id, key, {**key, "_serialized": message_id}):
        payload = {"event": "onack", "session": SESSION, "id": form, "ack": ack}
        assert parse_event(payload) == Ack(message_id, ack)
        assert get_event_key(payload) == EventKey("onack", SESSION, message_id, ack)


@given(st.text(max_size=200), st.text(max_size=40), st.integers(1, payload_fields.LAST_SECOND))
def test_it_reads_back_every_message(body: str, name: str, moment: int) -> None:
    payload = {"event": "onmessage", "id": IN, "from": ANA, "body": body, "notifyName": name, "t": moment}
    event = parse_event(payload)
    assert isinstance(event, InboundMessage)
    assert (event.body, event.pushname, event.timestamp) == (
        payload_fields.storable(body),
        payload_fields.name(name),
        moment,
    )


@given(st.sampled_from(["data:image/png;base64,", "data:image/jpeg;base64,", ""]), st.binary(min_size=1, max_size=50))
def test_it_reads_back_every_picture(prefix: str, picture: bytes) -> None:
    encoded = base64.b64encode(picture).decode()
    for payload in ({"event": "qrcode", "qrcode": prefix + encoded}, {"status": "QRCODE", "qrcode": prefix + encoded}):
        assert parse_event(payload) == QrCode(None, encoded)
