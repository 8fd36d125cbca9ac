"""Questions before actions that one click cannot undo. Each is a dialog that guards itself."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import streamlit as st

from services.db.actor import Actor, Role
from ui.kit.i18n import _
from ui.shell.guard import guard

STAFF = (Role.ADMIN, Role.OPERATOR)


def disconnect_own(end: Callable[[Actor], None]) -> None:
    """Ask whether to disconnect one's own session; `end` does it."""
    _ask(
        _("Desconectar o WhatsApp?"),
        _("O console sai dos aparelhos conectados do celular. Para voltar será preciso ler um novo código."),
        end,
    )


def disconnect_other(email: str, user_id: UUID, end: Callable[[Actor, UUID], None]) -> None:
    """Ask staff whether to disconnect somebody's session; `end` does it."""
    _ask(
        _("Desconectar {email}?").format(email=email),
        _("A pessoa precisará ler um novo código no celular para voltar. A ação fica registrada em seu nome."),
        partial(_call_for, user_id, end),
        *STAFF,
    )


def restart_session(email: str, user_id: UUID, act: Callable[[Actor, UUID], None]) -> None:
    """Ask staff whether to close and start somebody's session; `act` does it."""
    _ask(
        _("Reiniciar {email}?").format(email=email),
        _("A sessão sai do ar por alguns segundos e volta sozinha; o celular continua pareado."),
        partial(_call_for, user_id, act),
        *STAFF,
        yes=(_("Reiniciar"), ":material/restart_alt:"),
    )


def close_session(email: str, user_id: UUID, act: Callable[[Actor, UUID], None]) -> None:
    """Ask staff whether to stop somebody's session; `act` does it."""
    _ask(
        _("Fechar {email}?").format(email=email),
        _("A sessão para e fica parada até alguém conectar de novo; o celular continua pareado."),
        partial(_call_for, user_id, act),
        *STAFF,
        yes=(_("Fechar"), ":material/stop_circle:"),
    )


def move_session(email: str, server: str, act: Callable[[Actor], None]) -> None:
    """Ask staff whether to take somebody's session to another server; `act` does it."""
    _ask(
        _("Mover {email}?").format(email=email),
        _("A sessão termina onde está e começa em {server}: a pessoa precisará ler um novo código no celular.").format(
            server=server
        ),
        act,
        *STAFF,
        yes=(_("Mover"), ":material/move_up:"),
    )


def start_rolling_restart(which: str, act: Callable[[Actor], None]) -> None:
    """Ask staff whether to restart many sessions; `act` begins it."""
    _ask(
        _("Reiniciar em ondas?"),
        _(
            "**{which}**: cada sessão conectada sai do ar por alguns segundos, poucas de cada vez. Dá para pausar."
        ).format(which=which),
        act,
        *STAFF,
        yes=(_("Começar"), ":material/restart_alt:"),
    )


def stop_sending(act: Callable[[Actor], None]) -> None:
    """Ask whether everything that a session sends shall stop at once; `act` does it."""
    _ask(
        _("Parar todos os envios?"),
        _("Nada mais sai deste WhatsApp: nem a fila, nem agendamentos, nem campanhas. Dá para voltar depois."),
        act,
        yes=(_("Parar tudo"), ":material/front_hand:"),
    )


def drop_of_number(earlier: str, act: Callable[[Actor], None]) -> None:
    """Ask whether all that was made for the number before shall never leave; `act` does it."""
    _ask(
        _("Descartar o que era de {phone}?").format(phone=earlier),
        _(
            "O que está na fila é cancelado, as campanhas terminam e os agendamentos são pausados. Só os agendamentos"
            " podem ser retomados depois."
        ),
        act,
        yes=(_("Descartar"), ":material/delete:"),
    )


def end_schedule(name: str, act: Callable[[Actor], None]) -> None:
    """Ask whether a schedule shall end for good; `act` does it."""
    _ask(
        _("Encerrar {name}?").format(name=name),
        _("Nada mais é enviado por este agendamento. O que já saiu continua no histórico."),
        act,
        yes=(_("Encerrar"), ":material/event_busy:"),
    )


def cancel_campaign(name: str, waiting: int, act: Callable[[Actor], None]) -> None:
    """Ask whether a campaign shall end before everybody got it; `act` does it."""
    _ask(
        _("Cancelar {name}?").format(name=name),
        _(
            "**{n}** pessoas ainda não receberam e não receberão por esta campanha. O que está na fila é retirado; "
            "o que já começou a sair não volta. Não dá para retomar."
        ).format(n=waiting),
        act,
        yes=(_("Cancelar a campanha"), ":material/cancel:"),
    )


