"""Posts to other people's addresses: what may be reached, how long it may take, and what is told of it."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from services.platform import safe_http
from services.platform.safe_http import Answer, Failure, PrivateAddress, WrongAddress
from tests.support.processes import free_ports
from tests.support.webhook_consumer import running_consumer


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does to its one caller whatever `talk` does; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                caller, _address = listener.accept()
                with caller:
                    talk(caller)
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_it_posts_and_tells_the_status() -> None:
    with running_consumer() as system:
        assert safe_http.post(system.url, b"{}", {"X-Own": "1"}, private=True) == Answer(200)
        system.status = 503
        answer = safe_http.post(system.url, b"{}", {}, private=True)
    assert (answer.status, answer.well) == (503, False)
    assert (system.heard[0].body, system.heard[0].headers["x-own"]) == (b"{}", "1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433"])
def test_it_reaches_nothing_of_this_machine(host: str) -> None:
    with running_consumer() as system:
        address = system.url.replace("127.0.0.1", host)
        assert safe_http.post(address, b"{}", {}) == Answer(failure=Failure.FORBIDDEN)
    assert system.heard == []


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
        "ff02::1",
    ],
)  # fmt: skip
def test_it_knows_what_only_this_machine_can_reach(address: str) -> None:
    literal = safe_http._literal(address)
    assert literal is not None
    assert not safe_http._is_public(literal)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_it_knows_what_everybody_can_reach(address: str) -> None:
    literal = safe_http._literal(address)
    assert literal is not None
    assert safe_http._is_public(literal)


def test_it_connects_to_the_very_address_that_it_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that gives another answer the second time is never asked a second time."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, port: int, *args: Any, **kwargs: Any) -> object:
        asked.append(host)
        if host == "rebinds.example":
            host = "192.0.2.1" if len(asked) == 1 else "127.0.0.1"
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with running_consumer() as system:
        address = system.url.replace("127.0.0.1", "rebinds.example")
        assert safe_http.post(address, b"{}", {}, seconds=1).failure is Failure.FORBIDDEN
        assert asked.count("rebinds.example") == 1
        assert system.heard == []


def test_it_follows_no_redirect() -> None:
    with running_consumer() as target, running_consumer() as system:
        system.status, system.headers = 307, {"Location": target.url}
        assert safe_http.post(system.url, b"{}", {}, private=True) == Answer(307)
        assert target.heard == []


def test_it_gives_up_on_one_that_hangs_or_trickles() -> None:
    def trickle(caller: socket.socket) -> None:
        caller.recv(65536)
        caller.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            caller.sendall(b"X-More: 1\r\n")
            time.sleep(0.05)

    with speaking(lambda caller: time.sleep(2)) as address:
        started = time.monotonic()
        assert safe_http.post(address, b"{}", {}, private=True, seconds=0.3).failure is Failure.TIMEOUT
    with speaking(trickle) as address:
        assert safe_http.post(address, b"{}", {}, private=True, seconds=0.3).failure is Failure.TIMEOUT
    assert time.monotonic() - started < 3


def test_it_reads_no_answer_without_end() -> None:
    def pour(caller: socket.socket) -> None:
        caller.recv(65536)
        caller.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            caller.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    with speaking(pour) as address:
        assert safe_http.post(address, b"{}", {}, private=True, seconds=5) == Answer(200)


def test_it_tells_nobody_there_from_nonsense_and_from_a_false_certificate() -> None:
    def nonsense(caller: socket.socket) -> None:
        heard = caller.recv(65536)
        # All of a request first: to end while the rest is still coming would break the connection instead.
        while heard.startswith(b"POST") and not heard.endswith(b"{}"):
            heard += caller.recv(65536)
        caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/"
    assert safe_http.post(nobody, b"{}", {}, private=True).failure is Failure.UNREACHABLE
    assert safe_http.post("http://no-such-name.invalid/", b"{}", {}).failure is Failure.UNREACHABLE
    with speaking(nonsense) as address:
        assert safe_http.post(address, b"{}", {}, private=True).failure is Failure.UNREADABLE
    with speaking(nonsense) as address:
        secure = address.replace("http://", "https://")
        assert safe_http.post(secure, b"{}", {}, private=True).failure is Failure.INSECURE
    assert safe_http._tls().verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "address",
    ["", "example.com", "ftp://example.com", "https://", "https://u:p@example.com", "http://h:99999", "http://h:0/",
     "http://[::1", "https://exa mple.com", "https://example.com\\@x", "https://exämple.com",
     "https://x/" + "y" * 2048],
)  # fmt: skip
def test_it_takes_no_address_that_is_none(address: str) -> None:
    with pytest.raises(WrongAddress):
        safe_http.checked(address, private=True)


@pytest.mark.parametrize(
    "address", ["http://localhost:8000/x", "http://127.0.0.1/", "https://192.168.1.5/x", "http://[::1]/"]
)
def test_it_says_early_that_an_address_is_private(address: str) -> None:
    with pytest.raises(PrivateAddress):
        safe_http.checked(address, private=False)
    assert safe_http.checked(f" {address} ", private=True) == address
