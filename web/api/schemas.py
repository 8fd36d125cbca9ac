"""What the API takes and gives, by the names that programs see: the overview's names where it has one."""

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from services.errors import InvalidInput
from services.fleet import qr_image
from services.fleet.session import Session, Status
from services.messaging.content import Kind
from services.messaging.state import Direction, Message, State, WaitReason
from web.api.given_texts import Text, Values, without_nulls

PAGE_LIMIT = 200
MEDIA_ID_PATTERN = "^[0-9a-f]{64}$"
# A time of day to the minute.
CLOCK_PATTERN = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
PHONE_WORDS = (
    "A number with its area code, and outside of Brazil with + and its country's code, written in any way (a whole JSON"
    " number too); or an address: `…@c.us`, `…@s.whatsapp.net`, a person's `…@lid`, a group's `…@g.us`."
)
VALUES_WORDS = (
    "The template's variables. A number, `true` or `false` becomes the text that it is (`120.50` is `120.5` in JSON:"
    " what must keep its form is sent as a text); null counts as not given."
)


class Input(BaseModel):
    """Fields of callers that are newer or older than this are ignored, as a drop-in must; null counts as not given."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        return without_nulls(given)


class ConnectBody(Input):
    phone: Text | None = Field(None, max_length=40, description="Pair by a code typed on this phone instead of a QR.")


class LocationBody(Input):
    lat: float = Field(ge=-90, le=90)
    lng: float = Field(ge=-180, le=180)
    title: str = Field("", max_length=200)
    address: str = Field("", max_length=400)


class ContactCardBody(Input):
    name: Text = Field(min_length=1, max_length=100)
    phone: Text = Field(max_length=300)


class ContentBody(Input):
    """What is to be sent: a text, a file, a place, a contact card, or what a template gives."""

    message: Text = Field("", max_length=100_000, description="The text, up to 4,096 characters; a file's caption.")
    kind: Kind = Field(Kind.TEXT, description="What it is sent as.")
    media_id: str | None = Field(None, pattern=MEDIA_ID_PATTERN, description="The file, uploaded before.")
    filename: str | None = Field(None, max_length=200)
    location: LocationBody | None = None
    contact: ContactCardBody | None = None
    template_id: UUID | None = Field(None, description="Send what this template gives instead.")


class SendBody(ContentBody):
    phone: Text = Field(max_length=300, description=PHONE_WORDS)
    contact_name: Text | None = Field(None, max_length=200)
    run_at: AwareDatetime | None = Field(None, description="When it shall leave, with an offset; default now.")
    values: Values = Field(default_factory=dict, description=VALUES_WORDS)


class RecipientBody(Input):
    phone: Text = Field(max_length=300, description=PHONE_WORDS)
    name: Text | None = Field(None, max_length=200)
    values: Values = Field(default_factory=dict, description=VALUES_WORDS)


class SwitchBody(Input):
    active: bool


class LimitQuery(Input):
    limit: int = Field(50, ge=1, le=PAGE_LIMIT)


class PageQuery(LimitQuery):
    cursor: str | None = Field(None, max_length=500, description="`next` of the page before.")


class MessageQuery(PageQuery):
    direction: Direction | None = Field(None, description="`out`, `in`, or both where it is missing.")


class SessionShape(BaseModel):
    """A user's session: `status` as we stored it, `reported_state` as the server says, `last_proof_at` as proved."""

    session_id: str | None = Field(
        description="Its name on the WPPConnect server, `user_<uuid>`; null before the first."
    )
    status: Status
    qr_code: str | None = Field(None, description="A PNG as a `data:` URL, only while it may be scanned.")
    qr_expires_at: datetime | None = None
    phone_code: str | None = Field(None, description="The code to type on the phone, when pairing by phone.")
    phone_number: str | None = None
    device_name: str | None = None
    reported_state: str | None = None
    last_proof_at: datetime | None = None
    last_proof_kind: str | None = None
    connected_at: datetime | None = None
    failure: str | None = Field(None, description="Why it ended, as a stable code.")
    waits_until: datetime | None = Field(
        None, description="The start waits until then at the latest: an earlier one still holds the profile."
    )
    updated_at: datetime | None = None

    @classmethod
    def of(cls, session: Session | None) -> Self:
        """A session as its owner sees it; before the first there is one that is `desconectado`."""
        if session is None:
            return cls(session_id=None, status=Status.DISCONNECTED)
        return cls(
            session_id=session.name,
            status=session.status,
            qr_code=_qr_picture(session),
            qr_expires_at=session.qr.expires_at if session.qr else None,
            phone_code=session.phone_code,
            phone_number=session.phone_number,
            device_name=session.device_name,
            reported_state=session.reported_state,
            last_proof_at=session.last_proof_at,
            last_proof_kind=session.last_proof_kind,
            connected_at=session.connected_at,
            failure=session.failure,
            waits_until=session.waits_until,
            updated_at=session.updated_at,
        )


