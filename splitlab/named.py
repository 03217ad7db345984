"""The one small language for settings: a name, and fields that shall not be default.

    gaussian:level=0.1,draw=fixed+dropout:level=0.3     a stack of defences
    decoder:epochs=4,width=32                           an attack with settings
    package.module:factory:widths=[8, 16]               a network of a user's own
    learning_rate=0.1|0.3,tv=1                          values to be tried one after another

A comma, plus or bar that belongs to a value stands in brackets, or in quotes as Python has them:
`order='a,b'`. The plus of an exponent (1e+5) needs neither. Nothing heavy is imported here.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from splitlab.errors import BadInput, plain

_OPENS, _CLOSES, _QUOTES = "([{", ")]}", "'\""
_BEFORE_A_QUOTE = "=|,:" + _OPENS
"""What stands before the quote of a value; after anything else it is an apostrophe."""
_BARE = re.compile(r"[^\s'\"()\[\]{},+|\\]([^'\"()\[\]{},+|\\]*[^\s'\"()\[\]{},+|\\])?")
"""A word that needs no quotes."""
_SHOWN = 60  # characters of what was typed, in an error

_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "True or False",
    "list_type": "values in brackets, such as [1, 2]",
    "tuple_type": "values in brackets, such as [1, 2]",
    "dict_type": "fields in braces, such as {'a': 1}",
}
"""What pydantic calls a value that could not be read -> what was wanted."""


def stacked(text: str) -> list[str]:
    """ "gaussian:level=1e+5+dropout" -> ["gaussian:level=1e+5", "dropout"].

    Raises:
        BadInput: a quote or a bracket is not closed.
    """
    return _parted(text, "+")


def named_fields(text: str) -> tuple[str, dict[str, str]]:
    """ "ensembler:N=4,P=2" -> ("ensembler", {"N": "4", "P": "2"}); values as they were typed.

    Raises:
        BadInput: no field=value, a field twice, or a quote or bracket that is not closed.
    """
    name, _, rest = text.strip().partition(":")
    return name.strip(), fields_in(rest, text)


def fields_in(rest: str, text: str) -> dict[str, str]:
    """ "N=4,widths=[8, 16]" -> {"N": "4", "widths": "[8, 16]"}; values as they were typed.

    Args:
        text: all that was typed, for the error.

    Raises:
        BadInput: as `named_fields`.
    """
    fields: dict[str, str] = {}
    for item in filter(None, (piece.strip() for piece in _parted(rest, ","))):
        key, value = _field(item, text)
        if key in fields:
            raise BadInput(f"{key!r} is given twice in {shown(text)}; keep one")
        fields[key] = value
    return fields


def alternatives(text: str) -> dict[str, list[str]]:
    """ "tv=0.1|1,steps=5" -> {"tv": ["0.1", "1"], "steps": ["5"]}; values as they were typed.

    The older "tv=0.1,1" is the same: what stands behind a comma without a field of its own is one
    more value of the field before it.

    Raises:
        BadInput: as `named_fields`, or a value that is empty.
    """
    fields: dict[str, list[str]] = {}
    key = ""
    for item in (piece.strip() for piece in _parted(text, ",")):
        if key and "=" not in _outside_quotes(item):
            more = item
        else:
            key, more = _field(item, text)
            if key in fields:
                raise BadInput(f"{key!r} is given twice in {shown(text)}; keep one")
        values = [value.strip() for value in _parted(more, "|")]
        if not all(values):
            raise BadInput(f"{item!r} in {shown(text)}: a value is empty; wanted field=value|value")
        fields.setdefault(key, []).extend(values)
    return fields


def wrong_setting(
    what: str, errors: Sequence[Mapping[str, Any]], known: Iterable[str], word: str = "settings"
) -> BadInput:
    """What pydantic found wrong with what was typed, as one line.

    Args:
        what: whose settings they are, such as "attack 'decoder'".
        errors: of a `ValidationError`, at least one.
        known: every setting that there is.
    """
    first, names = errors[0], list(known)
    name = ".".join(map(str, first["loc"]))
    told = f"{what}, {name}={first['input']!r}: " if name else f"{what}, "
    why = plain(first["msg"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        why = "there is no such setting" + (f"; nearest: {', '.join(near)}" if near else "")
    elif first["type"] in _WANTED:
        why = f"wanted {_WANTED[first['type']]}"
    elif first["type"] == "missing" and first["loc"] and isinstance(first["loc"][-1], int):
        given = ".".join(map(str, first["loc"][:-1]))
        told, why = f"{what}, {given}={first['input']!r}: ", "too few values in the brackets"
    elif _no_number(first["input"]):
        why = "wanted a finite number"
    return BadInput(f"{told}{why}; its {word} are: {', '.join(names) or 'none'}")


def _no_number(value: Any) -> bool:
    """Of NaN pydantic says that it should be below the range's end."""
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def value_of(text: str) -> Any:
    """A Python literal (numbers, booleans, lists, words in quotes), else the text itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a backslash in a word
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def typed(text: str) -> Any:
    """What a model that knows its fields' types is given: None, lists and words in quotes as Python
    reads them, else the text itself.
    """
    special = text == "None" or text[:1] in (*_OPENS, *_QUOTES)
    return value_of(text) if special else text


def typed_fields(fields: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's fields are given: `typed`, and "none" is None where None is what one may be.

    Args:
        known: the model's fields by name, pydantic's.
    """
    return {
        key: None
        if text.lower() == "none" and key in known and _takes_none(known[key].annotation)
        else typed(text)
        for key, text in fields.items()
    }


