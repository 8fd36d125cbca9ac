"""The API with everything behind it: as the overview's front end calls it, and as somebody who tries everything."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from services.db.embedded import EmbeddedPostgres
from tests.support.credentials import JWT_SECRET, bearer_header, make_jwt
from tests.support.databases import Database, fresh_database
from tests.support.processes import Processes, running_processes
from tests.support.waiting import wait_for
from tests.support.web_settings import ORIGIN
from web.api import openapi
from web.api.sessions import SESSION


@dataclass(frozen=True)
class ApiInstallation:
    """The processes that the API needs, without its limits."""

    database: Database
    processes: Processes

    def new_user(self) -> UUID:
        user_id = uuid4()
        self.database.execute(
            "insert into auth.users (id, email, encrypted_password, raw_app_meta_data) values (%s, %s, '', '{}')",
            user_id,
            f"{user_id}@example.com",
        )
        return user_id


@pytest.fixture(scope="module")
def installation(
    cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiInstallation]:
    folder: Path = tmp_path_factory.mktemp("api")
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh_database(cluster, template, patch, folder) as database,
        running_processes(
            database.url,
            folder,
            ("sandbox", "webhook", "worker"),
            JWT_SECRET=JWT_SECRET,
            CORS_ORIGINS=ORIGIN,
            SEND_PACE_SECONDS="0",
            RATE_LIMIT_API="off",
            RATE_LIMIT_SEND="off",
            RATE_LIMIT_REFUSED="off",
        ) as processes,
    ):
        yield ApiInstallation(database, processes)


class Functions:
    """`supabase.functions.invoke(name, {method, body})` as supabase-js 2 makes it: its paths, headers and bodies."""

    def __init__(self, url: str, access_token: str) -> None:
        self._http = httpx.Client(
            base_url=f"{url}/functions/v1",
            timeout=30,
            headers={
                "Origin": ORIGIN,
                "apikey": "the-public-anon-key",
                "x-client-info": "supabase-js-web/2.49.4",
                **bearer_header(access_token),
            },
        )

    def invoke(self, name: str, method: str = "POST", body: Any = None) -> Any:
        """The answer's data. Raises HTTPStatusError where supabase-js gives a FunctionsHttpError."""
        content = json.dumps(body, separators=(",", ":")) if body is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        answer = self._http.request(method, f"/{name}", content=content, headers=headers)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        return answer.raise_for_status().json()


def test_it_serves_the_overviews_front_end_from_connect_to_message_sent(installation: ApiInstallation) -> None:
    user_id = installation.new_user()
    functions = Functions(installation.processes.webhook_url, make_jwt(user_id))
    name = f"user_{user_id}"

    shown = functions.invoke("sessao-de-whatsapp")
    assert (shown["session_id"], shown["status"]) == (name, "pareando")
    assert shown["qr_code"].startswith("data:image/png;base64,")

    installation.processes.control.scan(name)
    wait_for(lambda: functions.invoke("sessao-de-whatsapp", "GET")["status"] == "conectado")
    assert functions.invoke("sessao-de-whatsapp", "GET")["qr_code"] is None

    sent = functions.invoke(
        "enviar-mensagem-whatsapp", body={"phone": "+5511999999999", "message": "Olá!", "contactName": "João"}
    )
    assert sent["state"] in ("sent", "delivered", "read")
    ((told,),) = [[one["body"] for one in installation.processes.control.sent(name)]]
    assert told == "Olá!"

    installation.processes.control.number("5511911112222", exists=False)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        functions.invoke("enviar-mensagem-whatsapp", body={"phone": "11911112222", "message": "Olá!"})
    assert caught.value.response.json()["code"] == "numero_sem_whatsapp"

    assert functions.invoke("sessao-de-whatsapp", "DELETE")["status"] == "desconectado"


def test_it_pairs_by_phone_code_and_starts_again(installation: ApiInstallation) -> None:
    user_id = installation.new_user()
    functions = Functions(installation.processes.webhook_url, make_jwt(user_id))
    shown = functions.invoke("sessao-de-whatsapp", body={"phone": "11 98888-7777"})
    assert shown["phone_code"]
    assert shown["qr_code"] is None
    again = functions.invoke("sessao-de-whatsapp/reconectar")
    assert (again["status"], again["qr_code"]) == ("pareando", None)
    # The server's event writes it without the dash.
    codes = {str(each["phone_code"]).replace("-", "") for each in (shown, again)}
    assert len(codes) == 1, "what runs is taken over with its code"


def test_it_streams_the_pairing_to_its_end(installation: ApiInstallation) -> None:
    user_id = installation.new_user()
    functions = Functions(installation.processes.webhook_url, make_jwt(user_id))
    functions.invoke("sessao-de-whatsapp")
    seen: list[str] = []

    def listen(until: Callable[[str], bool]) -> None:
        url = f"{installation.processes.webhook_url}{SESSION}/ao-vivo"
        with httpx.stream("GET", url, headers=bearer_header(make_jwt(user_id)), timeout=30) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: "))["status"])
                    if until(seen[-1]):
                        return

    listening = threading.Thread(target=listen, args=(lambda status: status == "conectado",))
    listening.start()
    wait_for(lambda: seen)
    installation.processes.control.scan(f"user_{user_id}")
    listening.join(20)
    assert (seen[0], seen[-1]) == ("pareando", "conectado")


def test_it_examines_the_session_as_the_page_does(installation: ApiInstallation, somebody: str) -> None:
    stranger = Functions(installation.processes.webhook_url, make_jwt(installation.new_user()))
    assert stranger.invoke("diagnostico-whatsapp", "GET")["names"] == ["never_connected"]
    found = Functions(installation.processes.webhook_url, somebody).invoke("diagnostico-whatsapp", "GET")
    assert {check["guide"] for check in found["checks"]} == {"qr", "send", "drop"}
    assert "Última prova: entrada no WhatsApp." in {check["fact"] for check in found["checks"]}
    assert "fault" not in {check["result"] for check in found["checks"]}


# A stream has no end, and is read by a test of its own above.
SCHEMA = schemathesis.openapi.from_dict(openapi.document()).exclude(path_regex="ao-vivo$")


# Credentials have tests of their own, on every route; no schema can say which telephone numbers exist, and headers that
# nobody understands are ignored.
NOT_CHECKED = ("ignored_auth", "positive_data_acceptance", "negative_data_rejection")


@SCHEMA.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_it_never_answers_what_it_does_not_document(
    case: Any, installation: ApiInstallation, somebody: str, kept_open: requests.Session
) -> None:
    answer = case.call_and_validate(
        base_url=installation.processes.webhook_url,
        session=kept_open,
        headers={**bearer_header(somebody), "Prefer": "respond-async"},
        excluded_checks=[schemathesis.checks.CHECKS.get_one(name) for name in NOT_CHECKED],
    )
    assert answer.status_code < 500


@pytest.fixture(scope="module")
def kept_open() -> Iterator[requests.Session]:
    """One connection for all that is tried."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.fixture(scope="module")
def somebody(installation: ApiInstallation) -> str:
    """The credential of somebody who is connected."""
    user_id = installation.new_user()
    functions = Functions(installation.processes.webhook_url, make_jwt(user_id))
    functions.invoke("sessao-de-whatsapp")
    installation.processes.control.scan(f"user_{user_id}")
    wait_for(lambda: functions.invoke("sessao-de-whatsapp", "GET")["status"] == "conectado")
    settled = "select settling_since is null from whatsapp_sessions where user_id = %s"
    wait_for(lambda: installation.database.one(settled, user_id), what="its server says CONNECTED")
    return make_jwt(user_id)
