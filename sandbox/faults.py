"""The faults that users of real servers report. Each is a named switch, for one session or for all.

A switch has options. Every switch understands `times`: the fault happens that often and then turns itself off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """A fault's name, its sentence for the control page, and the options that it reads with their defaults."""

    name: str
    sentence: str
    options: Mapping[str, Any] = field(default_factory=dict)


# Read off the issue trackers of wppconnect-server, wppconnect, Evolution API, WAHA and go-whatsapp-web-multidevice.
CATALOGUE: tuple[Fault, ...] = (
    Fault(
        "zombie",
        "A sessão diz CONNECTED e lê o que guardou, mas o WhatsApp não responde: envios e perguntas ficam presos até"
        " ele voltar, e nada chega (page_gone: a página sumiu).",
        {"page_gone": False},
    ),
    Fault("chrome_dies", "O Chrome da sessão morre; o servidor segue dizendo CONNECTED (acontece uma vez, ao ligar)."),
    Fault("page_crashes", "A página da sessão quebra e o Chrome continua vivo (acontece uma vez, ao ligar)."),
    Fault("profile_locked", "Outro Chrome prende o perfil: o início fica em INITIALIZING até um close-session."),
    Fault(
        "late_after_logout",
        "Depois do logout, disconnectedMobile e um QR ainda chegam atrasados, com o perfil preso até lá.",
        {"delay": 5.0, "qrcode": True},
    ),
    Fault("silent", "A sessão funciona e envia, mas não chama mais nenhum webhook."),
    Fault("stuck_initializing", "A sessão fica em INITIALIZING e o QR nunca chega, até um close-session."),
    Fault("qr_loop", "Um QR novo após o outro, sem fim, e a leitura nunca completa.", {"interval": 2.0}),
    Fault("stale_qr", "Cada renovação repete um QR vencido, e outro ainda chega depois da conexão."),
    Fault("code_changes", "O código de pareamento muda enquanto a pessoa digita.", {"interval": 2.0}),
    Fault("close_half_works", "close-session e logout-session respondem sucesso, mas a sessão continua de pé."),
    Fault("restart_all", "Todas as sessões guardadas reiniciam ao mesmo tempo (acontece uma vez, ao ligar)."),
    Fault(
        "banned",
        "Muitos envios em pouco tempo: o WhatsApp bane e desconecta o aparelho.",
        {"limit": 20, "window": 60.0},
    ),
    Fault("no_session_in_event", "Os eventos chegam sem dizer de qual sessão são."),
    Fault("webhook_lost", "O webhook se perde: não há segunda tentativa.", {"event": None}),
    Fault("webhook_duplicate", "Cada webhook chega duas vezes, no mesmo segundo.", {"event": None}),
    Fault("webhook_late", "Os webhooks chegam atrasados.", {"delay": 5.0, "event": None}),
    Fault(
        "webhook_disorder",
        "Os webhooks chegam fora de ordem, cada um com um atraso diferente.",
        {"delay": 2.0, "event": None},
    ),
    Fault("reused_message_id", "Duas mensagens recebidas diferentes chegam com a mesma identificação."),
    Fault(
        "accepted_but_never_sent",
        "O envio responde 201 com identificação, mas a mensagem nunca sai e nenhum ack chega.",
    ),
    # Not measured: as public reports of several servers and libraries tell it (error 463, “reachout timelock”).
    Fault(
        "refuses_strangers",
        "A conta está restrita: o envio responde 201, mas a quem nunca escreveu à sessão nada chega e vem o ack -1"
        " (error=true: o envio responde 500 com o erro 463). Lido em relatos públicos, não medido.",
        {"error": False},
    ),
    Fault(
        "error_but_delivered",
        "O envio responde 500, mas a mensagem sai e os acks chegam (delivered=false: não sai).",
        {"delivered": True},
    ),
    Fault("not_found_but_delivered", "O envio responde 400 “não existe”, mas a mensagem sai."),
    Fault("ack_before_reply", "O envio só responde depois de o ack 1 ter sido entregue, por mais que isso demore."),
    Fault("ack_after_reply", "O envio responde antes do ack (ack 0), como já faz com lugares e contatos."),
    Fault("ack_twice", "Cada ack chega duas vezes."),
    Fault("ack_backwards", "Depois do último ack chega de novo o primeiro."),
    Fault(
        "acks_without_files",
        "Os acks chegam sem o arquivo da mensagem (o servidor de fábrica manda o arquivo inteiro em cada um).",
    ),
    Fault(
        "send_timeout",
        "O envio nunca responde, mas a mensagem sai (delivered=false: não sai).",
        {"delivered": True},
    ),
    Fault(
        "lid_instead_of_phone",
        "Mensagens e acks chegam com um @lid no lugar do telefone (acks=false: só as mensagens).",
        {"acks": True},
    ),
    Fault(
        "lid_without_phone",
        "Quem escreve chega por um @lid cujo telefone ninguém conhece; dá para responder a ele.",
    ),
    Fault("chat_under_lid", "O celular guarda as conversas sob o @lid: quem as pede pelo telefone recebe 401."),
    Fault("wrong_address", "As conversas que já existem só se deixam ler pelo @lid; pelo telefone, 401."),
    Fault(
        "ciphertext_first",
        "A mensagem recebida chega primeiro sem texto (ciphertext) e depois outra vez, com a mesma identificação.",
        {"delay": 0.5},
    ),
    Fault("ninth_digit", "O WhatsApp usa os celulares brasileiros sem o nono dígito."),
    Fault("huge_media", "As mensagens recebidas trazem um arquivo enorme em base64 no corpo.", {"megabytes": 20}),
    Fault("secrets_in_error", "O envio responde 500 com o token e a URL do webhook dentro do erro; nada sai."),
    Fault(
        "clear_hangs",
        "clear-session-data nunca responde, mas apaga (cleared=false: não apaga).",
        {"cleared": True},
    ),
    Fault("old_version", "O servidor diz ser de uma versão antiga.", {"version": "2.8.6"}),
    Fault(
        "other_answer",
        "Uma rota responde outra coisa, como numa versão que mudou (em `body`, o que ela responde).",
        {"route": "check-connection-session", "status": 200, "body": {"connected": False}},
    ),
    Fault("paths_blocked", "Um proxy na frente não deixa passar /unhealthy nem /socket.io."),
    Fault("socket_refuses", "O socket.io recusa quem não diz quem é (o servidor de fábrica aceita todos)."),
    Fault("server_hangs", "Nenhuma chamada da API responde."),
    Fault(
        "server_down",
        "O servidor corta toda conexão da API sem responder (status=503: um proxy responde no lugar).",
        {"status": None},
    ),
)

