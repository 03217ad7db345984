"""`bench perf ...`: speed, each time against a rival and a limit in one run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import AsJson, Device, Measured
from bench.perf.attacks.cli import perf_attacks
from splitlab.console import CommandLine, guarded
from splitlab.errors import BadInput
from splitlab.help_sections import NETWORK, RUN, TRAINING

_network = partial(typer.Option, rich_help_panel=NETWORK)
_run = partial(typer.Option, rich_help_panel=RUN)

perf = CommandLine(help="Speed, each time against a rival and a limit.")
perf.command("attacks")(perf_attacks)


@perf.command("train")
@guarded
def perf_train(
    device: Device = "auto",
    model: Annotated[
        str | None, typer.Option(help="Network; default tiny_cnn on a CPU, resnet20 on a GPU.")
    ] = None,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """Images per second of the training loop against a plain DataLoader loop."""
    from bench.options import show_perf
    from bench.perf.training.train import perf_train as measure

    show_perf(measure(device, model), out, as_json)


@perf.command("ensembler")
@guarded
def perf_ensembler(
    device: Device = "auto",
    bodies: Annotated[int, _network(min=2, help="N, networks that are trained or served.")] = 10,
    chosen: Annotated[int, _network(min=1, help="P, outputs that the client uses.")] = 4,
    how: Annotated[
        str | None,
        typer.Option(
            help="processes or batched; default batched on a GPU, else processes.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    part: Annotated[str, _run(help="serving, training or both.")] = "both",
    quick: Annotated[bool, _run("--quick", help="Small sizes, under two minutes.")] = False,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """N bodies served, against one; N networks trained together, against one by one."""
    from bench.options import show_perfs
    from bench.perf.training.ensembler import perf_ensembler as measure

    show_perfs(measure(part, device, bodies, chosen, how=how, quick=quick), out, as_json)


@perf.command("dci")
@guarded
def perf_dci(
    device: Device = "auto",
    images: Annotated[int, typer.Option(min=64, help="Images to learn from.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each loop.")] = 2,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """Training of DCI against a loop that runs the target again for each loss."""
    from bench.options import show_perf
    from bench.perf.training.dci import perf_dci as measure

    show_perf(measure(device, images=images, rounds=rounds), out, as_json)


@perf.command("transport")
@guarded
def perf_transport(
    triton: Annotated[
        Path | None,
        typer.Option(help="A Python that has nvidia-pytriton, to measure a real Triton beside it."),
    ] = None,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """An echo of 64 KiB to 32 MiB through our server, naive and bare gRPC, a socket, a Triton."""
    from bench.options import show_perfs
    from bench.perf.serving.transport import perf_transport as measure

    show_perfs(measure(triton), out, as_json)


@perf.command("split")
@guarded
def perf_split(
    quick: Annotated[
        bool, typer.Option("--quick", help="The smallest network, a few turns.")
    ] = False,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """Latency of the split network over localhost against the whole network in one process."""
    from bench.options import show_perfs
    from bench.perf.serving.split import perf_split as measure

    show_perfs(measure(quick), out, as_json)


@perf.command("engine")
@guarded
def perf_engine(
    device: Device = "auto",
    bodies: Annotated[str, typer.Option(help="Numbers of bodies with commas.")] = "1,4,10",
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """N bodies behind the server, by engine, against a plain loop over the modules."""
    from bench.options import show_perfs
    from bench.perf.serving.engine import perf_engine as measure

    show_perfs(measure(numbers(bodies, "--bodies"), device=device), out, as_json)


@perf.command("serve")
@guarded
def perf_serve(
    clients: Annotated[str, typer.Option(help="Numbers of clients with commas.")] = "1,2,4,8,16",
    seconds: Annotated[float, typer.Option(min=0.2, help="Of each turn.")] = 8.0,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """Requests of many clients batched through the bodies, against one by one."""
    from bench.options import show_perfs
    from bench.perf.serving.serve import perf_serve as measure

    show_perfs(measure(numbers(clients, "--clients"), seconds), out, as_json)


@perf.command("hostile")
@guarded
def perf_hostile(
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each attack.")] = 10.0,
    out: Measured = None,
    as_json: AsJson = False,
) -> None:
    """A client's latency while strangers attack its server, against none; needs Linux."""
    from bench.options import show_perfs
    from bench.perf.hostile.hostile import perf_hostile as measure

    show_perfs(measure(seconds), out, as_json)


@perf.command("link")
@guarded
def perf_link(out: Measured = None, as_json: AsJson = False) -> None:
    """Simulated links against the kernel's TCP over a cable in user space; needs root on Linux."""
    from bench.options import show_perfs
    from bench.perf.serving.link import perf_link as measure

    show_perfs(measure(), out, as_json)


def numbers(text: str, flag: str) -> tuple[int, ...]:
    """ "1,4" -> (1, 4).

    Raises:
        BadInput: something else than numbers from 1 on.
    """
    from bench.options import whole_number

    words = [word.strip() for word in text.split(",")]
    found = tuple(whole_number(word) or 0 for word in words)
    if not all(found) or len(set(found)) != len(found):
        raise BadInput(
            f"{flag} {text!r}: give numbers from 1 on, each once, with commas, such as 1,4,10"
        )
    return found
