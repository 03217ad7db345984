"""Request ids: 32 random hex digits for a request, and `<id>-<first row>` for each micro-batch."""

from __future__ import annotations

import re
import secrets

from splitlab.randomness import Secret

_MESSAGE_ID = re.compile(r"^([0-9a-f]{32})-([0-9]{1,12})$")


def new_request_id(secret: Secret | None = None, *labels: str | int) -> str:
    """128 random bits as hex, from the operating system.

    For reproduction only: under a `secret` (from a `--secret-seed`) the id is determined by the
    labels and, without the key, as good as random.
    """
    if secret is None:
        return secrets.token_hex(16)
    halves = [secret.number("request id", half, *labels) for half in (0, 1)]
    return "".join(f"{number:016x}" for number in halves)


def message_id(request_id: str, first_row: int) -> str:
    """The id that a micro-batch carries on the wire."""
    return f"{request_id}-{first_row}"


def split_message_id(text: str) -> tuple[str, int]:
    """(request id, first row) of an id read from the wire; another client's id has first row 0."""
    match = _MESSAGE_ID.match(text)
    return (match[1], int(match[2])) if match else (text, 0)
