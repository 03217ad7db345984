"""Options that commands of several roles have, with the same words and bounds in each."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

import typer

from splitlab import completion
from splitlab.errors import BadInput
from splitlab.help_sections import RUN, TRUST
from splitlab.option_groups import asked

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
