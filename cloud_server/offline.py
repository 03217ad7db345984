"""What is done with a server half without serving it, and the words that all commands print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from splitlab.cli_options import Imports
from splitlab.console import console, guarded
from splitlab.errors import BadInput


def say(event: str, **facts: Any) -> None:
    """One machine-readable line on standard output."""
    print(json.dumps({"event": event, **facts}), flush=True)


def body_ids(text: str) -> list[int]:
    """Text "0,2" -> [0, 2].

    Raises:
        BadInput: something else than numbers with commas between.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise BadInput(f"--bodies {text!r}: give numbers with commas, such as 0,2")
    return [int(word) for word in words]


@guarded
def split(
    half: Annotated[
        Path, typer.Argument(metavar="HALF", help="the server half, DEPLOYMENT/server")
    ],
    bodies: Annotated[str, typer.Option(help="bodies that one server is to run, such as 0,2")],
    out: Annotated[Path, typer.Option(help="folder to give to that server")],
) -> None:
    """Copy one server's part, these bodies and no others, into a folder of its own."""
    from splitlab.deployment import split_server

    ids = body_ids(bodies)
    manifest = split_server(half, out, ids)
    console.print(
        f"{out}: {len(ids)} of {len(manifest.outputs)} bodies, digest {manifest.digest[:16]}",
        soft_wrap=True,
        markup=False,
    )


@guarded
def export_triton(
    half: Annotated[
        Path, typer.Argument(metavar="HALF", help="the server half, DEPLOYMENT/server")
    ],
    out: Annotated[Path, typer.Option(help="model repository; made if it is not there")],
    bodies: Annotated[
        str | None, typer.Option(help="only these, such as 0,2; default: all whose shard is there")
    ] = None,
    imports: Imports = None,
) -> None:
    """Write the bodies into a model repository of Triton or KServe; the same edge client asks them.

    Needs the packages of `splitlab[onnxruntime]`.
    """
    from cloud_server.triton import export_triton as export
    from splitlab.contracts.own_code import permit
    from splitlab.deployment import ServerHalf

    permit(*(imports or ()))
    loaded = ServerHalf.load(half, None if bodies is None else body_ids(bodies))
    made = export(loaded, out)
    say("exported", model=loaded.model_name, outputs=made.outputs, error=made.error)


@guarded
def make_certificates(
    out: Annotated[Path, typer.Option(help="folder for them")],
    name: Annotated[
        list[str] | None,
        typer.Option(help="name or address of the server; repeat it; default: this machine only"),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="how long they are valid")] = 30,
) -> None:
    """Make certificates for development: an authority, one for servers and one for clients.

    The authority's own key is thrown away: it signs nothing else.
    """
    from cloud_server.authority import write_certificates

    made = write_certificates(out, name or ["localhost", "127.0.0.1", "::1"], days)
    console.print("\n".join(map(str, made)), soft_wrap=True, markup=False, highlight=False)
