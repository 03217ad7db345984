"""Help as plain text: options under the headings that their declarations name, in 80 columns.

An option says its heading by typer's `rich_help_panel`, here one of the words below. The lab's help
is no markup and has no boxes, so that a pipe and a terminal without letters show it whole.
"""

from __future__ import annotations

import inspect
import re
from textwrap import TextWrapper
from typing import Any

NETWORK = "Network"
DATA = "Data"
CUT = "Cut"
TRAINING = "Training"
DEFENCE = "Defence"
ATTACK = "Attack"
GRANT = "Granted"
SERVER = "Server"
WIRE = "Wire"
TRUST = "Trust"
LIMITS = "Limits"
WATCH = "Watching"
EVENTS = "Events"
RUN = "Run"
SECTIONS = (
    *(NETWORK, DATA, CUT, TRAINING, DEFENCE, ATTACK, GRANT),
    *(SERVER, WIRE, TRUST, LIMITS, WATCH, EVENTS, RUN),
)
"""In the order in which help has them; what names none stands last."""
REST = "Options"
FIRST_COLUMN = 24
"""Columns of an option's name at most; a longer one has a line of its own."""


def write_sections(command: Any, ctx: Any, formatter: Any) -> None:
    """Write arguments, then the options section by section, in columns that are aligned."""
    arguments: list[tuple[str, str]] = []
    options: dict[str, list[tuple[str, str]]] = {}
    params = command.get_params(ctx)
    headed = any(getattr(param, "rich_help_panel", None) for param in params)
    for param in params:
        told = param.get_help_record(ctx)
        if told is None:
            continue
        told = (plain_type(told[0]), told[1])
        if param.param_type_name == "argument":
            arguments.append(told)
        else:
            own = getattr(param, "rich_help_panel", None) or (RUN if headed else REST)
            options.setdefault(own, []).append(told)
    ranks = {name: rank for rank, name in enumerate(SECTIONS)}
    parts = [("Arguments", arguments)] if arguments else []
    parts += sorted(options.items(), key=lambda part: ranks.get(part[0], len(ranks)))
    width = min(FIRST_COLUMN, max((len(name) for _, rows in parts for name, _ in rows), default=0))
    for heading, rows in parts:
        _write(formatter, heading, rows, width)


def plain_type(name: str) -> str:
    """`--size <int range>` as `--size <int>`, since the bounds follow; a list as `<str>...`."""
    return re.sub(r"<list\[(\w+)\]>", lambda of: f"<{of[1].lower()}>...", name).replace(
        " range>", ">"
    )


def write_commands(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the commands below one, each with the whole first paragraph of its help."""
    rows = []
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        if below is not None and not below.hidden:
            told = inspect.cleandoc(below.help or "").partition("\n\n")[0]
            rows.append((name, told))
    _write(formatter, "Commands", rows, max((len(name) for name, _ in rows), default=0))


def _write(formatter: Any, heading: str, rows: list[tuple[str, str]], width: int) -> None:
    """One section; no word is parted, at a hyphen neither, unless a line is too short for it."""
    start = " " * (2 + width + 2)
    wrapper = TextWrapper(max(formatter.width - len(start), 10), break_on_hyphens=False)
    formatter.write(f"\n{heading}:\n")
    for name, told in rows:
        lines = wrapper.wrap(" ".join(told.split())) or [""]
        if len(name) > width:
            formatter.write(f"  {name}\n")
            name = ""
        formatter.write(f"  {name:{width}}  {lines[0]}".rstrip() + "\n")
        for line in lines[1:]:
            formatter.write(f"{start}{line}\n")
