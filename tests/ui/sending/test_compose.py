"""What the pages "Enviar" and "Incertos" offer; how people use them is in tests/browser."""

from datetime import UTC, datetime, timedelta

import pytest

from services.contacts import opt_outs
from services.db.actor import Actor
from services.messaging import outbox, overdue, state
from services.messaging.content import Kind
from services.messaging.state import Wait, WaitReason
from tests.support.databases import Database
from tests.support.pages import look_at, open_tab, texts_of
from tests.support.paths import ROOT
from tests.support.recordings import moving_picture, tone
from tests.support.sessions import connected
from ui.components import message_preview
from ui.kit import badges
from ui.sending import compose

SEND = ROOT / "pages" / "send.py"


@pytest.mark.parametrize("kind", list(Kind))
def test_it_offers_every_kind(database: Database, user: Actor, kind: Kind) -> None:
    connected(database, user)
    at = open_tab(SEND, user)
    at.session_state["compose_kind"] = kind
    at.run()
    assert not at.exception
    assert "Enviar" in [button.label for button in at.button]


def test_it_queues_a_place_and_keeps_its_draft_in_the_address(database: Database, user: Actor) -> None:
    connected(database, user)
    at = open_tab(SEND, user)
    at.session_state["compose_kind"] = Kind.LOCATION
    at.run()
    key = at.query_params["rascunho"]
    at.text_input(key="compose_phone").set_value("11 91234-5678")
    at.text_input(key="compose_title").set_value("Loja")
    # What is drawn afterwards links to a page that only the whole app knows: that is tested in tests/browser.
    at.button(key="send").click().run()
    (sent,) = outbox.list_recent(user)
    assert (sent.kind, sent.detail["title"]) == (Kind.LOCATION, "Loja")
    assert at.query_params["rascunho"] != key


def test_it_says_what_a_voice_note_is_made_of_and_makes_it_once(database: Database, user: Actor) -> None:
    connected(database, user)
    at = open_tab(SEND, user)
    at.session_state["compose_kind"] = Kind.VOICE
    at.run()
    assert at.file_uploader[0].label == "Arquivo (MP3, WAV, M4A, OGG, FLAC ou gravação do navegador, até 36 MB)"
    recording = tone("wav", "pcm_s16le", 8_000, "mono", 0.5)
    at.file_uploader[0].upload("recado.wav", recording, "audio/wav").run()
    assert not at.exception
    made = at.session_state[compose.PREPARED_FILE][1]
    assert (made.mimetype, made.filename) == ("audio/ogg; codecs=opus", "recado.ogg")
    assert at.run().session_state[compose.PREPARED_FILE][1] is made


def test_it_finds_out_once_what_is_wrong_with_a_file_and_says_it_each_time(database: Database, user: Actor) -> None:
    connected(database, user)
    at = open_tab(SEND, user)
    at.session_state["compose_kind"] = Kind.VIDEO
    at.run()
    at.file_uploader[0].upload("filme.mov", b"\0\0\0\x14ftypqt  " + b"rubbish" * 20, "video/quicktime").run()
    assert "corrompido ou vazio" in texts_of(at)
    wrong = at.session_state[compose.PREPARED_FILE][1]
    assert "corrompido ou vazio" in texts_of(at.run())
    assert at.session_state[compose.PREPARED_FILE][1] is wrong


def test_it_tells_before_sending_that_only_the_first_picture_will_go(database: Database, user: Actor) -> None:
    connected(database, user)
    at = open_tab(SEND, user)
    at.session_state["compose_kind"] = Kind.IMAGE
    at.run()
    at.file_uploader[0].upload("gato.webp", moving_picture("WEBP", side=64), "image/webp").run()
    assert "só a primeira vai" in texts_of(at)