FAULTS_BY_NAME: Mapping[str, Fault] = {fault.name: fault for fault in CATALOGUE}


class FaultSwitches:
    """Which faults are on, for whom, and with which options. A session's own switch wins over the global one."""

    def __init__(self) -> None:
        self._on: dict[tuple[str, str | None], dict[str, Any]] = {}

    def turn_on(self, name: str, session: str | None = None, **options: Any) -> None:
        """Raises KeyError for a fault that is not in the catalogue."""
        self._on[name, session] = {**FAULTS_BY_NAME[name].options, **options}

    def turn_off(self, name: str, session: str | None = None) -> None:
        """Turning off the global switch (`session` None) turns off those of single sessions too."""
        for key in [key for key in self._on if key[0] == name and session in (None, key[1])]:
            del self._on[key]

    def options(self, name: str, session: str | None = None) -> dict[str, Any] | None:
        """The options of a fault that is on, without counting as a strike; None when it is off."""
        for key in ((name, session), (name, None)):
            if key in self._on:
                return self._on[key]
        return None

    def strike(self, name: str, session: str | None = None) -> dict[str, Any] | None:
        """Like `options`, and one of `times` is used up."""
        for key in ((name, session), (name, None)):
            options = self._on.get(key)
            if options is None:
                continue
            if "times" in options:
                options["times"] -= 1
                if options["times"] <= 0:
                    del self._on[key]
            return options
        return None

    def strike_event(self, name: str, session: str, event: str) -> dict[str, Any] | None:
        """`strike` for webhook faults, whose option `event` narrows them to one kind of event."""
        options = self.options(name, session)
        if options is None or options.get("event") not in (None, event):
            return None
        return self.strike(name, session)

    def active(self) -> list[dict[str, Any]]:
        """What is on, as JSON."""
        return [{"name": name, "session": session, "options": options} for (name, session), options in self._on.items()]
