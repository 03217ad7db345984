"""Raw contents in and out of serialised messages without protobuf's copies of them.

In both messages of the protocol the raw contents are the last field, so that what `join` writes is
byte for byte what protobuf would. `cut` takes a message apart as far as that is simple and quick;
whatever is neither is left to protobuf, which also has the last word on what is no message.
"""

from __future__ import annotations

from collections.abc import Sequence

Buffer = bytes | memoryview

FIELDS_AT_MOST = 1024
"""Further fields are protobuf's to read: a loop here over millions would stop the server."""
_LONGEST_VARINT = 10
_FIXED = {1: 8, 5: 4}
"""Bytes of the wire types of fixed width."""
_DELIMITED = 2


def join(head: bytes, field: int, contents: Sequence[Buffer]) -> bytes:
    """A message whose last field is `field`, repeated bytes.

    Args:
        head: the serialised message without it.
        contents: of the field.
    """
    parts: list[Buffer] = [head]
    for content in contents:
        parts += [_varint(field << 3 | _DELIMITED), _varint(len(content)), content]
    return b"".join(parts)


def cut(raw: Buffer, field: int) -> tuple[bytes, list[memoryview]] | None:
    """(the message without a repeated field of bytes, views of that field's contents).

    None where the message is broken, or made otherwise than any common writer makes it.
    """
    view, end = memoryview(raw), len(raw)
    at, kept = 0, 0
    head: list[Buffer] = []
    contents: list[memoryview] = []
    for _ in range(FIELDS_AT_MOST):
        if at == end:
            head.append(view[kept:end])
            return b"".join(head), contents
        begin = at
        tag, at = _read_varint(view, at)
        kind = tag & 7
        if kind == _DELIMITED:
            size, at = _read_varint(view, at)
            if at < 0 or size > end - at:
                return None
            if tag >> 3 == field:
                head.append(view[kept:begin])
                contents.append(view[at : at + size])
                kept = at + size
            at += size
        elif kind in _FIXED and at >= 0:
            at += _FIXED[kind]
        elif kind == 0 and at >= 0:
            _, at = _read_varint(view, at)
        else:
            return None
        if not 0 <= at <= end:
            return None
    return None


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """(value, where it ends); the end is -1 where there is none."""
    value = 0
    for number, byte in enumerate(view[max(at, 0) : at + _LONGEST_VARINT] if at >= 0 else b""):
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, at + number + 1
    return value, -1
