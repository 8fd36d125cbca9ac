"""Messages that the owner's rules answer."""

from datetime import datetime, time
from uuid import UUID, uuid4

from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.inbound import automations, effects, ingest
from services.inbound.automations import RuleOutcome
from services.platform import local_time
from services.wppconnect.events import InboundMessage
from tests.support import days
from tests.support.local_times import SAO_PAULO

CLOSED: automations.OpeningHours = (None,) * 7
OFFICE_HOURS: automations.OpeningHours = ((time(8), time(18)),) * 5 + (None, None)
ANA = "5511987654321@c.us"
# A Wednesday in São Paulo.
DAY = days.past_week_from(2)
NIGHT = local_time.to_utc(datetime.combine(DAY, time(22)), SAO_PAULO)


def ingest_text(
    session_id: UUID, text: str = "oi", at: datetime = NIGHT, sender: str = ANA, *, now: datetime | None = None,
    kind: str = "chat", chat: str | None = None,
) -> list[RuleOutcome]:  # fmt: skip
    """A message comes in, as the inbox takes it."""
    message = InboundMessage(
        id=f"false_{sender}_{uuid4().hex}", from_=sender, to=None, chat_id=chat or sender, type=kind, body=text,
        timestamp=int(at.timestamp()), is_group=chat is not None,
    )  # fmt: skip
    with transaction(SYSTEM) as tx:
        taken = ingest.ingest_message(tx, session_id, message, at)
        assert taken is not None
        return effects.apply_effects(tx, taken, automations.list_active_rules(tx, taken.user_id), now or at)
