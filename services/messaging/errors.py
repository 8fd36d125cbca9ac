"""What several modules of messaging raise."""

from services.errors import N_, Conflict


class SessionNotConnected(Conflict):
    code = "sessao_desconectada"
    message = N_("O WhatsApp não está conectado; nada foi enviado.")
    hint = N_("Conecte em “Meu WhatsApp” e envie de novo.")
