"""A flood in which half the events call people by their other address, beside the same flood under one address.

`identity_joined`: the share of acknowledgements and reactions that found their message. `identity_doubled`: messages
that were stored twice. `identity_rate`: the pace of the first flood, as a share of the second's.
"""

import json
import time
from itertools import cycle
from uuid import uuid4

from bench.installation import BenchInstallation, figure, open_installation
from services.inbound import event_processing

PEOPLE = 50
MESSAGES = 400
REPEATS = 2
WARM_UP = 50


def run() -> None:
    """Both floods, by turns, each of a session of its own; the better of two counts."""
    with open_installation() as installation:
        _play(installation, mixed=True, messages=WARM_UP)  # connections, prepared statements
        rates = {mixed: max(_play(installation, mixed=mixed) for _ in range(REPEATS)) for mixed in (False, True)}
        sent = MESSAGES * REPEATS * 2 + WARM_UP
        ((joined, rows),) = installation.execute(
            "select (select count(*) from messages m where direction = 'out' and ack = 3)"
            " + (select count(distinct a.wpp_id) from message_annotations a join messages m"
            "      on m.session_id = a.session_id and m.wpp_id = a.wpp_id), (select count(*) from messages)"
        )
        figure("identity_joined", int(str(joined)) / (2 * sent), "share")
        figure("identity_doubled", int(str(rows)) - 2 * sent, "messages")
        figure("identity_rate", rates[True] / rates[False], "ratio")


def _play(installation: BenchInstallation, *, mixed: bool, messages: int = MESSAGES) -> float:
    """Events a second of one flood: to each of `messages` texts that came in a reaction and the text again, as it is
    read back, and to each of as many that went out three acknowledgements."""
    user_id, _ = installation.session()
    name = f"user_{user_id}"
    _link(installation, name)
    events: list[dict[str, object]] = []
    sent: list[tuple[str, str]] = []
    other = cycle((False, True)) if mixed else cycle((False,))
    for number in range(messages):
        person = number % PEOPLE
        stanza = uuid4().hex
        events += [_message(name, _address(person, anonymous=next(other)), stanza)]
        events += [_reaction(_address(person, anonymous=next(other)), stanza)]
        next(other)
        events += [{**_message(name, _address(person, anonymous=next(other)), stanza), "event": "unreadmessages"}]
        events += [_ack(_address(person, anonymous=next(other)), f"{stanza}S", ack) for ack in (1, 2, 3)]
        sent.append((_address(person, anonymous=False), f"{stanza}S"))
    _store_sent(installation, name, sent)
    _store(installation, name, events)
    started = time.perf_counter()
    while event_processing.process():
        pass
    return len(events) / (time.perf_counter() - started)


def _address(person: int, *, anonymous: bool) -> str:
    return f"1234567890{person:05}@lid" if anonymous else f"55119{person:08}@c.us"


def _link(installation: BenchInstallation, name: str) -> None:
    installation.execute(
        "select app.get_or_create_contact(s.id, a || '@c.us', a, l, false) from whatsapp_sessions s,"
        " unnest(%s::text[], %s::text[]) as x (a, l) where s.session_id = %s",
        [_address(person, anonymous=False).removesuffix("@c.us") for person in range(PEOPLE)],
        [_address(person, anonymous=True) for person in range(PEOPLE)],
        name,
    )


def _store_sent(installation: BenchInstallation, name: str, sent: list[tuple[str, str]]) -> None:
    """Messages of ours that the server has accepted, to these addresses under these ids."""
    installation.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, wpp_id, contact_id, idempotency_key)"
        " select s.id, s.user_id, 'out', 'accepted', split_part(x.address, '@', 1), 'oi',"
        "   'true_' || x.address || '_' || x.stanza, a.contact_id, x.stanza"
        "  from unnest(%s::text[], %s::text[]) as x (address, stanza), whatsapp_sessions s join contact_addresses a"
        "    on a.session_id = s.id where s.session_id = %s and a.address = app.get_address_key(x.address)",
        [address for address, _ in sent], [stanza for _, stanza in sent], name,
    )  # fmt: skip


def _store(installation: BenchInstallation, name: str, events: list[dict[str, object]]) -> None:
    installation.execute(
        "insert into events (session, current_secret, kind, verdict, request_id, body)"
        " select %s, true, b ->> 'event', 'received', gen_random_uuid(), b::text from unnest(%s::jsonb[]) b",
        name,
        [json.dumps(event) for event in events],
    )


def _message(session: str, chat: str, stanza: str) -> dict[str, object]:
    return {"event": "onmessage", "session": session, "id": f"false_{chat}_{stanza}", "body": "oi", "type": "chat",
            "t": int(time.time()), "from": chat, "to": "5511988887777@c.us", "fromMe": False}  # fmt: skip


def _reaction(chat: str, stanza: str) -> dict[str, object]:
    return {"event": "onreactionmessage", "id": f"false_{chat}_{stanza}R", "msgId": f"false_{chat}_{stanza}",
            "reactionText": "👍", "timestamp": int(time.time() * 1000)}  # fmt: skip


def _ack(chat: str, stanza: str, ack: int) -> dict[str, object]:
    return {"event": "onack", "id": {"_serialized": f"true_{chat}_{stanza}"}, "ack": ack}


if __name__ == "__main__":
    run()
