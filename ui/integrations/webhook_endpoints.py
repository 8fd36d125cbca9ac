"""Outgoing webhooks on the screen: where events go, a secret shown once, what was delivered and what was not."""

from functools import partial
from typing import Literal
from uuid import UUID

import streamlit as st

from services.db.actor import Actor, Role
from services.fleet.session import Status
from services.integrations import webhook_endpoints
from services.integrations.webhook_endpoints import Delivery, DeliveryState, Endpoint, EventType
from services.messaging import state
from services.platform.safe_http import ADDRESS_LIMIT, Failure
from ui.components import confirm
from ui.kit import badges, dates
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard

Colour = Literal["red", "orange", "green", "gray", "blue"]
DELIVERIES_SHOWN = 10
# Streamlit keeps a form's fields: a new key after each success gives empty ones.
ENDPOINTS_MADE = "endpoints_made"


def kind_word(kind: EventType) -> str:
    """What an endpoint can hear of, as people call it."""
    words = {
        EventType.RECEIVED: _("Mensagens recebidas"),
        EventType.STATE: _("Entrega das enviadas"),
        EventType.SESSION: _("Conexão do WhatsApp"),
    }
    return words[kind]


def show_form(actor: Actor, *, everybody: bool, opened: bool) -> None:
    """Make an endpoint; its secret is shown once, in a dialog."""
    where = "all" if everybody else "own"
    number = st.session_state.setdefault(ENDPOINTS_MADE, 0)
    with (
        st.expander(_("Nova integração"), expanded=opened, icon=":material/add:"),
        st.form(f"endpoint_{where}_{number}", border=False),
    ):
        url = st.text_input(
            _("Endereço do seu sistema"), placeholder="https://erp.exemplo.com.br/whatsapp", max_chars=ADDRESS_LIMIT
        )
        kinds = st.pills(
            _("Avisar sobre"), list(EventType), selection_mode="multi", default=list(EventType), format_func=kind_word
        )
        made = st.form_submit_button(_("Criar integração"), type="primary", icon=":material/webhook:")
    if made:
        with errors.shown():
            new = webhook_endpoints.create_endpoint(actor, url, frozenset(kinds), everybody=everybody)
            st.session_state[ENDPOINTS_MADE] = number + 1
            _show_secret(new.secret)


def explain() -> None:
    """What an endpoint is good for, while there is none yet."""
    st.caption(
        _(
            "Cada aviso é um POST em JSON com os cabeçalhos `webhook-id`, `webhook-timestamp` e `webhook-signature` "
            "(padrão [Standard Webhooks](https://www.standardwebhooks.com)). Responda 2xx em até 10 s; sem resposta, "
            "tentamos de novo por três dias. Um aviso pode chegar duas vezes: o `webhook-id` é o mesmo."
        )
    )
    st.code(
        '{"type": "message.received", "timestamp": "…", "data": {"phone": "5511…", "body": "Olá!"}}',
        language=None,
        wrap_lines=True,
    )