class MessageShape(BaseModel):
    """A message and where it is: `state` moves only forward, on evidence."""

    id: UUID
    direction: Direction
    state: State
    phone: str = Field(description="Digits with country code; a person's `…@lid` or a group's `…@g.us` as it is.")
    contact_name: str | None
    kind: str = Field(description="What it carries, in WhatsApp's own words: `chat` is a text.")
    message: str = Field(description="The text, or the caption of a file.")
    media_id: str | None = Field(description="Its file.")
    mimetype: str | None
    filename: str | None
    detail: dict[str, Any] = Field(description="What its kind has beyond text and file: a place, a contact card, …")
    failure: str | None = Field(description="Why it failed, as a stable code.")
    waiting_reason: WaitReason | None = Field(
        description="What it waits for that is due and did not leave; it leaves by itself afterwards, but for `owner`:"
        " it waited too long and its owner decides."
    )
    waiting_since: datetime | None
    run_at: datetime
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None

    @classmethod
    def of(cls, message: Message) -> Self:
        return cls(
            id=message.id,
            direction=message.direction,
            state=message.state,
            phone=message.phone,
            contact_name=message.contact_name,
            kind=message.kind,
            message=message.body,
            media_id=message.media_sha256.hex() if message.media_sha256 else None,
            mimetype=message.mimetype,
            filename=message.filename,
            detail=dict(message.detail),
            failure=message.failure,
            waiting_reason=message.waiting.reason if message.waiting else None,
            waiting_since=message.waiting.since if message.waiting else None,
            run_at=message.run_at,
            created_at=message.created_at,
            sent_at=message.sent_at,
            delivered_at=message.delivered_at,
            read_at=message.read_at,
        )


class MessagePage(BaseModel):
    items: list[MessageShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


class DoneShape(BaseModel):
    done: bool = True


class WrongCursor(InvalidInput):
    code = "cursor_invalido"


def encode_cursor(*place: object) -> str:
    """An opaque word for "what follows this place in the order of the list"."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def decode_cursor(cursor: str, *readers: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The place that `cursor_of` hid, each part through its reader.

    Raises: WrongCursor for anything else.
    """
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(cursor))
        if not isinstance(parts, list):
            raise ValueError("not a place")
        return tuple(read(part) for read, part in zip(readers, parts, strict=True))
    except (ValueError, TypeError, AttributeError):
        raise WrongCursor("not one of our cursors") from None


def read_seq(given: Any) -> int:
    """A message's `seq` out of a cursor.

    Raises: ValueError.
    """
    if not isinstance(given, int) or not 0 <= given < 2**63:
        raise ValueError("no seq")
    return given


def read_time(given: Any) -> datetime:
    """A time with its offset out of a cursor.

    Raises: ValueError, TypeError.
    """
    found = datetime.fromisoformat(given)
    if found.tzinfo is None:
        raise ValueError("no offset")
    return found


def _qr_picture(session: Session) -> str | None:
    if session.qr is None:
        return None
    if session.qr.urlcode:
        return qr_image.render_png_url(session.qr.urlcode)
    png = session.qr.png or ""
    return png if png.startswith("data:") else f"data:image/png;base64,{png}"
