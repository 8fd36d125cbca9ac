"""Files by the API: uploaded once, named by their SHA-256, and used in any number of messages."""

from typing import Self

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.accounts.api_keys import Scope
from services.errors import NotFound
from services.messaging import attachments
from services.messaging.content import Kind
from services.messaging.transcoding import MB
from services.platform import media_store
from services.platform.media_store import Media
from web.api.operation import Call, Operation
from web.api.responses import HEADERS, answer
from web.api.schemas import Input, PageQuery, decode_cursor, encode_cursor, read_time

MEDIA = "/functions/v1/midias-whatsapp"
# The largest that WhatsApp takes as anything; below it each kind has a limit of its own.
UPLOAD_BYTES = attachments.LIMIT_MB[Kind.DOCUMENT] * MB


class UploadQuery(Input):
    kind: Kind | None = Field(None, description="What it will be sent as; by its content where this is missing.")
    filename: str = Field("", max_length=200, description="Tells office files apart, whose content does not.")


class MediaShape(BaseModel):
    """A file of the caller's: `id` is what messages and templates name it by."""

    id: str = Field(description="Its SHA-256.")
    mimetype: str = Field(description="By its content, whatever it was called.")
    size: int = Field(description="Bytes.")

    @classmethod
    def of(cls, file: Media) -> Self:
        return cls(id=file.sha256.hex(), mimetype=file.mimetype, size=file.size)


class UploadShape(MediaShape):
    """A file that was looked into and put right: what to send it as, and under which name."""

    kind: Kind
    filename: str
    notices: list[str] = Field(description="What of the file will not go, in sentences; most often none.")


class MediaPage(BaseModel):
    items: list[MediaShape]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


async def list_media(call: Call) -> Response:
    query: PageQuery = call.query
    before = decode_cursor(query.cursor, read_time, bytes.fromhex) if query.cursor else None
    read = await run_in_threadpool(lambda: media_store.list_media(call.actor, query.limit + 1, before))
    shown = read[: query.limit]
    following = encode_cursor(shown[-1].created_at, shown[-1].media.sha256.hex()) if len(read) > query.limit else None
    return answer(MediaPage(items=[MediaShape.of(one.media) for one in shown], next=following))


async def upload_media(call: Call) -> Response:
    shape = await run_in_threadpool(_store_upload, call)
    return answer(shape, 201, {"Location": f"{MEDIA}/{shape.id}"})


def _store_upload(call: Call) -> UploadShape:
    query: UploadQuery = call.query
    kind = query.kind or attachments.kind_of(call.body)
    made = attachments.prepare(kind, call.body, query.filename)
    content = attachments.store_attachment(call.actor, made)
    assert content.media is not None
    file = MediaShape.of(content.media).model_dump()
    return UploadShape(**file, kind=content.kind, filename=content.filename or "", notices=list(made.notices))


async def download_media(call: Call) -> Response:
    sha256 = _read_sha256(call)
    file = await run_in_threadpool(media_store.get, call.actor, sha256)
    content = await run_in_threadpool(media_store.read, call.actor, sha256)
    # Never shown in a browser as what it claims to be: somebody else may have made it.
    headers = {**HEADERS, "X-Media-Type": file.mimetype, "Content-Disposition": "attachment"}
    return Response(content, 200, headers, "application/octet-stream")


def _read_sha256(call: Call) -> bytes:
    try:
        return bytes.fromhex(call.request.path_params["media_id"])
    except ValueError:
        raise NotFound("no name of a file") from None


OPERATIONS = (
    Operation(
        "GET", MEDIA, "media", "One's own files, newest first, by pages", Scope.READ, list_media, {200: MediaPage},
        query=PageQuery,
    ),
    Operation(
        "POST", MEDIA, "upload", "Upload a file; it is converted for WhatsApp, or refused", Scope.SEND, upload_media,
        {201: UploadShape}, query=UploadQuery, upload_bytes=UPLOAD_BYTES,
    ),
    Operation(
        "GET", f"{MEDIA}/{{media_id}}", "file", "A file's bytes; `X-Media-Type` tells what they are", Scope.READ,
        download_media, {200: "application/octet-stream"}, (404,),
    ),
)  # fmt: skip
