"""A group's thread as its owner sees it on the page "Conversas"."""

from datetime import UTC, datetime
from typing import Any

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.inbound import ingest
from services.wppconnect.event_parsing import parse_event
from services.wppconnect.events import InboundMessage
from tests.support.databases import Database
from tests.support.pages import look_at, texts_of
from tests.support.paths import ROOT
from tests.support.sessions import connected

PAGE = ROOT / "pages" / "conversations.py"
GROUP, ANA, BIA = "120363000000000000@g.us", "5511999999999@c.us", "5511977770000@c.us"


def take(database: Database, user: Actor, stanza: str, **payload: Any) -> None:
    event = parse_event(
        {"event": "onmessage", "id": f"false_{GROUP}_{stanza}_{ANA}", "from": GROUP, "chatId": GROUP, "author": ANA,
         "t": int(datetime.now(UTC).timestamp()), **payload}
    )  # fmt: skip
    assert isinstance(event, InboundMessage)
    with transaction(SYSTEM) as tx:
        ingest.ingest_message(tx, database.one("select id from whatsapp_sessions"), event, datetime.now(UTC))


def test_it_shows_who_wrote_what_they_answer_and_whom_they_mention(user: Actor, database: Database) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set phone_number = '5511988887777'")
    take(database, user, "A", type="chat", body="@5511977770000 @5511988887777 sim", mentionedJidList=[
        BIA, "5511988887777@c.us"], quotedStanzaID="3EB0", quotedParticipant=BIA,
        quotedMsg={"type": "chat", "body": "Qual o preço?"})  # fmt: skip
    take(database, user, "B", type="chat", body="eu", author=BIA, notifyName="Bia")
    take(database, user, "C", type="image", isViewOnce=True)
    take(database, user, "D", type="chat", body="e isto?", quotedStanzaID="3EB1")
    for picture in ("E", "F"):
        take(
            database, user, picture, type="image", parentMsgKey=f"false_{GROUP}_ALBUM_{ANA}", caption=f"foto {picture}"
        )
    at = look_at(PAGE, user, contato=str(database.one("select id from contacts where is_group")))
    said = texts_of(at)
    for expected in (
        r"**\+55 11 99999\-9999**",
        "> **Bia** Qual o preço?",
        "@Bia @Você sim",
        "**Bia**",
        "Foto de visualização única: abra no celular",
        "> mensagem anterior",
        "foto E",
        "foto F",
    ):
        assert expected in said
    # Both pictures wait for their file; what can be opened once does not.
    assert database.one("select count(*) from messages where fetch_at is not null") == 2