def show_card(actor: Actor, endpoint: Endpoint) -> None:
    """One endpoint with its newest deliveries and what can be done about it."""
    with st.container(border=True, key=f"endpoint_{endpoint.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.text(endpoint.url)
            _badge(endpoint)
        st.caption(" · ".join(kind_word(kind) for kind in EventType if kind in endpoint.kinds))
        _show_trouble(endpoint)
        if endpoint.user_id is not None or actor.role is Role.ADMIN:
            _actions(actor, endpoint)
        _recent_deliveries(actor, endpoint)


def _badge(endpoint: Endpoint) -> None:
    if not endpoint.active:
        st.badge(_("Desligada"), color="gray", icon=":material/power_off:")
    elif endpoint.failing_since is not None:
        st.badge(_("Sem resposta"), color="red", icon=":material/error:")
    else:
        st.badge(_("Ligada"), color="green", icon=":material/check:")


def _show_trouble(endpoint: Endpoint) -> None:
    if endpoint.off_reason == "gone":
        st.warning(
            _("**O sistema respondeu 410 e foi desligado.** Confira o endereço com quem cuida dele e ligue de novo."),
            icon=":material/power_off:",
        )
    elif endpoint.off_reason == "failing":
        st.warning(
            _("**Ninguém respondeu por cinco dias e a integração foi desligada.** Ligue-a quando o sistema voltar."),
            icon=":material/power_off:",
        )
    elif endpoint.active and endpoint.failing_since is not None:
        st.warning(
            _(
                "**Sem resposta {ago}.** Nada se perde: {n} avisos esperam e seguem assim que o sistema responder."
            ).format(ago=dates.ago(endpoint.failing_since), n=endpoint.waiting),
            icon=":material/hourglass_top:",
        )


def _actions(actor: Actor, endpoint: Endpoint) -> None:
    key = endpoint.id
    with st.container(horizontal=True, vertical_alignment="center"):
        if endpoint.active and st.button(_("Testar"), icon=":material/send:", key=f"test_{key}"):
            with errors.shown():
                webhook_endpoints.send_test(actor, key)
                st.toast(_("Teste a caminho: o resultado aparece abaixo."), icon=":material/send:")
        if st.button(_("Trocar segredo"), icon=":material/autorenew:", key=f"rotate_{key}"):
            confirm.change_endpoint(
                _("Trocar o segredo?"),
                _("O novo vale na hora; o antigo ainda assina por 24 horas, para dar tempo de trocar no seu sistema."),
                partial(_rotate_secret, key),
            )
        label, icon = (_("Desligar"), ":material/power_off:") if endpoint.active else (_("Ligar"), ":material/power:")
        if st.button(label, icon=icon, key=f"switch_{key}"):
            with errors.shown():
                webhook_endpoints.change_endpoint(actor, key, active=not endpoint.active)
                st.rerun()
        if st.button(_("Apagar"), icon=":material/delete:", key=f"remove_{key}"):
            confirm.change_endpoint(
                _("Apagar a integração?"),
                _("O sistema não recebe mais nada, nem o que ainda esperava para ser entregue. Não há volta."),
                partial(_remove_endpoint, key),
            )


def _recent_deliveries(actor: Actor, endpoint: Endpoint) -> None:
    newest = webhook_endpoints.list_deliveries(actor, endpoint.id, limit=DELIVERIES_SHOWN)
    if not newest:
        st.caption(_("Nenhum aviso ainda. Use “Testar” para ver um chegar."))
        return
    if endpoint.dead:
        _dead_letters(actor, endpoint)
    with st.expander(_("Últimos avisos"), expanded=True, icon=":material/history:"):
        st.table([_cells(one) for one in newest], hide_index=True)


def _dead_letters(actor: Actor, endpoint: Endpoint) -> None:
    title = _("Não entregues: {n}").format(n=endpoint.dead if endpoint.dead < 1000 else "1.000+")
    with st.expander(title, icon=":material/mark_email_unread:"):
        st.caption(_("Todas as tentativas falharam. Corrija o sistema e reenvie; cada um mantém o seu webhook-id."))
        if st.button(_("Reenviar todos"), type="primary", icon=":material/replay:", key=f"replay_all_{endpoint.id}"):
            with errors.shown():
                webhook_endpoints.requeue_all(actor, endpoint.id)
                st.rerun()
        for letter in webhook_endpoints.list_deliveries(
            actor, endpoint.id, state=DeliveryState.DEAD, limit=DELIVERIES_SHOWN
        ):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.text(f"{_event_word(letter)} · {dates.short_time(letter.created_at)} · {_result_text(letter)}")
                if st.button(_("Reenviar"), icon=":material/replay:", key=f"replay_{letter.id}"):
                    with errors.shown():
                        webhook_endpoints.requeue(actor, letter.id)
                        st.rerun()


def _cells(delivery: Delivery) -> dict[str, str]:
    return {
        _("Quando"): dates.short_time(delivery.created_at),
        _("Aviso"): _event_word(delivery),
        _("Situação"): _state_word(delivery),
        _("Tentativas"): str(delivery.attempts),
    }


def _event_word(delivery: Delivery) -> str:
    if delivery.kind == webhook_endpoints.TEST_EVENT:
        return _("Teste")
    word = kind_word(EventType(delivery.kind))
    match delivery.kind, delivery.what:
        case EventType.STATE, str(what):
            return f"{word}: {badges.state_word(state.State(what)).lower()}"
        case EventType.SESSION, str(what):
            return f"{word}: {badges.session_word(Status(what)).lower()}"
    return word


def _state_word(delivery: Delivery) -> str:
    if delivery.state is DeliveryState.DONE:
        return ":green[" + _("Entregue") + "]" + (f" · {delivery.status}" if delivery.status else "")
    if delivery.state is DeliveryState.DEAD:
        return ":red[" + _("Não entregue") + f"] · {_result_text(delivery)}"
    if not delivery.attempts:
        return _("Na fila")
    return (
        ":orange["
        + _("Nova tentativa {moment}").format(moment=dates.short_time(delivery.next_at))
        + f"] · {_result_text(delivery)}"
    )


def _result_text(delivery: Delivery) -> str:
    if delivery.status is not None:
        return _("respondeu {status}").format(status=delivery.status)
    words = {
        Failure.TIMEOUT: _("não respondeu em 10 s"),
        Failure.UNREACHABLE: _("ninguém atende no endereço"),
        Failure.FORBIDDEN: _("o endereço leva a uma rede interna"),
        Failure.INSECURE: _("o certificado não vale"),
        Failure.UNREADABLE: _("a resposta não é HTTP"),
    }
    return words.get(Failure(delivery.error), "") if delivery.error in set(Failure) else _("sem resposta")


def _show_secret(secret: str) -> None:
    @st.dialog(_("Copie o segredo agora"), dismissible=False)
    def dialog() -> None:
        guard()
        st.write(_("Com ele o seu sistema confere que cada aviso é nosso. Ele não será mostrado de novo."))
        st.code(secret, language=None, wrap_lines=True)
        if st.button(_("Já guardei"), type="primary", icon=":material/check:", width="stretch", key="secret_kept"):
            st.rerun()

    dialog()


ROTATED_SECRET = "endpoint_rotated"


def _rotate_secret(endpoint_id: UUID, actor: Actor) -> None:
    with errors.shown():
        # One dialog at a time: the next run shows it.
        st.session_state[ROTATED_SECRET] = webhook_endpoints.rotate_secret(actor, endpoint_id).secret
        st.rerun()


def show_rotated_secret() -> None:
    """Show a secret that was just changed, once."""
    if secret := st.session_state.pop(ROTATED_SECRET, None):
        _show_secret(secret)


def _remove_endpoint(endpoint_id: UUID, actor: Actor) -> None:
    with errors.shown():
        webhook_endpoints.delete_endpoint(actor, endpoint_id)
        st.rerun()
