"""Every way a call can fail, caused for real, and that no failure tells a secret."""

import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
from starlette.responses import Response

from services.wppconnect import errors, responses, results, routes
from services.wppconnect.client import SentMessage, SessionState, WppClient
from services.wppconnect.http_caller import Timeouts
from services.wppconnect.http_transport import get_transport_error
from tests.support.wpp_fakes import (
    NOT_FOUND_PAGE,
    SECRET,
    SESSION,
    SHORT_TIMEOUTS,
    FakeServer,
    ReceivedRequest,
    answer_bad_gzip,
    answer_half_headers,
    answer_not_http,
    answer_truncated,
    close_connection,
    closed_port,
    full_backlog,
    keep_open,
    raw_server,
    reset_connection,
    respond_with,
)

TEXT = "a-very-private-text"
PHONE = "5511987654321"
WEBHOOK_SECRET = "webhook-pass"

Call = Callable[[WppClient, str], object]


def send(client: WppClient, url: str) -> SentMessage:
    return client.send_text(url, SESSION, PHONE, TEXT)


def read(client: WppClient, url: str) -> SessionState:
    return client.status_session(url, SESSION)


def clear(client: WppClient, url: str) -> None:
    client.clear_session_data(url, SESSION)


def start(client: WppClient, url: str) -> SessionState:
    return client.start_session(url, SESSION, f"https://wpp:{WEBHOOK_SECRET}@console.example/x")


CHANGES: list[Call] = [send, clear, start]


def failure(call: Call, url: str, **options: Any) -> errors.WppError:
    with (
        WppClient({url: SECRET}, timeouts=SHORT_TIMEOUTS, **options) as client,
        pytest.raises(errors.WppError) as caught,
    ):
        call(client, url)
    return caught.value


# A restricted account


@pytest.mark.parametrize(
    ("route", "status", "body", "expected"),
    [
        (routes.SEND, 500, {"error": {"code": 463}}, errors.WppRestricted),
        (routes.SEND, 500, {"error": {"code": "463"}}, errors.WppRestricted),
        (routes.SEND, 500, {"error": {"message": "sending failed: error 463"}}, errors.WppRestricted),
        (routes.SEND_FILE, 500, {"message": "REACHOUT_TIMELOCK", "error": {}}, errors.WppRestricted),
        (routes.SEND, 500, {"error": "account is under a reach-out time lock"}, errors.WppRestricted),
        # What a server repeats of the message, or of its own set-up, says nothing of the account.
        (routes.SEND, 500, {"error": {"config": {"data": f"timelock {TEXT}"}}}, errors.WppOutcomeUnknown),
        (routes.SEND, 500, {"message": "Erro ao enviar a mensagem 463.", "error": {}}, errors.WppOutcomeUnknown),
        # A 400 is sent all the same, and another route sends nothing to strangers.
        (routes.SEND, 400, {"error": {"code": 463}}, errors.WppOutcomeUnknown),
        (routes.NUMBER, 500, {"error": {"code": 463}}, errors.WppNoAnswer),
    ],
)
def test_it_knows_a_restriction_where_an_error_names_it(
    route: routes.Route, status: int, body: dict[str, Any], expected: type[Exception]
) -> None:
    with pytest.raises(errors.WppError) as caught:
        responses.raise_for_error(route, responses.Answer(status, body, is_json=True))
    assert type(caught.value) is expected


# Below HTTP


