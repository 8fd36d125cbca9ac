"""What a call to a WPPConnect server raises.

InvalidPhone                    422  nothing was asked of a server yet
├── DocumentNotPhone            422  a CPF or CNPJ where a phone should be
├── RoundedNumber               422  a spreadsheet left digits of it out
└── NobodyToWriteTo             422  an address of a channel, of a list or of statuses
WppError                             the call went wrong
├── WppUnreachable              503  nothing arrived there: safe to try again
│   └── WppNoAnswer             503  it was only a question, and no answer came or none that says anything
├── WppDisconnected             409  the server says that the session is not up: nothing was sent, safe to try again
├── WppRefused                  502  the server said no: trying again gives the same answer
│   ├── WppRestricted           502  WhatsApp lets this account begin no new conversation for now: nothing was sent
│   ├── WppChatNotFound         502  WhatsApp has no chat under that address
│   └── WppUnauthorized         502  the server does not accept our token
└── WppOutcomeUnknown           504  it may or may not have happened: never repeat blindly
"""

from services.errors import N_, InvalidInput, ServiceError


class InvalidPhone(InvalidInput):
    code = "telefone_invalido"
    message = N_("Esse número de telefone não é válido.")
    hint = N_("Informe DDD e número, por exemplo (11) 99999-9999, ou +código do país.")


class DocumentNotPhone(InvalidPhone):
    """Also the number of another document, where its name stands before it."""

    code = "documento_no_telefone"
    message = N_("Isso é um CPF ou CNPJ, não um número de telefone.")
    hint = N_("Informe o telefone da pessoa, com DDD.")


class RoundedNumber(InvalidPhone):
    code = "telefone_arredondado"
    message = N_("A planilha arredondou o número, e faltam algarismos.")
    hint = N_("Formate a coluna como texto e exporte de novo.")


class NobodyToWriteTo(InvalidPhone):
    code = "destino_so_leitura"
    message = N_("Não dá para escrever a um canal, a um status ou a uma lista de transmissão.")
    hint = N_("Informe o número de uma pessoa ou o endereço de um grupo.")


class WppError(ServiceError):
    code = "wppconnect"
    http_status = 502
    message = N_("O servidor do WhatsApp respondeu com um erro.")


class WppUnreachable(WppError):
    code = "wppconnect_inacessivel"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O servidor do WhatsApp não está respondendo.")
    hint = N_("Tente de novo em um minuto; nossa equipe já vê essa falha.")


class WppNoAnswer(WppUnreachable):
    """A question reached the server, so it is not the server that is away: the session, or WhatsApp, is silent."""


class WppDisconnected(WppError):
    code = "wppconnect_desconectado"
    http_status = 409
    permanent = False
    safe_to_retry = True
    message = N_("O WhatsApp não está conectado; nada foi enviado.")
    hint = N_("Conecte em “Meu WhatsApp” e envie de novo.")


class WppRefused(WppError):
    code = "wppconnect_recusou"
    message = N_("O servidor do WhatsApp recusou o pedido.")
    hint = N_("Fale com o suporte: repetir não adianta.")


class WppChatNotFound(WppRefused):
    """WhatsApp has no chat under that address."""

    code = "wppconnect_sem_conversa"
    message = N_("Não há conversa com este contato no WhatsApp.")
    hint = N_("Confira no celular se a conversa ainda existe.")


class WppRestricted(WppRefused):
    """WhatsApp lets this account begin no new conversation for now; nothing was sent."""

    code = "wppconnect_restrito"
    message = N_("O WhatsApp está recusando conversas novas desta conta.")
    hint = N_("Espere algumas horas antes de escrever a quem nunca escreveu a você.")


class WppUnauthorized(WppRefused):
    code = "wppconnect_token"
    message = N_("O servidor do WhatsApp não aceitou nossa credencial.")
    hint = N_("Fale com o suporte: WPP_SERVER_TOKEN precisa ser conferido.")


class WppOutcomeUnknown(WppError):
    code = "wppconnect_incerto"
    http_status = 504
    permanent = False
    message = N_("O servidor do WhatsApp não confirmou o resultado.")
    hint = N_("Não repita ainda: estamos verificando se já aconteceu.")
