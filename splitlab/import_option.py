"""`--import`, which every command has that builds the network of a file."""

from __future__ import annotations

from typing import Annotated

import typer

from splitlab.help_sections import NETWORK

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
