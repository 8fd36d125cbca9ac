"""What a person can do with their own session on a page, a program can do through the same service call."""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from web.api.operation import Operation
from web.api.registry import OPERATIONS

ROOT = Path(__file__).parents[3]
# The pages of a user's own session, with what they draw with.
PAGES = (
    "my_whatsapp", "send", "templates", "schedules", "campaigns", "conversations", "uncertain", "rules", "forwarding",
    "outages", "reports", "message", "keys", "diagnostics",
)  # fmt: skip
FEATURES = ("my_session", "sending", "inbound", "diagnostics", "reporting", "integrations")
COMPONENTS = ("media", "kill_switch", "message_trace", "opt_out_undo")
# The modules whose functions a page calls for its user.
SERVICES = (
    "fleet.session", "fleet.commands", "fleet.own_number", "outreach.number_change", "messaging.outbox",
    "messaging.uncertain", "messaging.overdue",
    "messaging.attachments", "messaging.kill_switch", "outreach.templates", "outreach.template_content",
    "outreach.template_language", "outreach.template_exchange", "outreach.schedules", "outreach.schedule_history",
    "outreach.recurrence", "outreach.campaigns", "outreach.campaign_state", "outreach.campaign_progress",
    "outreach.campaign_forecast", "outreach.campaign_rules", "inbound.conversations", "inbound.conversation_actions",
    "inbound.automations", "inbound.outages", "inbound.backfill", "contacts.contacts", "contacts.opt_outs",
    "platform.media_store", "reporting.reports", "integrations.webhook_endpoints", "integrations.webhook_delivery",
    "accounts.api_keys", "diagnostics.message_trace", "diagnostics.session_checks", "diagnostics.facts",
)  # fmt: skip

# The service call of a page → the operation of the API that makes the same one.
PAIRS = {
    "attachments.store_attachment": "upload",
    "attachments.prepare": "upload",
    "backfill.request_chat": "read_again",
    "kill_switch.resume_sending": "set_kill_switch",
    "kill_switch.stop_sending": "set_kill_switch",
    "kill_switch.get_stop": "kill_switch",
    "own_number.get_change": "number",
    "own_number.list_earlier": "number",
    "number_change.list_waiting": "number",
    "number_change.decide": "decide_number",
    "campaigns.set_pacing": "pace_campaign",
    "campaigns.cancel": "move_campaign",
    "campaigns.confirm": "move_campaign",
    "campaigns.create": "new_campaign",
    "campaign_state.get_campaign": "campaign",
    "campaigns.list_campaigns": "campaigns",
    "campaigns.set_paused": "move_campaign",
    "campaign_progress.get_progress": "campaign",
    "campaign_progress.list_results": "campaign_results",
    "contacts.block": "block",
    "contacts.opt_out": "opt_out",
    "contacts.mark_read": "mark_read",
    "contacts.save": "save_contact",
    "session_checks.examine": "examine",
    "message_trace.get_trace": "story",
    "facts.ask_server": "examine",
    "webhook_endpoints.list_deliveries": "deliveries",
    "webhook_endpoints.list_endpoints": "endpoints",
    "webhook_endpoints.requeue": "replay",
    "webhook_endpoints.requeue_all": "replay_all",
    "webhook_endpoints.send_test": "test_endpoint",
    "outages.list_lost_chats": "lost_chats",
    "outages.list_own": "outages",
    "media_store.get": "file",
    "media_store.read": "file",
    "overdue.decide_overdue": "choose",
    "overdue.list_overdue": "asked",
    "outbox.cancel": "cancel",
    "uncertain.read_chat": "evidence",
    "uncertain.decide": "decide",
    "outbox.get_message": "message",
    "overdue.list_overdue_groups": "asked",
    "outbox.queue": "send",
    "outbox.list_recent": "messages",
    "uncertain.list_uncertain": "uncertain",
    "opt_outs.add": "note_opt_out",
    "opt_outs.end": "end_opt_out",
    "opt_outs.list_page": "opt_outs",
    "reports.get_report": "report",
    "automations.add_label": "new_label",
    "automations.list_rules": "rules",
    "automations.delete_rule": "remove_rule",
    "automations.save_auto_reply": "auto_reply",
    "automations.set_active": "switch_rule",
    "automations.list_uses": "rule_uses",
    "schedules.change": "change_schedule",
    "schedules.create": "new_schedule",
    "schedules.end": "end_schedule",
    "schedules.get_schedule": "schedule",
    "schedules.list_schedules": "schedules",
    "schedules.set_paused": "pause_schedule",
    "schedule_history.list_runs": "schedule_runs",
    "schedules.set_skipped": "skip_run",
    "schedules.list_upcoming": "next_runs",
    "commands.connect": "connect",
    "commands.disconnect": "disconnect",
    "session.get": "session",
    "commands.reconnect": "reconnect",
    "templates.set_archived": "archive_template",
    "templates.duplicate": "copy_template",
    "template_exchange.export_json": "export_templates",
    "templates.get_template": "template",
    "template_exchange.import_json": "import_templates",
    "templates.list_templates": "templates",
    "templates.list_own": "export_templates",
    "template_content.render": "fill_template",
    "templates.save": "change_template",
    "templates.list_versions": "template_versions",
    "conversation_actions.request_file": "fetch_file",
    "conversations.list_chats": "chats",
    "conversation_actions.react": "react",
    "conversation_actions.reply": "reply",
    "conversations.search_messages": "search",
    "conversations.get_thread": "thread",
}
# What is only a page's, and why.
ONLY_PAGES = {
    **dict.fromkeys(
        (
            "campaign_progress.result_detail",
            "campaign_forecast.forecast_campaign",
            "campaign_rules.get_limits",
            "campaign_progress.result_label",
            "campaign_forecast.get_pacing_status",
        ),
        "a forecast, drawn while its draft is looked at",
    ),
    "campaign_progress.export_results": "a sheet of what `campaign_results` gives",
    **dict.fromkeys(
        ("schedule_history.list_calendar", "recurrence.preview_occurrences"), "a calendar's cells and a draft's dates"
    ),
    **dict.fromkeys(
        (
            "template_content.check_draft",
            "template_language.variable_name",
            "template_language.variables",
            "templates.with_file",
        ),
        "an editor's help while one writes; saving checks the same",
    ),
    "attachments.kind_of": "how a chosen file will be sent; programs name its kind",
    "campaigns.pause_all": "one press for several; programs pause each campaign",
    **dict.fromkeys(
        ("opt_outs.filter_opted_out", "opt_outs.is_opted_out"),
        "a warning beside what is being typed; programs have the list, and schedules name who is silenced",
    ),
    "outbox.get_wait": "a sentence over a campaign; programs see it at each message",
    "contacts.get": "a card beside the thread; programs see it in each thread",
    "conversations.count_pages_to": "how far a page must scroll to a message that was found",
    **dict.fromkeys(
        (
            "webhook_endpoints.change_endpoint",
            "webhook_endpoints.create_endpoint",
            "webhook_endpoints.delete_endpoint",
            "webhook_endpoints.rotate_secret",
        ),
        "where events go: what a stolen key had set up would go on telling after its revocation",
    ),
    **dict.fromkeys(
        ("api_keys.create", "api_keys.list_keys", "api_keys.revoke"),
        "a key that makes keys would outlive its revocation",
    ),
    **dict.fromkeys(
        (
            "outages.list_session_outages",
            "outages.list_outages",
            "uncertain.count_decisions_waiting",
            "reports.list_people",
            "reports.get_ranking",
            "automations.list_all_uses",
            "templates.set_shared",
        ),
        "staff's, and the API is a user's own",
    ),
}