def _takes_none(annotation: Any) -> bool:
    return annotation is None or type(None) in get_args(annotation)


def written(name: str, fields: Mapping[str, Any]) -> str:
    """The text that `named_fields` and `value_of` read as this name and these values."""
    told = ",".join(f"{key}={_written(value)}" for key, value in fields.items())
    return f"{name}:{told}" if told else name


def shown(text: str) -> str:
    """What was typed, in quotes, and cut where it is long."""
    text = text.strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _written(value: Any) -> str:
    if isinstance(value, str):
        bare = _BARE.fullmatch(value) and "=" not in value and value_of(value) == value
        return value if bare and value != "None" else repr(value)
    return str(value)


def _field(item: str, text: str) -> tuple[str, str]:
    key, equals, value = map(str.strip, item.partition("="))
    if not (equals and key and value):
        raise BadInput(
            f"{shown(item)} in {shown(text)}: wanted field=value; a value with a comma stands in "
            "quotes or brackets"
        )
    return key, value


def _outside_quotes(text: str) -> str:
    """The text up to its first bracket or quote."""
    return re.split(r"[\[({'\"]", text, maxsplit=1)[0]


def _parted(text: str, mark: str) -> list[str]:
    """Parted at the marks that stand in no bracket, in no quotes, and in no exponent.

    Raises:
        BadInput: a quote or a bracket is not closed.
    """
    pieces, depth, quote, before = [""], 0, "", ","
    escaped = False
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in _QUOTES and before in _BEFORE_A_QUOTE:
            quote = letter
        elif letter in _OPENS:
            depth += 1
        elif letter in _CLOSES:
            depth = max(0, depth - 1)
        elif letter == mark and not depth and not _exponent(text, place):
            pieces.append("")
            before = letter
            continue
        pieces[-1] += letter
        before = before if letter.isspace() else letter
    if quote or depth:
        what = f"the quote {quote}" if quote else "a bracket"
        raise BadInput(f"{shown(text)}: {what} is not closed; close it, or quote the value")
    return pieces


def _exponent(text: str, place: int) -> bool:
    """Whether the plus here is that of a number such as 1e+5."""
    around = text[max(0, place - 2) : place + 2]
    return re.fullmatch(r"[\d.][eE]\+\d", around, re.ASCII) is not None
