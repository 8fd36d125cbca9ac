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
    user, _at, server = contact.address.partition("@")
    words = {
        ChatKind.GROUP: _("Grupo …{digits}"),
        ChatKind.CHANNEL: _("Canal …{digits}"),
        ChatKind.BROADCAST: _("Lista de transmissão …{digits}"),
        ChatKind.STATUS: _("Status"),
    }
    # A person's address of a family that is not known here is still somebody who wrote.
    families = {"bot": _("Assistente do WhatsApp …{digits}"), "lid": _("Sem número …{digits}")}
    person = families.get(server, _("Contato de um tipo que o console ainda não conhece …{digits}"))
    return words.get(get_chat_kind(contact.address), person).format(digits=user[-4:])


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
        "view_once": _("Foto ou vídeo de visualização única: abra no celular"),
        "revoked": _("Mensagem apagada"),
        "product": _("Produto"),
        "order": _("Pedido"),
        "list": _("Lista de opções"),
        "list_response": _("Resposta a uma lista"),
        "buttons_response": _("Resposta a um botão"),
        "template_button_reply": _("Resposta a um botão"),
        "interactive": _("Mensagem com botões. Veja no celular."),
        "hsm": _("Mensagem de modelo. Veja no celular."),
        "groups_v4_invite": _("Convite para um grupo"),
        "event_creation": _("Evento"),
        "payment": _("Pagamento. Veja no celular."),
        "oversized": _("Mensagem longa demais para o WhatsApp Web. Veja no celular."),
        "chat": "",
    }
    return words.get(kind, _("Mensagem de um tipo que o console ainda não mostra: abra no celular."))
