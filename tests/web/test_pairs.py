"""What a person can do with their own session on a page, a program can do through the same service call."""

import ast
from pathlib import Path

from web.api import OPERATIONS

ROOT = Path(__file__).parents[2]
# The pages of a user's own session, with what they draw with.
OWN = (
    "pages/my_whatsapp.py", "pages/send.py", "pages/templates.py", "pages/schedules.py", "pages/campaigns.py",
    "pages/conversations.py", "pages/uncertain.py", "ui/session_card.py", "ui/compose.py", "ui/several.py",
    "ui/recipients.py", "ui/templates.py", "ui/template_editor.py", "ui/schedules.py", "ui/campaigns.py",
    "ui/conversations.py", "ui/uncertain.py", "ui/files.py", "ui/brake.py", "pages/rules.py", "ui/rules.py",
    "pages/forwarding.py", "ui/forwarding.py", "pages/gaps.py", "ui/gaps.py", "pages/reports.py", "ui/reports.py",
    "pages/message.py", "ui/dossier.py", "pages/keys.py", "ui/api_keys.py",
    "pages/diagnostics.py", "ui/diagnostics.py",
)  # fmt: skip
SERVICES = (
    "sessions", "messages", "templates", "schedules", "campaigns", "threads", "contacts", "media", "attachments",
    "optouts", "brake", "rules", "forwarding", "gaps", "backfill", "reports", "dossier", "keys",
    "diagnostics", "evidence",
)  # fmt: skip

# The service call of a page → the operation of the API that makes the same one.
PAIRS = {
    "attachments.keep": "upload",
    "attachments.prepare": "upload",
    "backfill.chat": "read_again",
    "brake.let_go": "move_brake",
    "brake.pull": "move_brake",
    "brake.pulled": "brake",
    "campaigns.adjust": "pace_campaign",
    "campaigns.cancel": "move_campaign",
    "campaigns.confirm": "move_campaign",
    "campaigns.create": "new_campaign",
    "campaigns.get": "campaign",
    "campaigns.mine": "campaigns",
    "campaigns.pause": "move_campaign",
    "campaigns.progress": "campaign",
    "campaigns.results": "campaign_results",
    "contacts.block": "block",
    "contacts.get": "thread",
    "contacts.opt_out": "opt_out",
    "contacts.read": "mark_read",
    "contacts.save": "save_contact",
    "diagnostics.examine": "examine",
    "dossier.of": "story",
    "evidence.ask": "examine",
    "forwarding.deliveries": "deliveries",
    "forwarding.listing": "endpoints",
    "forwarding.replay": "replay",
    "forwarding.replay_all": "replay_all",
    "forwarding.test": "test_endpoint",
    "gaps.lost_chats": "lost_chats",
    "gaps.mine": "gaps",
    "media.get": "file",
    "media.read": "file",
    "messages.answer": "choose",
    "messages.asked": "asked",
    "messages.cancel": "cancel",
    "messages.chat_of": "evidence",
    "messages.decide": "decide",
    "messages.get": "message",
    "messages.questions": "asked",
    "messages.queue": "send",
    "messages.recent": "messages",
    "messages.uncertain": "uncertain",
    "optouts.add": "note_opt_out",
    "optouts.newest": "opt_outs",
    "reports.report": "report",
    "rules.add_label": "new_label",
    "rules.mine": "rules",
    "rules.remove": "remove_rule",
    "rules.save_auto_reply": "auto_reply",
    "rules.switch": "switch_rule",
    "rules.uses": "rule_uses",
    "schedules.change": "change_schedule",
    "schedules.create": "new_schedule",
    "schedules.end": "end_schedule",
    "schedules.get": "schedule",
    "schedules.mine": "schedules",
    "schedules.pause": "pause_schedule",
    "schedules.runs": "schedule_runs",
    "schedules.skip": "skip_run",
    "schedules.upcoming": "next_runs",
    "sessions.connect": "connect",
    "sessions.disconnect": "disconnect",
    "sessions.get": "session",
    "sessions.reconnect": "reconnect",
    "templates.archive": "archive_template",
    "templates.duplicate": "copy_template",
    "templates.export_json": "export_templates",
    "templates.get": "template",
    "templates.import_json": "import_templates",
    "templates.mine": "templates",
    "templates.portable": "export_templates",
    "templates.render": "fill_template",
    "templates.save": "change_template",
    "templates.versions": "template_versions",
    "threads.ask_for_file": "fetch_file",
    "threads.chats": "chats",
    "threads.react": "react",
    "threads.reply": "reply",
    "threads.search": "search",
    "threads.thread": "thread",
}
# What is only a page's, and why.
ONLY_PAGES = {
    **dict.fromkeys(
        ("campaigns.detail", "campaigns.expect", "campaigns.limits", "campaigns.situation", "campaigns.standing"),
        "a forecast, drawn while its draft is looked at",
    ),
    "campaigns.table": "a sheet of what `campaign_results` gives",
    **dict.fromkeys(("schedules.between", "schedules.preview"), "a calendar's cells and a draft's dates"),
    **dict.fromkeys(
        ("templates.check", "templates.variable_name", "templates.variables", "templates.with_file"),
        "an editor's help while one writes; saving checks the same",
    ),
    "optouts.among": "a warning beside a number that is being typed; programs have the list",
    "messages.waits": "a sentence over a campaign; programs see it at each message",
    "threads.pages_to": "how far a page must scroll to a message that was found",
    **dict.fromkeys(
        ("forwarding.change", "forwarding.create", "forwarding.remove", "forwarding.rotate"),
        "where events go: what a stolen key had set up would go on telling after its revocation",
    ),
    **dict.fromkeys(("keys.make", "keys.mine", "keys.revoke"), "a key that makes keys would outlive its revocation"),
    **dict.fromkeys(
        (
            "gaps.of_outage",
            "gaps.outages",
            "messages.waiting_decisions",
            "reports.people",
            "reports.ranking",
            "rules.everybodys_uses",
            "templates.share",
        ),
        "staff's, and the API is a user's own",
    ),
}


def calls_of(*paths: str) -> set[str]:
    """Every function of the services that these files call or hand on."""
    return {call for path in paths for call in _calls(ast.parse((ROOT / path).read_text()))}


def _calls(tree: ast.Module) -> set[str]:
    """By the names under which the file imports the services; a widget's module may be called like one."""
    services = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "services"
        for alias in node.names
        if alias.name in SERVICES
    }
    return {
        f"{services[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in services
        and node.attr.islower()
    }


def test_it_offers_programs_what_the_pages_offer_people() -> None:
    assert calls_of(*OWN) == set(PAIRS) | set(ONLY_PAGES)
    assert not set(PAIRS) & set(ONLY_PAGES)
    assert set(PAIRS) <= calls_of(*(str(path.relative_to(ROOT)) for path in (ROOT / "web").glob("*.py")))
    assert set(PAIRS.values()) <= {operation.name for operation in OPERATIONS}
