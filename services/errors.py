"""The kinds of errors. What is told of one thing only is a subclass beside the code that raises it.

    ServiceError                    500  something we did not foresee
    ├── InvalidInput                422  the person can correct it
    ├── Unauthenticated             401  not signed in, or no longer
    ├── RateLimited                 429  too many uses of one door, with the time to wait
    ├── Forbidden                   403  signed in, but not allowed
    ├── NotFound                    404  not there, or not this actor's
    ├── Conflict                    409  the state does not allow it
    ├── ConfigurationError          500  a setting is missing or wrong; names the variable
    └── DatabaseUnavailable         503  safe to try again

A kind is raised by several packages, or caught as a kind by a screen or the API. Every other error stands in the module
that raises it, or in `errors.py` of its package where several modules raise it; `services/wppconnect/errors.py` has
those of calls to a WPPConnect server. An error that several packages raise stands in the lowest of them.

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


class Unauthenticated(ServiceError):
    code = "nao_autenticado"
    http_status = 401
    message = N_("Sua sessão no console terminou.")
    hint = N_("Entre de novo.")


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


class ConfigurationError(ServiceError):
    code = "configuracao"
    message = N_("O console não está configurado por completo.")
    hint = N_("Fale com o administrador do sistema.")


class DatabaseUnavailable(ServiceError):
    code = "banco_indisponivel"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O banco de dados não respondeu.")
    hint = N_("Nada se perdeu. Tente de novo em alguns segundos.")
