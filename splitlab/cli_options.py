"""Options that several commands have are declared once; a dataclass of them is one parameter.

    @dataclass(frozen=True, kw_only=True)
    class Source:
        dataset: Dataset = "photo-patches"
        seed: Seed = 0

    @app.command()
    @guarded
    @grouped
    def train(out: Out, source: Source) -> None: ...

has `--out`, `--dataset` and `--seed`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import partial, wraps
from typing import Annotated, Any, get_type_hints

import typer

from splitlab import completion
from splitlab.console import guarded
from splitlab.errors import BadInput
from splitlab.help_sections import NETWORK, RUN, TRUST


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, with the fields of its parameters that are dataclasses in their place."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, given in inspect.signature(command).parameters.items():
        if is_dataclass(group := hints[name]):
            groups[name] = group
            parameters += _fields_of(group)
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(given.replace(kind=keyword, annotation=group))

    @wraps(command)
    def called(**given: Any) -> None:
        made = {
            name: group(**{one.name: given.pop(one.name) for one in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _fields_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(group)
    ]


def asked(check: Callable[[str], object]) -> Callable[[Any], Any]:
    """A callback of an option: each text that it is given is checked before the command begins."""

    @guarded
    def callback(value: Any) -> Any:
        for text in [value] if isinstance(value, str) else value or ():
            check(text)
        return value

    return callback


_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_run = partial(typer.Option, rich_help_panel=RUN)


def device(name: str) -> str:
    """The name of a device.

    Raises:
        BadInput: it is none of those that work is done on.
    """
    if not _DEVICE.fullmatch(name):
        raise BadInput(f"--device {name}: wanted auto, cpu or cuda")
    return name


Device = Annotated[
    str,
    _run(
        help="auto, cpu or cuda.",
        callback=asked(device),
        autocompletion=completion.one_of("auto", "cpu", "cuda"),
    ),
]
DryRun = Annotated[
    bool, _run("--dry-run", help="Only say points, time and memory; nothing is written.")
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="allow plaintext off loopback", rich_help_panel=TRUST),
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Module of your own that a network or a defence comes from, such as package.module; "
        "repeatable. "
        "Nothing is imported because a file says so.",
        rich_help_panel=NETWORK,
    ),
]
