"""`bench reproduce NAME`: tables and figures of the papers, measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.reproduce.registry import EXPERIMENTS
from splitlab.console import console, guarded


@guarded
def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(EXPERIMENTS)}.")],
    scale: Annotated[
        str, typer.Option(help="quick (2 cores, embedded data) or paper (its sizes; wants a GPU).")
    ] = "quick",
    seeds: Annotated[str, typer.Option(help="Public seeds with commas, each a run.")] = "0,1,2",
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder, continued if it exists; default runs/NAME-SCALE."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dataset: Annotated[
        str | None,
        typer.Option(help="In place of the scale's own, e.g. imagefolder:PATH (folder or tar)."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where torchvision's data sets lie.")
    ] = None,
    download: Annotated[bool, typer.Option(help="Let torchvision fetch a data set.")] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint (.pth, .safetensors) of the network, in place of training."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Network in place of its own (dci-figure9, dci-table2)."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Where its head ends (of the same two); see `bench splits`."),
    ] = None,
    tail: Annotated[
        str | None,
        typer.Option(help="Where its body ends (of the same two); see `bench splits`."),
    ] = None,
    text_root: Annotated[
        Path | None, typer.Option(help="Parallel text (train.en, train.de) for ensembler-text.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that deploy and attack side by side; 0: one a core, one with a GPU.",
        ),
    ] = 0,
    lpips_weights: Annotated[Path | None, typer.Option(help="Folder of LPIPS backbones.")] = None,
    secret_seed: Annotated[
        int | None,
        typer.Option(help="For reproduction only: draw secrets from this plus the seed."),
    ] = None,
) -> None:
    """Measure a table or figure of a paper again, with its numbers beside ours."""
    from bench.reproduce.request import Request, Shown, Target, scale_of, seeds_of
    from splitlab.contracts.registry import Registry
    from splitlab.training import showing

    run = Registry("experiment", EXPERIMENTS).load(name)
    chosen, numbers = scale_of(scale), seeds_of(seeds)
    with showing(console) as progress:
        request = Request(
            out=out or Path("runs") / f"{name}-{scale}",
            scale=chosen,
            seeds=numbers,
            device=device,
            dataset=dataset,
            data_root=data_root,
            download=download,
            secret_seed=secret_seed,
            lpips_weights=lpips_weights,
            weights=weights,
            target=Target(model, split, tail),
            text_root=text_root,
            workers=workers,
            progress=progress,
        )
        shown: Shown = run(request)
    for part in shown.parts:
        console.print(part, soft_wrap=isinstance(part, str))
    console.print(f"Report: {shown.page}", soft_wrap=True, markup=False)
