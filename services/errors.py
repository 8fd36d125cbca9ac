"""Every error that a service raises, as one tree.

    ServiceError                    500  something we did not foresee
    ├── InvalidInput                422  the person can correct it
    │   ├── InvalidPhone            422
    │   ├── MomentPassed            422  nothing of a schedule is still to come
    │   ├── OutsideLimits           422  a campaign's rules are looser than the installation's
    │   ├── EmptyMessage            422
    │   ├── MessageTooLong          422
    │   ├── FileBroken              422
    │   ├── FileOfOtherKind         422  not for that kind of message
    │   ├── FileTooBig              422
    │   └── PictureTooLarge         422
    │   ├── TemplateInvalid         422  a template's text that cannot be read; names the line
    │   ├── UnknownVariable         422  a template's variable that it does not have; names it
    │   ├── MissingVariable         422  nothing given for a template's variable; names it
    │   └── UnreadableList          422  a list of recipients, or a file with one, that is none
    │       ├── EmptyList           422
    │       ├── ListTooLong         422
    │       └── NoPhoneColumn       422
    ├── Unauthenticated             401  not signed in, or no longer
    ├── SignInRefused               401  wrong name or wrong password: never says which
    ├── SignInLocked                429  too many failures, with the time to wait
    ├── RateLimited                 429  too many uses of one door, with the time to wait
    ├── Forbidden                   403  signed in, but not allowed
    ├── NotFound                    404  not there, or not this actor's
    ├── Conflict                    409  the state does not allow it
    │   ├── SessionNotConnected     409
    │   ├── NumberNotOnWhatsApp     409
    │   ├── TooLateToCancel         409  the message has begun to leave
    │   ├── SessionBeingCleaned     409  its old data are being deleted: a start must wait
    │   ├── CleanupUnderWay         409
    │   ├── CheckUnderWay           409
    │   ├── WaveUnderWay            409
    │   ├── NothingToRestart        409
    │   ├── StoppedByStaff          409  only staff let go on what they stopped
    │   ├── LastAdmin               409  nobody could manage the console any more
    │   ├── LinkInvalid             409  a one-time link that is unknown, used or expired
    │   └── UsersManagedElsewhere   409  auth.users is Supabase's
    ├── ConfigurationError          500  a setting is missing or wrong; names the variable
    ├── BackupError                 500  a backup was not made or not restored; its detail says why
    ├── DemoRefused                 409  the installation is somebody's: a demo would spoil it
    ├── DatabaseUnavailable         503  safe to try again
    ├── MediaUnavailable            503  the media store does not answer: safe to try again
    ├── AlertNotPosted              503  ALERT_WEBHOOK_URL does not take it: safe to try again
    ├── WorkerAway                  503  nobody did what was asked in time: safe to try again
    ├── NoServerAvailable           503  no WPPConnect server has room: nothing was begun, safe to try again
    └── WppError                         a call to a WPPConnect server went wrong
        ├── WppUnreachable          503  nothing arrived there: safe to try again
        │   └── WppNoAnswer         503  it was only a question, and no answer came or none that says anything
        ├── WppDisconnected         409  the server says that the session is not up: nothing was sent, safe to try again
        ├── WppRefused              502  the server said no: trying again gives the same answer
        │   └── WppUnauthorized     502  the server does not accept our token
        └── WppOutcomeUnknown       504  it may or may not have happened: never repeat blindly

`message` is one plain Portuguese sentence for the person at the screen and `hint` the next step; both are gettext
sources, filled in with `params` after translation. Neither ever holds a secret, a QR's content or a message's text.
`permanent` says that the same call would fail again; `safe_to_retry` that nothing happened, so that it may be
repeated. `WppOutcomeUnknown` is neither: only evidence decides.
"""

from typing import Any, ClassVar


def N_(source: str) -> str:
    """Mark `source` for the message catalogue without translating it here."""
    return source


class ServiceError(Exception):
    """Base of all; carries what a screen, an API answer and a retry need to know."""

    code: ClassVar[str] = "erro_interno"
    http_status: ClassVar[int] = 500
    permanent: ClassVar[bool] = True
    safe_to_retry: ClassVar[bool] = False
    message: ClassVar[str] = N_("Algo deu errado do nosso lado.")
    hint: ClassVar[str] = N_("Tente de novo em instantes; se continuar, fale com o suporte.")

    def __init__(self, detail: str = "", **params: Any) -> None:
        """`detail` is for logs (no secrets); `params` fill the placeholders of `message` and `hint`."""
        self.detail = detail
        self.params = params
        super().__init__(detail or self.sentence())

    def sentence(self) -> str:
        """The message in its source language, with its placeholders filled."""
        return self.message.format(**self.params)


class InvalidInput(ServiceError):
    code = "entrada_invalida"
    http_status = 422
    message = N_("Os dados informados não são válidos.")
    hint = N_("Confira os campos e tente de novo.")


class InvalidPhone(InvalidInput):
    code = "telefone_invalido"
    message = N_("Esse número de telefone não é válido.")
    hint = N_("Informe DDD e número, por exemplo (11) 99999-9999, ou +código do país.")