def every(cls: type[Exception]) -> Iterator[type[Any]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from every(sub)


NOTHING_LEFT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
MAY_HAVE_LEFT = {
    "TimeoutException", "ReadTimeout", "WriteTimeout", "NetworkError", "ReadError", "WriteError", "CloseError",
    "ProtocolError", "LocalProtocolError", "RemoteProtocolError", "DecodingError", "TooManyRedirects",
}  # fmt: skip


@pytest.mark.parametrize("kind", [*every(httpx.TransportError), httpx.DecodingError, httpx.TooManyRedirects])
def test_it_maps_every_transport_error(kind: type[httpx.RequestError]) -> None:
    error = kind(f"https://host/{SECRET}")
    if kind.__name__ == "UnsupportedProtocol":
        expected: tuple[type, type] = (errors.WppRefused, errors.WppRefused)
    elif kind.__name__ in NOTHING_LEFT:
        expected = (errors.WppUnreachable, errors.WppUnreachable)
    else:
        assert kind.__name__ in MAY_HAVE_LEFT, "a kind of error that nobody has thought about"
        expected = (errors.WppOutcomeUnknown, errors.WppNoAnswer)
    found = get_transport_error(error, routes.SEND), get_transport_error(error, routes.STATUS)
    assert (type(found[0]), type(found[1])) == expected
    assert SECRET not in str(found)


@pytest.mark.parametrize("call", [*CHANGES, read])
def test_it_may_be_repeated_when_nobody_listens(call: Call) -> None:
    found = failure(call, closed_port())
    assert type(found) is errors.WppUnreachable
    assert found.safe_to_retry


@pytest.mark.parametrize("call", [send, read])
def test_it_may_be_repeated_when_connecting_times_out(call: Call) -> None:
    with full_backlog() as url:
        found = failure(call, url)
    assert type(found) is errors.WppUnreachable
    assert "ConnectTimeout" in found.detail


def test_it_may_be_repeated_when_no_connection_is_free() -> None:
    arrived = threading.Event()

    def keep(_connection: socket.socket) -> None:
        arrived.set()

    impatient = Timeouts(connect=0.1, send=1.5)
    with raw_server(keep) as url, WppClient({url: SECRET}, impatient, max_connections=1) as client:
        outcomes: list[BaseException] = []

        def occupy() -> None:
            try:
                send(client, url)
            except errors.WppError as error:
                outcomes.append(error)

        thread = threading.Thread(target=occupy)
        thread.start()
        assert arrived.wait(5)
        with pytest.raises(errors.WppUnreachable) as caught:
            send(client, url)
        thread.join(5)
    assert "PoolTimeout" in caught.value.detail
    assert [type(outcome) for outcome in outcomes] == [errors.WppOutcomeUnknown]


@pytest.mark.parametrize(
    "behave",
    [
        keep_open,
        reset_connection,
        close_connection,
        answer_truncated,
        answer_not_http,
        answer_bad_gzip,
        answer_half_headers,
    ],
)
@pytest.mark.parametrize("call", CHANGES)
def test_it_does_not_know_the_outcome_of_a_change_cut_short(call: Call, behave: Callable[..., None]) -> None:
    with raw_server(behave) as url:
        found = failure(call, url)
    assert type(found) is errors.WppOutcomeUnknown
    assert not found.safe_to_retry


@pytest.mark.parametrize(
    "behave",
    [
        keep_open,
        reset_connection,
        close_connection,
        answer_truncated,
        answer_not_http,
        answer_bad_gzip,
        answer_half_headers,
    ],
)
def test_it_may_repeat_a_read_cut_short(behave: Callable[..., None]) -> None:
    with raw_server(behave) as url:
        assert type(failure(read, url)) is errors.WppNoAnswer


def test_it_does_not_wait_for_a_body_that_drips() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not stop.wait(0.05):
            connection.sendall(b" ")

    started = time.monotonic()
    with raw_server(respond_with("HTTP/1.1 200 OK", "Content-Length: 10000", then=drip)) as url:
        found = failure(read, url)
        stop.set()
    assert type(found) is errors.WppNoAnswer
    assert time.monotonic() - started < 5


def test_it_reads_only_so_much(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.wppconnect.http_transport.MAX_ANSWER_BYTES", 1000)
    fake.answers(200, {"status": "CLOSED", "padding": "x" * 1000})
    assert type(failure(read, fake.url)) is errors.WppNoAnswer


# What the server says


DISCONNECTED = {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
BAD_TOKEN = {"error": "Check that the Session and Token are correct"}
INNER = {"status": "error", "response": "Error on open list", "error": {}}


@pytest.mark.parametrize(
    ("status", "data", "on_send", "on_read"),
    [
        (404, DISCONNECTED, errors.WppDisconnected, errors.WppDisconnected),
        (404, NOT_FOUND_PAGE, errors.WppRefused, errors.WppRefused),
        (404, {"status": "Other"}, errors.WppRefused, errors.WppRefused),
        (401, BAD_TOKEN, errors.WppUnauthorized, errors.WppUnauthorized),
        (401, "Unauthorized", errors.WppUnauthorized, errors.WppUnauthorized),
        (401, INNER, errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (400, {"status": "Connected", "message": "Não existe."}, errors.WppOutcomeUnknown, errors.WppRefused),
        (413, "<html>", errors.WppRefused, errors.WppRefused),
        (429, {}, errors.WppRefused, errors.WppRefused),
        (302, "", errors.WppRefused, errors.WppRefused),
        (500, {"status": "Error", "error": {"token": SECRET}}, errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (502, "<html>Bad Gateway</html>", errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (503, "", errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (201, "<html>", errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (201, "", errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (201, '{"status":"succ', errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (201, "[" * 100_000, errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (201, ["no object"], errors.WppOutcomeUnknown, errors.WppNoAnswer),
        (201, "null", errors.WppOutcomeUnknown, errors.WppNoAnswer),
    ],
)
def test_it_maps_every_answer(
    fake: FakeServer, status: int, data: Any, on_send: type[Exception], on_read: type[Exception]
) -> None:
    fake.answers(status, data)
    assert type(failure(send, fake.url)) is on_send
    assert type(failure(read, fake.url)) is on_read
    assert len(fake.seen) == 2, "a call is never repeated here"


@pytest.mark.parametrize(
    "response", [[], None, [None], [{}], [{"ack": 0}], [{"id": ""}], [{"id": {}}], {}, "true_x@c.us_1", [[]], 5]
)
def test_it_takes_a_success_without_an_id_for_nothing_sent(fake: FakeServer, response: Any) -> None:
    fake.answers(201, {"status": "success", "response": response})
    found = failure(send, fake.url)
    assert type(found) is errors.WppRefused
    assert found.permanent


def test_it_names_the_wrong_secret_for_what_it_is(fake: FakeServer) -> None:
    fake.answers(400, {"response": "error", "message": "The token is incorrect"})
    assert type(failure(clear, fake.url)) is errors.WppUnauthorized


JUNK: list[Any] = [None, 5, "x", [], [1], {"status": 5.5}, {"status": []}, {"response": 7}, {"response": {"id": 1}}]


@pytest.mark.parametrize("data", JUNK)
def test_it_raises_nothing_but_its_own_errors_for_junk(fake: FakeServer, wpp: WppClient, data: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: wpp.status_session(fake.url, SESSION),
        lambda: wpp.check_connection(fake.url, SESSION),
        lambda: wpp.host_device(fake.url, SESSION),
        lambda: wpp.phone_number(fake.url, SESSION),
        lambda: wpp.check_number(fake.url, SESSION, PHONE),
        lambda: wpp.get_messages(fake.url, SESSION, PHONE),
        lambda: wpp.list_chats(fake.url, SESSION),
        lambda: wpp.all_contacts(fake.url, SESSION),
        lambda: wpp.show_all_sessions(fake.url),
    ]
    fake.answers(200, data)
    failures = 0
    for call in calls:
        try:
            call()
        except errors.WppError:
            failures += 1
    assert failures >= 7
    assert len(fake.seen) == len(calls)


# Secrets


class Everything(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every line of the standard logging, with every logger at DEBUG."""
    handler, root = Everything(), logging.getLogger()
    names = ("", "httpx", "httpcore", "httpcore.http11", "httpcore.connection")
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def quoting(seen: ReceivedRequest) -> Response:
    """A server that quotes in its error everything it got."""
    return Response(repr(seen), 500, media_type="application/json")


@pytest.mark.parametrize("call", [*CHANGES, read])
@pytest.mark.parametrize("behave", [keep_open, reset_connection, answer_truncated, answer_not_http])
def test_it_tells_no_secret_when_the_connection_fails(
    call: Call, behave: Callable[..., None], logged: list[str]
) -> None:
    with structlog.testing.capture_logs() as lines, raw_server(behave) as url:
        found = failure(call, url)
    assert_tells_nothing(found, url, [*logged, *map(repr, lines)])


@pytest.mark.parametrize("call", [*CHANGES, read])
def test_it_tells_no_secret_that_the_server_quotes(fake: FakeServer, call: Call, logged: list[str]) -> None:
    fake.answer = quoting
    with structlog.testing.capture_logs() as lines:
        found = failure(call, fake.url)
    assert_tells_nothing(found, fake.url, [*logged, *map(repr, lines)])


def test_it_tells_no_secret_when_all_is_well(fake: FakeServer, wpp: WppClient, logged: list[str]) -> None:
    fake.answers(200, {"success": True})
    with structlog.testing.capture_logs() as lines:
        clear(wpp, fake.url)
    assert_silent([*logged, *map(repr, lines)], fake.url)
    assert SECRET not in repr(wpp)


def assert_tells_nothing(found: errors.WppError, url: str, log: list[str]) -> None:
    assert found.__context__ is None
    assert found.__cause__ is None
    shown = "".join(traceback.format_exception(found, chain=True))
    assert_silent([shown, str(found), repr(found), repr(found.args), repr(vars(found)), *log], url)


def assert_silent(texts: list[str], url: str) -> None:
    private = (SECRET, "S3cr3t", "$2b$04$", "Bearer", TEXT, PHONE, WEBHOOK_SECRET, url.removeprefix("http://"))
    for text in texts:
        for secret in private:
            assert secret not in text


def test_it_hides_contents_in_representations() -> None:
    private = [
        results.SessionState("QRCODE", TEXT, TEXT, TEXT),
        results.ChatMessage("id", TEXT, caption=TEXT, sender_name=TEXT),
    ]
    assert TEXT not in repr(private)


# The log line


def test_it_logs_one_line_for_each_call(fake: FakeServer, wpp: WppClient) -> None:
    with structlog.testing.capture_logs() as lines:
        fake.answers(200, {"status": "CLOSED"})
        read(wpp, fake.url)
        fake.answers(500, {})
        with pytest.raises(errors.WppOutcomeUnknown):
            send(wpp, fake.url)
    assert all(line.pop("ms") >= 0 for line in lines)
    common = {"event": "wpp_call", "session": SESSION}
    assert lines == [
        {**common, "route": "status-session", "outcome": "ok", "http_status": 200, "log_level": "info"},
        {
            **common,
            "route": "send-message",
            "outcome": "wppconnect_incerto",
            "http_status": 500,
            "log_level": "warning",
        },
    ]
