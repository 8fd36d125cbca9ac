"""All operations of the API: the functions of the overview, under the same rules as the console's pages."""

from services.accounts.api_keys import Scope
from web.api import (
    automations,
    campaigns,
    conversations,
    media,
    message_trace,
    number_changes,
    opt_outs,
    outages,
    reports,
    schedules,
    session_checks,
    uncertain,
    webhook_endpoints,
)
from web.api import templates as modelos
from web.api.conversations import MESSAGES
from web.api.messages import SEND, cancel_message, get_message, list_messages, send_message
from web.api.operation import IDEMPOTENCY_HEADER, Operation
from web.api.schemas import (
    ConnectBody,
    MessagePage,
    MessageQuery,
    MessageShape,
    SendBody,
    SessionShape,
)
from web.api.sessions import (
    SERVER_ERROR_STATUSES,
    SESSION,
    connect_session,
    disconnect_session,
    get_session,
    reconnect_session,
    stream_session,
)
from web.api.waiting import PREFER_HEADER

OPERATIONS = (
    Operation(
        "POST", SESSION, "connect", "Connect: answers the status, and the QR or code to show", Scope.SESSION,
        connect_session,
        {200: SessionShape}, SERVER_ERROR_STATUSES, ConnectBody, body_required=False, headers=PREFER_HEADER,
    ),
    Operation("GET", SESSION, "session", "The session's state", Scope.READ, get_session, {200: SessionShape}),
    Operation(
        "DELETE", SESSION, "disconnect", "Disconnect and unpair the phone", Scope.SESSION, disconnect_session,
        {200: SessionShape}, (404, *SERVER_ERROR_STATUSES),
    ),
    Operation(
        "POST", f"{SESSION}/reconectar", "reconnect", "Close and start again, without unpairing", Scope.SESSION,
        reconnect_session, {200: SessionShape}, SERVER_ERROR_STATUSES, headers=PREFER_HEADER,
    ),
    Operation(
        "GET", f"{SESSION}/ao-vivo", "live", "The state each time it changes: Server-Sent Events named `sessao`",
        Scope.READ, stream_session, {200: "text/event-stream"},
    ),
    Operation(
        "POST", SEND, "send", "Send a text, a file or a template, now or later; waits a little for the outcome",
        Scope.SEND, send_message, {200: MessageShape, 202: MessageShape}, (404, 409), SendBody,
        headers={**IDEMPOTENCY_HEADER, **PREFER_HEADER},
    ),
    Operation("GET", f"{SEND}/{{id}}", "message", "One message", Scope.READ, get_message, {200: MessageShape}, (404,)),
    Operation(
        "DELETE", f"{SEND}/{{id}}", "cancel", "Take a message back, up to the moment of sending", Scope.SEND,
        cancel_message,
        {200: MessageShape}, (404, 409),
    ),
    Operation(
        "GET", MESSAGES, "messages", "Messages in and out, newest first, by pages", Scope.READ, list_messages,
        {200: MessagePage}, query=MessageQuery,
    ),
    *number_changes.OPERATIONS,
    *uncertain.OPERATIONS,
    *conversations.OPERATIONS,
    *media.OPERATIONS,
    *modelos.OPERATIONS,
    *schedules.OPERATIONS,
    *campaigns.OPERATIONS,
    *opt_outs.OPERATIONS,
    *automations.OPERATIONS,
    *webhook_endpoints.OPERATIONS,
    *outages.OPERATIONS,
    *reports.OPERATIONS,
    *message_trace.OPERATIONS,
    *session_checks.OPERATIONS,
)  # fmt: skip
