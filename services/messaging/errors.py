"""What several modules of messaging raise."""

from services.errors import N_, Conflict, InvalidInput


class SessionNotConnected(Conflict):
    code = "sessao_desconectada"
    message = N_("O WhatsApp não está conectado; nada foi enviado.")
    hint = N_("Conecte em “Meu WhatsApp” e envie de novo.")


class FileBroken(InvalidInput):
    """What is inside is not what can be read."""

    code = "arquivo_quebrado"
    message = N_("Este arquivo está corrompido ou vazio e não pode ser aberto.")
    hint = N_("Abra-o no seu aparelho para conferir e escolha outro.")


class PictureTooLarge(InvalidInput):
    """A picture or film of so many pixels that opening it would take the memory of all."""

    code = "imagem_grande"
    message = N_("A imagem tem pixels demais para ser aberta com segurança.")
    hint = N_("Reduza a imagem e envie de novo.")
