"""How a webhook's body was packed and spelled, as its headers say: undone before it is stored.

A stock server posts plain UTF-8. Proxies pack bodies (`Content-Encoding`), and other programs write another alphabet
or a byte order mark. What cannot be undone stays as it came: it is stored and shown as unreadable, never dropped.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# As much as is unpacked at once: a body that unpacks into more than its limit costs no more memory than this.
STEP_BYTES = 64 * 1024
MAX_PARTS = 64
# How `zlib` is told to find out by itself whether it is gzip's or zlib's form.
_ANY_FORM = zlib.MAX_WBITS | 32
_PACKED: Final = frozenset({b"gzip", b"x-gzip", b"deflate"})
_CHARSET = re.compile(rb"charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
# WHATWG's Encoding Standard reads what calls itself Latin-1 as Windows-1252, which has the same letters and more.
_CHARSETS: Final = {
    b"iso-8859-1": "cp1252",
    b"iso8859-1": "cp1252",
    b"latin1": "cp1252",
    b"latin-1": "cp1252",
    b"windows-1252": "cp1252",
    b"cp1252": "cp1252",
    b"iso-8859-15": "iso-8859-15",
    b"utf-16": "utf-16",
    b"utf-16le": "utf-16-le",
    b"utf-16be": "utf-16-be",
}


class Unpackable(Exception):
    """The body is not packed the way its headers say, or is cut off."""


class BodyTooLarge(Exception):
    """The body is larger than it may be, as it came or unpacked."""


class BodyCoding(NamedTuple):
    """`packed`: it must be unpacked. `charset`: a Python name of an alphabet other than UTF-8, or None."""

    packed: bool = False
    charset: str | None = None


PLAIN: Final = BodyCoding()


def read_coding(headers: Iterable[tuple[bytes, bytes]]) -> BodyCoding:
    """What the headers say about the body. Codings that are not known here are left alone."""
    packed, charset = False, None
    for name, value in headers:
        if name == b"content-encoding":
            packed = value.strip().lower() in _PACKED
        elif name == b"content-type" and (found := _CHARSET.search(value)) is not None:
            charset = _CHARSETS.get(found[1].lower())
    return BodyCoding(packed, charset) if packed or charset else PLAIN


def decode_body(body: bytes | bytearray, coding: BodyCoding, limit: int) -> bytes | bytearray:
    """`body` unpacked and in UTF-8 where that can be done, else as it came. Takes as long as the body is large.

    Raises: BodyTooLarge.
    """
    try:
        unpacked = unpack(body, limit) if coding.packed else body
    except Unpackable:
        return body
    return _to_utf8(unpacked, coding.charset)


def unpack(body: bytes | bytearray, limit: int) -> bytearray:
    """The content of a packed body, in steps: first its size, so that what is too large needs no memory.

    Raises: Unpackable, BodyTooLarge.
    """
    size = 0
    for step in _unpack_steps(body):
        size += len(step)
        if size > limit:
            raise BodyTooLarge
    whole, at = bytearray(size), 0
    for step in _unpack_steps(body):
        whole[at : at + len(step)] = step
        at += len(step)
    return whole


def _unpack_steps(body: bytes | bytearray) -> Iterator[bytes]:
    """Pieces of up to `STEP_BYTES`; several packed parts may follow each other (RFC 1952, 2.2)."""
    view, at = memoryview(body), 0
    for _part in range(MAX_PARTS):
        unpacker = zlib.decompressobj(_ANY_FORM)
        while not unpacker.eof:
            packed: bytes | memoryview = unpacker.unconsumed_tail
            if not packed:
                packed = view[at : at + STEP_BYTES]
                at += len(packed)
            step = _unpack_step(unpacker, packed)
            if not step and not packed and not unpacker.eof:
                raise Unpackable("cut off")
            yield step
        at -= len(unpacker.unused_data)
        if at == len(view):
            return
    raise Unpackable("too many parts")


def _unpack_step(unpacker: "zlib._Decompress", packed: bytes | memoryview) -> bytes:
    try:
        return unpacker.decompress(packed, STEP_BYTES)
    except zlib.error as error:
        raise Unpackable("no such form") from error


def _to_utf8(body: bytes | bytearray, charset: str | None) -> bytes | bytearray:
    """JSON is UTF-8, whatever else is stated (RFC 8259, 8.1 and 11): only what is not is read by its stated alphabet.
    A byte order mark in front may be ignored."""
    if charset is not None and not _is_utf8(body):
        try:
            body = body.decode(charset).encode()
        except UnicodeError:
            return body
    return strip_mark(body)


def strip_mark(body: bytes | bytearray) -> bytes | bytearray:
    """`body` without a byte order mark."""
    return body[len(BYTE_ORDER_MARK) :] if body.startswith(BYTE_ORDER_MARK) else body


def _is_utf8(body: bytes | bytearray) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
