"""Whom a token names, and every way in which it may lie."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from services.accounts import jwt_bearer
from services.accounts.jwt_bearer import KeysUnavailable, TokenRefused
from services.db.actor import Actor, Role
from tests.support.credentials import JWT_SECRET, make_jwt
from tests.support.databases import Database
from tests.support.process_state import forget_process_state

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """A server that publishes keys; `published` may change, and `asked` counts."""

    def __init__(self) -> None:
        self.published: dict[str, Any] = {"keys": [_jwk(RSA_KEY, "one"), _jwk(EC_KEY, "two")]}
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps(issuer.published).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"


def _jwk(key: Any, key_id: str) -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    found: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    algorithm = "RS256" if kind is RSAAlgorithm else "ES256"
    return {**found, "kid": key_id, "use": "sig", "alg": algorithm}


@pytest.fixture
def secret(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    forget_process_state()


@pytest.fixture
def issuer(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    made = Issuer()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    monkeypatch.setenv("JWT_JWKS_URL", made.url)
    forget_process_state()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def refused(credential: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        jwt_bearer.authenticate(credential)
    return caught.value.reason


def test_it_finds_the_user_whom_the_token_names(secret: None, user: Actor) -> None:
    assert jwt_bearer.authenticate(make_jwt(user)) == user


def test_it_makes_ordinary_users_of_staff(secret: None, new_actor: Callable[..., Actor]) -> None:
    admin = new_actor(Role.ADMIN)
    found = jwt_bearer.authenticate(make_jwt(admin, app_metadata={"role": "admin"}, role="service_role"))
    assert (found.user_id, found.role, found.is_staff) == (admin.user_id, Role.USER, False)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": None}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": "1 or 1=1"}, "claims"),
        ({"nbf": int(time.time()) + 3600}, "claims"),
        ({"iat": int(time.time()) + 3600}, "claims"),
        ({"aud": "anon"}, "audience"),
        ({"aud": None}, "claims"),
        ({"key": "some-other-secret-of-at-least-32-bytes"}, "signature"),
        ({"algorithm": "HS512"}, "algorithm"),
        ({"algorithm": "none", "key": None}, "algorithm"),
        ({"algorithm": "ES256", "key": OTHER_KEY}, "algorithm"),
        ({"algorithm": "RS256", "key": RSA_KEY}, "algorithm"),
    ],
)
def test_it_refuses_a_token_that_is_not_in_order(
    secret: None, user: Actor, claims: dict[str, Any], reason: str
) -> None:
    assert refused(make_jwt(user, **claims)) == reason


@pytest.mark.parametrize("credential", ["", "x", "a.b.c", "ey" * 6000, "\x00.\x00.\x00"])
def test_it_refuses_what_is_no_token(secret: None, credential: str) -> None:
    assert refused(credential) == "malformed"


def test_it_takes_a_clock_that_is_a_little_off(secret: None, user: Actor) -> None:
    assert jwt_bearer.authenticate(make_jwt(user, exp=int(time.time()) - 5)) == user


def test_it_refuses_another_issuers(secret: None, user: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://ours.example.com")
    forget_process_state()
    assert refused(make_jwt(user, iss="https://theirs.example.com")) == "issuer"
    assert jwt_bearer.authenticate(make_jwt(user, iss="https://ours.example.com")) == user


@pytest.mark.parametrize(
    "change",
    ["update accounts set active = false where user_id = %s", "delete from auth.users where id = %s"],
)
def test_it_refuses_a_user_who_is_no_longer_there(secret: None, user: Actor, database: Database, change: str) -> None:
    database.execute("insert into accounts (user_id) values (%s)", user.user_id)
    database.execute(change, user.user_id)
    assert refused(make_jwt(user)) == "inactive"
    assert refused(make_jwt(uuid4())) == "inactive"


@pytest.mark.parametrize(("key", "key_id", "algorithm"), [(RSA_KEY, "one", "RS256"), (EC_KEY, "two", "ES256")])
def test_it_takes_what_a_published_key_signed(
    issuer: Issuer, user: Actor, key: Any, key_id: str, algorithm: str
) -> None:
    for _ in range(3):
        assert jwt_bearer.authenticate(make_jwt(user, key, algorithm, headers={"kid": key_id})) == user
    assert issuer.asked == 1


def test_it_never_takes_a_public_key_for_a_shared_secret(
    issuer: Issuer, user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # PyJWT does not sign with a key that looks like a public one; somebody who forges does.
    monkeypatch.setattr(jwt.algorithms.HMACAlgorithm, "prepare_key", lambda self, key: key)
    forged = make_jwt(user, pem, "HS256", headers={"kid": "one"})
    monkeypatch.undo()
    monkeypatch.setenv("JWT_JWKS_URL", issuer.url)
    forget_process_state()
    assert refused(forged) == "algorithm"
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    forget_process_state()
    assert refused(forged) == "signature"


def test_it_refuses_a_published_key_with_another_ones_algorithm(issuer: Issuer, user: Actor) -> None:
    assert refused(make_jwt(user, EC_KEY, "ES256", headers={"kid": "one"})) == "algorithm"
    assert refused(make_jwt(user, OTHER_KEY, "ES256", headers={"kid": "two"})) == "signature"


def test_it_learns_a_new_key_and_is_not_made_to_ask_without_end(issuer: Issuer, user: Actor) -> None:
    assert jwt_bearer.authenticate(make_jwt(user, EC_KEY, "ES256", headers={"kid": "two"})) == user
    issuer.published["keys"].append(_jwk(OTHER_KEY, "three"))
    assert jwt_bearer.authenticate(make_jwt(user, OTHER_KEY, "ES256", headers={"kid": "three"})) == user
    for number in range(20):
        assert refused(make_jwt(user, OTHER_KEY, "ES256", headers={"kid": f"forged {number}"})) == "unknown_key"
    assert issuer.asked == 2


def test_it_says_that_keys_are_away_rather_than_that_the_token_is_bad(
    issuer: Issuer, user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_JWKS_URL", "http://127.0.0.1:9/jwks.json")
    forget_process_state()
    with pytest.raises(KeysUnavailable):
        jwt_bearer.authenticate(make_jwt(user, EC_KEY, "ES256", headers={"kid": "two"}))
