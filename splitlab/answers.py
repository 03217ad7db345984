"""What a command answers: words and tables for a reader, or one JSON document for a program.

A command with `as_json: AsJson` hands both to `answer`. With `--json` the document alone is printed
on standard output, and all else that the command says goes to standard error, which `guarded` sees
to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from splitlab.console import console
from splitlab.help_sections import RUN

AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON document on standard output, all else on standard error.",
        rich_help_panel=RUN,
    ),
]


def answer(as_json: bool, document: Any, *shown: RenderableType) -> None:
    """Print the document where `--json` was given, else what is shown, each on lines of its own.

    Args:
        as_json: whether it was given.
        document: the same facts; numbers without end become null.
        shown: texts, which are not folded, and tables; a `Text` is folded on a terminal alone.
    """
    if as_json:
        print(json.dumps(plain_data(document), indent=1, allow_nan=False), flush=True)
        return
    for part in shown:
        whole = isinstance(part, str) or (isinstance(part, Text) and not console.is_terminal)
        console.print(part, soft_wrap=whole)


def plain_data(thing: Any) -> Any:
    """Dicts, lists, texts, finite numbers and None, as JSON has them."""
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else None
    if thing is None or isinstance(thing, (str, int)):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return plain_data(asdict(thing))
    if isinstance(thing, Mapping):
        return {str(key): plain_data(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain_data(one) for one in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(map(plain_data, thing))
    if hasattr(thing, "item"):  # a number of numpy's or torch's
        return plain_data(thing.item())
    if isinstance(thing, Path):
        return str(thing)
    raise TypeError(f"{type(thing).__name__} has no form in JSON here")
