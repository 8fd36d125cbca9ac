"""Names of contacts and of kinds of messages, for people."""

from services.contacts.contacts import Contact
from services.wppconnect.phone import ChatKind, format_phone, get_chat_kind
from ui.kit.i18n import _


def contact_name(contact: Contact) -> str:
    """How a contact is called: by its owner, by itself, or by its number."""
    if contact.name or contact.pushname:
        return contact.name or contact.pushname or ""
    if contact.phone:
        return format_phone(contact.phone)
    digits = contact.address.partition("@")[0][-4:]
    words = {
        ChatKind.GROUP: _("Grupo …{digits}"),
        ChatKind.CHANNEL: _("Canal …{digits}"),
        ChatKind.BROADCAST: _("Lista de transmissão …{digits}"),
    }
    return words.get(get_chat_kind(contact.address), _("Sem número …{digits}")).format(digits=digits)


def message_kind_word(kind: str) -> str:
    """What a message of this kind is, for people."""
    words = {
        "image": _("Imagem"),
        "video": _("Vídeo"),
        "ptv": _("Vídeo"),
        "audio": _("Áudio"),
        "ptt": _("Mensagem de voz"),
        "document": _("Documento"),
        "sticker": _("Figurinha"),
        "location": _("Localização"),
        "vcard": _("Contato"),
        "multi_vcard": _("Contatos"),
        "poll_creation": _("Enquete"),
        "call": _("Chamada"),
        "ciphertext": _("Mensagem que o WhatsApp ainda não abriu. Veja no celular."),
        "chat": "",
    }
    return words.get(kind, _("Mensagem de um tipo que ainda não mostramos ({kind}). Veja no celular.")).format(
        kind=kind
    )
