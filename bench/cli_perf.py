"""`bench perf ...`: speed, each time against a rival and a limit in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splitlab.console import guarded

perf = typer.Typer(help="Speed, each time against a rival and a limit.", no_args_is_help=True)

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Out = Annotated[Path | None, typer.Option(help="Write the measurement here as JSON.")]


@perf.command("train")
@guarded
def perf_train(
    device: Device = "auto",
    model: Annotated[
        str | None, typer.Option(help="Network; default tiny_cnn on a CPU, resnet20 on a GPU.")
    ] = None,
    out: Out = None,
) -> None:
    """Images per second of the training loop against a plain DataLoader loop."""
    from bench.options import show_perf
    from bench.perf_train import perf_train as measure

    show_perf(measure(device, model).as_dict(), out)


@perf.command("ensembler")
@guarded
def perf_ensembler(
    device: Device = "auto",
    bodies: Annotated[
        int, typer.Option(min=2, help="N, networks that are trained or served.")
    ] = 10,
    chosen: Annotated[int, typer.Option(min=1, help="P, outputs that the client uses.")] = 4,
    how: Annotated[
        str | None,
        typer.Option(help="processes or batched; default batched on a GPU, else processes."),
    ] = None,
    part: Annotated[str, typer.Option(help="serving, training or both.")] = "both",
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, under two minutes.")] = False,
    out: Out = None,
) -> None:
    """Serve N bodies against one; train N networks together against one after another."""
    from bench.options import show_perfs
    from bench.perf_ensembler import perf_ensembler as measure

    show_perfs(measure(part, device, bodies, chosen, how=how, quick=quick), out)


@perf.command("dci")
@guarded
def perf_dci(
    device: Device = "auto",
    images: Annotated[int, typer.Option(min=64, help="Images to learn from.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each loop.")] = 2,
    out: Out = None,
) -> None:
    """DCI's training against a loop that runs the target again for each loss."""
    from bench.options import show_perf
    from bench.perf_dci import perf_dci as measure

    show_perf(measure(device, images=images, rounds=rounds).as_dict(), out)
