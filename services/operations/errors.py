"""What several modules of operating an installation raise."""

from services.errors import N_, ServiceError


class BackupError(ServiceError):
    """`detail` is for whoever called the command line."""

    code = "backup"
    message = N_("O backup não foi feito ou não foi restaurado.")
    hint = N_("Fale com o administrador do sistema.")