class MomentPassed(InvalidInput):
    """Nothing of a schedule is still to come."""

    code = "hora_passada"
    message = N_("Esse horário já passou.")
    hint = N_("Escolha um horário daqui para a frente.")


class OutsideLimits(InvalidInput):
    """A campaign's rules are looser than the installation's, or admit nothing."""

    code = "fora_dos_limites"
    message = N_("O ritmo passa dos limites desta instalação.")
    hint = N_("Fique dentro do horário, do limite por dia e do intervalo mostrados ao lado dos campos.")


class EmptyMessage(InvalidInput):
    code = "mensagem_vazia"
    message = N_("A mensagem está vazia.")
    hint = N_("Escreva o texto antes de enviar.")


class MessageTooLong(InvalidInput):
    code = "mensagem_longa"
    message = N_("A mensagem passa de {limit} caracteres.")
    hint = N_("Encurte o texto ou divida-o em duas mensagens.")


class TemplateInvalid(InvalidInput):
    """`params["line"]` counts from 1."""

    code = "modelo_invalido"
    message = N_("O texto do modelo não pode ser lido na linha {line}.")
    hint = N_(
        "Confira as chaves. Valem variáveis como {{{{nome}}}}, com default, upper, lower, title e trim, e "
        "{{% if nome %}}…{{% else %}}…{{% endif %}}."
    )


class UnknownVariable(InvalidInput):
    """`params["name"]` as it is written in the template."""

    code = "variavel_desconhecida"
    message = N_("A variável {{{{{name}}}}} não existe neste modelo.")
    hint = N_("Corrija o nome no texto ou inclua a variável no modelo.")


class MissingVariable(InvalidInput):
    code = "variavel_sem_valor"
    message = N_("Falta um valor para {{{{{name}}}}}.")
    hint = N_("Preencha a variável ou dê a ela um valor padrão no modelo.")


class UnreadableList(InvalidInput):
    code = "lista_ilegivel"
    message = N_("Não conseguimos ler esse arquivo.")
    hint = N_("Envie uma planilha .xlsx ou um .csv; no Excel, use “Salvar como”.")


class EmptyList(UnreadableList):
    code = "lista_vazia"
    message = N_("A lista está vazia.")
    hint = N_("Escreva ou envie ao menos um número.")


class ListTooLong(UnreadableList):
    code = "lista_longa"
    message = N_("A lista passa de {limit} linhas.")
    hint = N_("Divida-a em listas menores.")


class NoPhoneColumn(UnreadableList):
    code = "lista_sem_telefone"
    message = N_("Nenhuma coluna dessa lista tem números de telefone.")
    hint = N_("Inclua uma coluna com DDD e número, por exemplo (11) 99999-9999.")


class FileBroken(InvalidInput):
    """What is inside is not what can be read."""

    code = "arquivo_quebrado"
    message = N_("Este arquivo está corrompido ou vazio e não pode ser aberto.")
    hint = N_("Abra-o no seu aparelho para conferir e escolha outro.")


class FileOfOtherKind(InvalidInput):
    """`params["accepted"]` names what that kind of message takes."""

    code = "arquivo_de_outro_tipo"
    message = N_("Este arquivo não serve para este tipo de mensagem.")
    hint = N_("Aqui vão {accepted}. O resto vai como documento.")


class FileTooBig(InvalidInput):
    """`params`: `size` and `limit` in MB."""

    code = "arquivo_grande"
    message = N_("O arquivo tem {size} MB e o limite para este tipo de mensagem é {limit} MB.")
    hint = N_("Envie um arquivo menor, ou um link para ele.")


class PictureTooLarge(InvalidInput):
    """A picture of so many pixels that opening it would take the memory of all."""

    code = "imagem_grande"
    message = N_("A imagem tem pixels demais para ser aberta com segurança.")
    hint = N_("Reduza a imagem e envie de novo.")


class Unauthenticated(ServiceError):
    code = "nao_autenticado"
    http_status = 401
    message = N_("Sua sessão no console terminou.")
    hint = N_("Entre de novo.")


class SignInRefused(ServiceError):
    code = "login_recusado"
    http_status = 401
    message = N_("E-mail ou senha incorretos.")
    hint = N_("Confira os dois e tente de novo.")


class SignInLocked(ServiceError):
    code = "login_bloqueado"
    http_status = 429
    permanent = False
    message = N_("Muitas tentativas de entrada.")
    hint = N_("Espere {minutes} min e tente de novo.")


class RateLimited(ServiceError):
    """`params["seconds"]` tells when the door opens again."""

    code = "limite_excedido"
    http_status = 429
    permanent = False
    safe_to_retry = True
    message = N_("Pedidos demais em pouco tempo.")
    hint = N_("Espere {seconds} s e tente de novo.")


class Forbidden(ServiceError):
    code = "sem_permissao"
    http_status = 403
    message = N_("Você não tem permissão para isso.")
    hint = N_("Peça a um administrador.")


