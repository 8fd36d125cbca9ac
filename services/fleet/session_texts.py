"""What the screens say of a session: what proved it, why it failed, and what to do."""

from services.errors import (
    N_,
)
from services.fleet.session import Proof

# What proved a session, after `por`.
PROOF_LABELS: dict[Proof | None, str] = {
    Proof.WEBHOOK: N_("entrada no WhatsApp"),
    Proof.QUESTION: N_("consulta ao WhatsApp"),
    Proof.ACK: N_("confirmação de mensagem"),
    Proof.MESSAGE: N_("mensagem recebida"),
    Proof.EVENT: N_("reação, voto ou ligação recebida"),
    None: N_("nada ainda"),
}


def proof_label(kind: str | None) -> str:
    """What proved a session, after `por`: a gettext source."""
    return PROOF_LABELS[Proof(kind) if kind else None]


# Failure code → what happened, and what to do, for the person who owns the session.
FAILURES: dict[str, tuple[str, str]] = {
    "qr_not_scanned": (
        N_("O código não foi lido a tempo."),
        N_("Deixe o celular na tela “Aparelhos conectados” e tente de novo."),
    ),
    "qr_read_failed": (
        N_("O WhatsApp não aceitou a leitura do código."),
        N_("Tente de novo com um código novo."),
    ),
    "no_answer": (
        N_("O servidor do WhatsApp não mostrou nenhum código."),
        N_("Tente de novo; se repetir, fale com o suporte."),
    ),
    "server_unreachable": (
        N_("O servidor do WhatsApp não está respondendo."),
        N_("Tente de novo em um minuto; nossa equipe já vê essa falha."),
    ),
    "server_refused": (
        N_("O servidor do WhatsApp recusou a conexão."),
        N_("Fale com o suporte: a configuração do servidor precisa ser conferida."),
    ),
    "browser_closed": (
        N_("O navegador desta conexão parou no servidor."),
        N_("Ela é religada sozinha; seu celular continua pareado."),
    ),
    "pairing_interrupted": (
        N_("O servidor interrompeu a conexão antes de ela ficar pronta."),
        N_("Tente de novo com um código novo."),
    ),
    "server_closed": (N_("O servidor do WhatsApp foi reiniciado."), N_("Conecte de novo.")),
    "phone_logged_out": (
        N_("O aparelho foi desconectado pelo celular."),
        N_("Conecte de novo e leia o código com o celular."),
    ),
    "logged_out": (
        N_("A conexão com o WhatsApp terminou."),
        N_("Conecte de novo e leia o código com o celular."),
    ),
    "closed": (N_("A conexão foi fechada no servidor."), N_("Conecte de novo.")),
    "not_ended": (
        N_("Pedimos para desconectar e o servidor não confirmou o fim."),
        N_("Desconecte de novo; se repetir, remova o aparelho pelo celular."),
    ),
    "lost": (
        N_("A conexão caiu: o WhatsApp não responde mais por ela."),
        N_("Confira se o celular está online e conecte de novo."),
    ),
}
