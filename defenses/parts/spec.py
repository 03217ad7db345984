"""Defences as text: "gaussian:level=0.1,draw=fixed+dropout:level=0.3"."""

from __future__ import annotations

from pydantic import ValidationError

from defenses.parts.stack import Stack
from defenses.registry import DEFENSES
from splitlab.contracts import Defense
from splitlab.named import named_fields, stacked, typed_fields, wrong_setting


def parse(text: str) -> Stack:
    """Read a stack of defences that somebody has typed.

    Args:
        text: names joined by "+", each with ":field=value,field=value" where a default is not
            wanted, as `splitlab.named` has it. "none" for no defence.

    Raises:
        UnknownName: no such defence; lists the nearest.
        BadInput: a field that the defence has not, a value outside its range, or two owners.
    """
    return Stack([_one(part) for part in stacked(text)])


def parse_file(text: str) -> Stack:
    """The same of what stands in a file: nothing is imported because a file says so.

    Raises:
        NotImported: a defence of another package, whose module the operator has not named.
        UnknownName, BadInput: as `parse`.
    """
    for part in stacked(text):
        DEFENSES.require_permitted(named_fields(part)[0])
    return parse(text)


def _one(part: str) -> Defense:
    name, fields = named_fields(part)
    kind: type[Defense] = DEFENSES.load(name)
    try:
        return kind.model_validate(typed_fields(fields, kind.model_fields))
    except ValidationError as error:
        raise wrong_setting(
            f"defence {name!r}", error.errors(), kind.model_fields, "fields"
        ) from error