def change_user(title: str, consequence: str, act: Callable[[Actor], None]) -> None:
    """Ask an admin whether to do something to a user; `act` does it."""
    _ask(title, consequence, act, Role.ADMIN, yes=(_("Confirmar"), ":material/check:"))


def revoke_key(name: str, key_id: UUID, end: Callable[[Actor, UUID], None]) -> None:
    """Ask whether to take an API key back; `end` does it."""
    _ask(
        _("Revogar a chave {name}?").format(name=name),
        _("Os programas que a usam param de funcionar na hora. Não há volta: para eles será preciso outra chave."),
        partial(_call_for, key_id, end),
        yes=(_("Revogar"), ":material/key_off:"),
    )


def change_endpoint(title: str, consequence: str, act: Callable[[Actor], None]) -> None:
    """Ask whether to do something to an endpoint; `act` does it."""
    _ask(title, consequence, act, yes=(_("Confirmar"), ":material/check:"))


def remove_rule(consequence: str, act: Callable[[Actor], None]) -> None:
    """Ask whether to forget a rule; `act` does it."""
    _ask(_("Apagar a regra?"), consequence, act, yes=(_("Apagar"), ":material/delete:"))


def purge_expired(what: str, start: Callable[[Actor], None]) -> None:
    """Ask an admin whether to delete `what` (Markdown); `start` does it."""
    _ask(_("Limpar agora?"), what, start, Role.ADMIN, yes=(_("Limpar"), ":material/mop:"))


def replay_many(count: int, act: Callable[[Actor], None]) -> None:
    """Ask staff whether to send `count` failed events round again; `act` does it."""
    _ask(
        _("Reprocessar {n} eventos?").format(n=count),
        _("Eles voltam para a fila e podem mudar sessões e mensagens. A ação fica registrada em seu nome."),
        act,
        Role.ADMIN,
        Role.OPERATOR,
        yes=(_("Reprocessar"), ":material/replay:"),
    )


def send_again(act: Callable[[Actor], None]) -> None:
    """Ask whether an uncertain message shall be queued once more; `act` does it."""
    _ask(
        _("Enviar de novo?"),
        _("Se a primeira tiver saído, a pessoa recebe a mensagem **duas vezes**. Confira a conversa no celular antes."),
        act,
        yes=(_("Enviar de novo"), ":material/send:"),
    )


def drop_message(act: Callable[[Actor], None]) -> None:
    """Ask whether an uncertain message shall be let go; `act` does it."""
    _ask(
        _("Descartar a mensagem?"),
        _("Ela não será enviada de novo. Se tiver saído, a pessoa já a tem."),
        act,
        yes=(_("Descartar"), ":material/delete:"),
    )


def send_waiting(count: int, act: Callable[[Actor], None]) -> None:
    """Ask whether messages that waited too long shall leave now; `act` does it."""
    _ask(
        _("Enviar {n} mensagens agora?").format(n=count),
        _("Elas saem na ordem, uma por vez. Confira se o que dizem ainda vale hoje."),
        act,
        yes=(_("Enviar agora"), ":material/send:"),
    )


def discard_waiting(count: int, act: Callable[[Actor], None]) -> None:
    """Ask whether messages that waited too long shall never leave; `act` does it."""
    _ask(
        _("Descartar {n} mensagens?").format(n=count),
        _("Nenhuma delas saiu, e nenhuma vai sair."),
        act,
        yes=(_("Descartar"), ":material/delete:"),
    )


def drain_server(name: str, what: str, start: Callable[[Actor], None]) -> None:
    """Ask an admin whether a server shall get no new session, with the consequence `what` (Markdown)."""
    _ask(_("Esvaziar {name}?").format(name=name), what, start, Role.ADMIN, yes=(_("Esvaziar"), ":material/output:"))


def archive_template(name: str, template_id: UUID, act: Callable[[Actor, UUID], None]) -> None:
    """Ask whether to put a template away; `act` does it."""
    _ask(
        _("Arquivar {name}?").format(name=name),
        _("O modelo sai das listas de quem o usa. As mensagens enviadas com ele ficam, e dá para desarquivar."),
        partial(_call_for, template_id, act),
        yes=(_("Arquivar"), ":material/archive:"),
    )


def _call_for(subject: UUID, end: Callable[[Actor, UUID], None], actor: Actor) -> None:
    end(actor, subject)


def _ask(
    title: str,
    consequence: str,
    act: Callable[[Actor], None],
    *roles: Role,
    yes: tuple[str, str] | None = None,
) -> None:
    label, icon = yes or (_("Desconectar"), ":material/link_off:")

    @st.dialog(title)
    def dialog() -> None:
        actor = guard(*roles)
        st.write(consequence)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(_("Voltar"), key="confirm_no"):
                st.rerun()
            if st.button(label, type="primary", icon=icon, key="confirm_yes"):
                act(actor)

    dialog()