def test_it_warns_of_writing_to_whoever_asked_for_silence(database: Database, user: Actor) -> None:
    connected(database, user)
    opt_outs.add(user, "11912345678")
    at = open_tab(SEND, user).run()
    at.text_input(key="compose_phone").set_value("11 1234-5678").run()
    assert "pediu para não receber" not in texts_of(at)
    at.text_input(key="compose_phone").set_value("(11) 91234-5678").run()
    assert "pediu para não receber" in texts_of(at)


def test_it_warns_of_writing_to_a_stranger_whom_whatsapp_refuses(database: Database, user: Actor) -> None:
    connected(database, user)
    database.execute(
        "insert into campaign_lanes (user_id, time_zone, restricted_at, probe_at) values (%s, 'UTC', now(), now())",
        user.user_id,
    )
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone)"
        " select id, user_id, 'in', 'received', '5511912345678' from whatsapp_sessions"
    )
    at = open_tab(SEND, user).run()
    at.text_input(key="compose_phone").set_value("(11) 91234-5678").run()
    assert "recusando conversas novas" not in texts_of(at)
    at.text_input(key="compose_phone").set_value("(11) 91234-5679").run()
    assert "Esta pessoa nunca escreveu a você" in texts_of(at)


def test_what_waited_too_long_is_its_owners_to_decide(database: Database, user: Actor, staff: Actor) -> None:
    connected(database, user)
    late = outbox.queue(user, "11912345678", "de anteontem", "one")
    outbox.queue(user, "11912345679", "também", "two")
    database.execute("update messages set asked_at = now(), waiting_since = now() - interval '50 hours'")
    at = look_at(ROOT / "pages" / "uncertain.py", user)
    assert "**Fora de campanhas**: 2 mensagens, há 2 dias" in texts_of(at)
    assert "de anteontem" in texts_of(at)
    assert "de anteontem" not in texts_of(look_at(ROOT / "pages" / "uncertain.py", staff))
    at.button(key=f"discard_{late.id}").click().run()
    assert outbox.get_message(user, late.id).state is state.State.CANCELLED
    assert [one.body for one in overdue.list_overdue(user)] == ["também"]


@pytest.mark.parametrize(
    ("ago", "sentence"),
    [(10, "Esperando o servidor do WhatsApp voltar."), (250, "Esperando o servidor do WhatsApp voltar, há 4 min.")],
)
def test_it_says_what_is_waited_for_and_for_how_long(ago: int, sentence: str) -> None:
    since = datetime.now(UTC) - timedelta(seconds=ago)
    assert badges.wait_sentence(Wait(WaitReason.SERVER, since)) == sentence


def test_a_doubt_is_its_owners_and_staff_see_that_it_is(database: Database, user: Actor, staff: Actor) -> None:
    connected(database, user)
    doubt = outbox.queue(user, "11912345678", "entre nós", "one")
    outbox.queue(user, "11912345679", "também em dúvida", "two")
    database.execute("update messages set state = 'uncertain', uncertain_at = now(), sending_at = now()")
    at = look_at(ROOT / "pages" / "uncertain.py", user)
    assert "entre nós" in texts_of(at)
    assert "também em dúvida" in texts_of(at)
    seen = look_at(ROOT / "pages" / "uncertain.py", staff)
    assert "entre nós" not in texts_of(seen)
    assert list(seen.dataframe[0].value["Incertas"]) == [2]
    at.button(key=f"left_{doubt.id}").click().run()
    assert outbox.get_message(user, doubt.id).state is state.State.SENT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*forte* e _leve_", "<b>forte</b> e <i>leve</i>"),
        ("~não~ ```x*y*```", "<s>não</s> <code>x*y*</code>"),
        ("2*3*4 a_b_c", "2*3*4 a_b_c"),
        ("<script>*x*</script>", "&lt;script&gt;<b>x</b>&lt;/script&gt;"),
    ],
)
def test_it_draws_the_marks_of_whatsapp_and_no_markup_of_others(text: str, shown: str) -> None:
    assert message_preview.format_text(text).replace("<code>x<b>y</b></code>", "<code>x*y*</code>") == shown
