"""Raw contents in and out of serialised messages without protobuf's copies of them.

In both messages of the protocol the raw contents are the last field, so that what `join` writes is
byte for byte what protobuf would. `cut` takes a message apart and counts its fields: two bytes can
be a whole tensor without name and shape, and protobuf would make an object of 70 bytes and more of
each. What `cut` lets pass is protobuf's to read, which has the last word on what is no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from splitlab.errors import BadInput

Buffer = bytes | memoryview

FIELDS_AT_MOST = 4096
"""Of all kinds; a loop here over millions would stop the server."""
OF_ONE_KIND = 64
"""Times that a field may come where nothing else is said."""
_LONGEST_VARINT = 10
_FIXED = {1: 8, 5: 4}
"""Bytes of the wire types of fixed width."""
_DELIMITED = 2


def join(head: bytes, field: int, contents: Sequence[Buffer], inside: int | None = None) -> bytes:
    """A message whose last field is `field`, repeated bytes; contents are copied once.

    Args:
        head: the serialised message without it.
        contents: of the field.
        inside: a field of another message, which has no other: that message is written around it.
    """
    parts: list[Buffer] = [head]
    for content in contents:
        parts += [_start(field, len(content)), content]
    if inside is not None:
        parts.insert(0, _start(inside, sum(map(len, parts))))
    return b"".join(parts)


def cut(
    raw: Buffer, field: int, most: Mapping[int, int] = MappingProxyType({})
) -> tuple[bytes, list[memoryview]] | None:
    """(the message without a repeated field of bytes, views of that field's contents).

    None where the message is broken, or has groups, which the protocol has not.

    Args:
        most: how often a field may come, by its number; others at most `OF_ONE_KIND` times.

    Raises:
        BadInput: more fields than that, or than `FIELDS_AT_MOST` of all kinds.
    """
    view, end = memoryview(raw), len(raw)
    at, kept = 0, 0
    head: list[Buffer] = []
    contents: list[memoryview] = []
    seen: dict[int, int] = {}
    for _ in range(FIELDS_AT_MOST + 1):
        if at == end:
            head.append(view[kept:end])
            return b"".join(head), contents
        begin = at
        tag, at = _read_varint(view, at)
        if at < 0:
            return None
        kind, number = tag & 7, tag >> 3
        seen[number] = times = seen.get(number, 0) + 1
        if times > (limit := most.get(number, OF_ONE_KIND)):
            raise BadInput(f"the message has field {number} more than {limit} times; send fewer")
        if kind == _DELIMITED:
            size, at = _read_varint(view, at)
            if at < 0 or size > end - at:
                return None
            if number == field:
                head.append(view[kept:begin])
                contents.append(view[at : at + size])
                kept = at + size
            at += size
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind == 0:
            _, at = _read_varint(view, at)
        else:
            return None
        if not 0 <= at <= end:
            return None
    raise BadInput(f"the message has more than {FIELDS_AT_MOST} fields; send fewer")


def _start(field: int, size: int) -> bytes:
    """What stands before `size` bytes of a field."""
    return _varint(field << 3 | _DELIMITED) + _varint(size)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """(value, where it ends); the end is -1 where there is none."""
    value, end = 0, len(view)
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        if at == end:
            break
        byte, at = view[at], at + 1
        if byte < 128:
            return value | byte << shift, at
        value |= (byte & 127) << shift
    return value, -1