def own_files() -> Iterator[Path]:
    """What draws a user's own pages."""
    yield from (ROOT / "pages" / f"{name}.py" for name in PAGES)
    for feature in FEATURES:
        yield from (ROOT / "ui" / feature).glob("*.py")
    yield from (ROOT / "ui" / "components" / f"{name}.py" for name in COMPONENTS)


def service_names(tree: ast.Module) -> dict[str, str]:
    """By the names under which a file imports the services: a widget's module may be called like one."""
    return {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if f"{node.module}.{alias.name}".removeprefix("services.") in SERVICES
    }


def calls_in(tree: ast.AST, services: Mapping[str, str]) -> set[str]:
    """Every function of the services that this code calls or hands on."""
    return {
        f"{services[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in services
        and node.attr.islower()
    }


def calls_of_file(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return calls_in(tree, service_names(tree))


def calls_of_operation(operation: Operation) -> set[str]:
    """What serves it calls, itself or through other functions of its module."""
    module = sys.modules[operation.serve.__module__]
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    services, calls = service_names(tree), set[str]()
    waiting, seen = [operation.serve.__name__], set[str]()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        calls |= calls_in(functions[name], services)
        used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        waiting += (used & set(functions)) - seen
    return calls


def test_it_offers_programs_what_the_pages_offer_people() -> None:
    on_pages = {call for path in own_files() for call in calls_of_file(path)}
    assert on_pages == set(PAIRS) | set(ONLY_PAGES)
    assert not set(PAIRS) & set(ONLY_PAGES)


@pytest.mark.parametrize(("call", "name"), PAIRS.items())
def test_each_operation_makes_the_call_of_its_page(call: str, name: str) -> None:
    (operation,) = [known for known in OPERATIONS if known.name == name]
    assert call in calls_of_operation(operation)
