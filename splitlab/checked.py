"""What a JSON file holds, checked against the model that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from splitlab.errors import Corrupt, plain

T = TypeVar("T")


def checked(kind: type[T], content: Any, path: Path, remedy: str) -> T:
    """A `kind` with these fields.

    Args:
        kind: a pydantic model or dataclass.
        content: what the file holds.
        path, remedy: for the error: which file, and what to do.

    Raises:
        Corrupt: a field that is missing, unknown or of another form; names the first.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Corrupt(path, f"field {where!r}: {plain(first['msg'])}", remedy) from error
