"""`bench soak`: the split path under kills, cut cables and a full disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli_options import AsJson, Deployment, Imports, Measured
from splitlab.answers import answer
from splitlab.console import guarded
from splitlab.help_sections import EVENTS, LIMITS, RUN, SERVER

_events = partial(typer.Option, rich_help_panel=EVENTS)
_limits = partial(typer.Option, rich_help_panel=LIMITS)
_run = partial(typer.Option, rich_help_panel=RUN)
_server = partial(typer.Option, rich_help_panel=SERVER)
_share = partial(typer.Option, min=0.0, max=1.0)


@guarded
def soak(
    deployment: Deployment,
    seconds: Annotated[float, _limits(min=1.0, help="How long clients ask.")] = 600.0,
    requests: Annotated[
        int | None, _limits(min=1, help="Stop earlier, after so many requests.")
    ] = None,
    clients: Annotated[int, _server(min=1, max=64, help="Clients side by side.")] = 4,
    events: Annotated[
        str,
        _events(help="What happens: kill,cut or one of them; with cut alone one server lives on."),
    ] = "kill,cut",
    killed_for: Annotated[
        float,
        _share(
            help="Share of the time, at its start, in which servers are killed; the last stays.",
            rich_help_panel=EVENTS,
        ),
    ] = 0.4,
    least_answered: Annotated[
        float,
        _share(help="Share of the requests that must be answered.", rich_help_panel=LIMITS),
    ] = 0.9,
    engine: Annotated[str, _server(help="The server's, as of `cloud-server --engine`.")] = "torch",
    pause: Annotated[float, _events(min=0.1, help="Seconds between events, on average.")] = 5,
    small_disk: Annotated[
        Path | None,
        _events(
            help="Folder on a small disk, which the server's tap fills; what is in it is removed."
        ),
    ] = None,
    seed: Annotated[int, _run(min=0, help="Seed of events and images.")] = 0,
    log: Annotated[Path, _run(help="File for what servers say; it is written anew.")] = Path(
        "runs/soak-server.log"
    ),
    imports: Imports = None,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """Let clients ask without end, while the server is killed and the cable is cut.

    The exit code is 1 if an answer was wrong or too few came, if a request was lost, crashed or
    failed in a way that no event explains, if a client hung, if a server ended by itself, or if
    memory grew.
    """
    from bench.perf.soak.soak import Soak, parse_events
    from splitlab.contracts.own_code import permit
    from splitlab.storage import write_json

    permit(*(imports or ()))
    told = Soak(
        deployment,
        seconds=seconds,
        requests=requests,
        clients=clients,
        log=log,
        events=parse_events(events),
        killed_for=killed_for,
        least=least_answered,
        engine=engine,
        pause=pause,
        disk=small_disk,
        seed=seed,
    ).run()
    if out is not None:
        write_json(out, told)
    answer(as_json, told, *_lines(told, log))
    raise typer.Exit(0 if told["passed"] else 1)


def _lines(told: dict[str, Any], log: Path) -> list[str]:
    """What is shown where no JSON is asked for."""
    from bench.roles.launch import tail_of

    lines = [
        f"{told['sent']} requests sent, {told['answered']} answered, {told['wrong']} wrong; "
        f"failed: {_counts(told['failed'])}; events: {_counts(told['events'])}",
        f"client: {_memory(told['client_memory'])}",
    ]
    memories, taps = enumerate(told["server_memory"], 1), enumerate(told["taps"], 1)
    lines += [f"server {number}: {_memory(memory)}" for number, memory in memories]
    lines += [f"tap of server {number}: {_tap(tap)}" for number, tap in taps]
    lines += [f"FAILED: {words}" for words in told["complaints"]]
    return [*lines, *([f"{log} ends: {tail_of(log, 10)}"] if told["complaints"] else [])]


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in found.items()) or "none"


def _tap(tap: dict[str, Any]) -> str:
    lost = "others lost with it" if tap["dropped"] is None else f"{tap['dropped']} dropped"
    return f"{tap['frames']} frames kept, {lost}" + ("; the disk was full" * tap["disk_full"])


def _memory(memory: dict[str, Any]) -> str:
    mib = memory["mib"]
    if not mib:
        return "too few answers to look at its memory"
    growth = memory["growth_mib"]
    told = "not watched long enough to count" if growth is None else f"grew by {growth:z.1f} MiB"
    return f"{mib[0]:z.0f} MiB after the first answers, {mib[-1]:z.0f} MiB at the end; {told}"
