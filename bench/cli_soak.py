"""`bench soak`: the split path under kills, cut cables and a full disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splitlab.console import console, guarded


@guarded
def soak(
    deployment: Annotated[
        Path, typer.Argument(metavar="DEPLOYMENT", help="Folder with client/ and server/.")
    ],
    seconds: Annotated[float, typer.Option(min=1.0, help="How long.")] = 600.0,
    requests: Annotated[
        int | None, typer.Option(min=1, help="Stop earlier, once so many were sent.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, max=64, help="Side by side.")] = 4,
    pause: Annotated[float, typer.Option(min=0.1, help="Seconds between events, on average.")] = 5,
    small_disk: Annotated[
        Path | None,
        typer.Option(help="Folder on a small disk, for a tap that fills it; what is there goes."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of events and images.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the account here as JSON.")] = None,
) -> None:
    """Clients that never stop, while the server is killed and the cable cut.

    Exit code 1 if an answer was wrong, or none came.
    """
    from bench.soak import Soak
    from splitlab.storage import write_json

    told = Soak(
        deployment,
        seconds=seconds,
        requests=requests,
        clients=clients,
        pause=pause,
        disk=small_disk,
        seed=seed,
    ).run()
    if out is not None:
        write_json(out, told)
    failed = ", ".join(f"{count} {name}" for name, count in told["failed"].items()) or "none"
    events = ", ".join(f"{count} x {name}" for name, count in told["events"].items()) or "none"
    if told["tap"]:
        console.print(f"tap: {told['tap']['frames']} frames kept, {told['tap']['dropped']} not")
    first, last = told["client_memory_mib"]
    console.print(
        f"{told['sent']} requests sent, {told['answered']} answered, {told['wrong']} wrong; "
        f"failed: {failed}; events: {events}"
    )
    console.print(f"client memory {first:.0f} MiB at the start, {last:.0f} MiB at the end")
    for number, (early, late) in enumerate(told["server_memory_mib"], 1):
        console.print(f"server {number}: {early:.0f} MiB at its start, {late:.0f} MiB at its end")
    raise typer.Exit(0 if told["passed"] else 1)