class NotFound(ServiceError):
    code = "nao_encontrado"
    http_status = 404
    message = N_("Não encontramos o que você procura.")
    hint = N_("Volte e atualize a lista.")


class Conflict(ServiceError):
    code = "conflito"
    http_status = 409
    message = N_("O estado mudou enquanto você olhava.")
    hint = N_("Veja o estado atual e tente de novo.")


class SessionNotConnected(Conflict):
    code = "sessao_desconectada"
    message = N_("O WhatsApp não está conectado; nada foi enviado.")
    hint = N_("Conecte em “Meu WhatsApp” e envie de novo.")


class NumberNotOnWhatsApp(Conflict):
    code = "numero_sem_whatsapp"
    message = N_("Esse número não está no WhatsApp; nada foi enviado.")
    hint = N_("Confira o número com a pessoa.")


class TooLateToCancel(Conflict):
    """The message has begun to leave, or has ended."""

    code = "tarde_demais"
    message = N_("Tarde demais: a mensagem já começou a sair ou já terminou.")
    hint = N_("O estado dela na lista é o verdadeiro.")


class SessionBeingCleaned(Conflict):
    code = "sessao_em_limpeza"
    permanent = False
    message = N_("Os dados antigos desta conexão estão sendo apagados agora.")
    hint = N_("Espere um minuto e conecte de novo.")


class CleanupUnderWay(Conflict):
    code = "limpeza_em_andamento"
    permanent = False
    message = N_("Uma limpeza já está em andamento.")
    hint = N_("Espere ela terminar; o andamento aparece nesta página.")


class CheckUnderWay(Conflict):
    """The server is being held against the contract already."""

    code = "conferencia_em_andamento"
    permanent = False
    message = N_("Este servidor já está sendo conferido.")
    hint = N_("Espere a conferência terminar; ela leva até dois minutos.")


class WaveUnderWay(Conflict):
    """Sessions are being restarted already."""

    code = "reinicio_em_andamento"
    message = N_("Um reinício em ondas já está em andamento.")
    hint = N_("Espere o fim dele ou cancele-o.")


class NothingToRestart(Conflict):
    """No session of the chosen server is connected."""

    code = "nada_a_reiniciar"
    message = N_("Nenhuma sessão conectada para reiniciar.")
    hint = N_("Escolha outro servidor ou conecte as sessões antes.")


class StoppedByStaff(Conflict):
    """Only staff let go on what they stopped."""

    code = "parado_pela_equipe"
    message = N_("A equipe parou os seus envios.")
    hint = N_("Fale com o suporte para voltar a enviar.")


class LastAdmin(Conflict):
    """Nobody could manage the console any more."""

    code = "ultimo_admin"
    message = N_("Esta é a última pessoa da administração que pode entrar.")
    hint = N_("Dê o papel de administração a outra pessoa antes.")


class LinkInvalid(Conflict):
    """A one-time link that is unknown, used or expired."""

    code = "link_invalido"
    message = N_("Este link não vale mais: já foi usado, venceu ou foi trocado por outro.")
    hint = N_("Peça um link novo à administração.")


class UsersManagedElsewhere(Conflict):
    """`auth.users` belongs to somebody else."""

    code = "usuarios_em_outro_lugar"
    message = N_("Os usuários deste banco são gerenciados pelo Supabase.")
    hint = N_("Crie e altere usuários no painel do Supabase.")


class ConfigurationError(ServiceError):
    code = "configuracao"
    message = N_("O console não está configurado por completo.")
    hint = N_("Fale com o administrador do sistema.")


class BackupError(ServiceError):
    """`detail` is for whoever called the command line."""

    code = "backup"
    message = N_("O backup não foi feito ou não foi restaurado.")
    hint = N_("Fale com o administrador do sistema.")


class DemoRefused(ServiceError):
    """`detail` is for whoever called the command line."""

    code = "demonstracao_recusada"
    http_status = 409
    message = N_("A demonstração só entra em uma instalação vazia.")
    hint = N_("Use outra pasta de dados.")


class DatabaseUnavailable(ServiceError):
    code = "banco_indisponivel"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O banco de dados não respondeu.")
    hint = N_("Nada se perdeu. Tente de novo em alguns segundos.")


class MediaUnavailable(ServiceError):
    code = "midia_indisponivel"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O arquivo não pôde ser guardado ou lido agora.")
    hint = N_("Nada foi enviado. Tente de novo em alguns segundos.")


class AlertNotPosted(ServiceError):
    code = "aviso_nao_entregue"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O endereço dos avisos não respondeu.")
    hint = N_("Confira ALERT_WEBHOOK_URL; tentaremos de novo em instantes.")


class WorkerAway(ServiceError):
    code = "worker_ausente"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O processo que trata os eventos não respondeu a tempo.")
    hint = N_("Confira se ele está rodando e tente de novo.")


class NoServerAvailable(ServiceError):
    code = "sem_servidor"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("Nenhum servidor do WhatsApp tem lugar para mais uma conexão agora.")
    hint = N_("Nada foi iniciado. Fale com a equipe: é preciso abrir espaço em “Servidores”.")


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
