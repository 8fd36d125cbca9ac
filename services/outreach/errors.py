"""What several modules of sending to many raise."""

from services.errors import N_, InvalidInput


class MomentPassed(InvalidInput):
    """Nothing of a schedule is still to come."""

    code = "hora_passada"
    message = N_("Esse horário já passou.")
    hint = N_("Escolha um horário daqui para a frente.")


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
