"""`bench reproduce`: tables and figures of the papers; `bench search`: settings for them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import (
    AsJson,
    CacheFolder,
    DataRoot,
    Device,
    Download,
    DryRun,
    KeepImages,
    LpipsWeights,
    Mean,
    Std,
    Workers,
)
from bench.reproduce.registry import EXPERIMENTS, MOVABLE
from splitlab import completion, entry_points
from splitlab import help_sections as sections
from splitlab.answers import answer
from splitlab.console import console, guarded
from splitlab.errors import BadInput

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help=f"One of: {', '.join(EXPERIMENTS)}.{entry_points.also(entry_points.EXPERIMENT_GROUP)}",
        autocompletion=completion.names_of(completion.EXPERIMENTS),
    ),
]
ScaleName = Annotated[
    str,
    typer.Option(
        help="quick (two cores, embedded data) or paper (the paper's sizes; wants a GPU).",
        autocompletion=completion.one_of("quick", "paper"),
        rich_help_panel=sections.RUN,
    ),
]
Seeds = Annotated[
    str,
    typer.Option(
        help="Public seeds with commas; each measures everything once.",
        rich_help_panel=sections.RUN,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Run folder, continued if it exists; default runs/NAME-SCALE.",
        rich_help_panel=sections.RUN,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="Data set in place of the scale's own, e.g. imagefolder:PATH (folder or tar).",
        autocompletion=completion.names_of(completion.DATASETS),
        rich_help_panel=sections.DATA,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoint (.pth, .safetensors) of the network, in place of training.",
        rich_help_panel=sections.NETWORK,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Network in place of the experiment's own, also package.module:factory; for "
        f"{', '.join(MOVABLE)}.",
        autocompletion=completion.names_of(completion.NETWORKS),
        rich_help_panel=sections.NETWORK,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="With --model: split point where the head ends; `bench splits` lists them.",
        rich_help_panel=sections.CUT,
    ),
]
Tail = Annotated[
    str | None,
    typer.Option(
        help="With --model: split point where the body ends.",
        rich_help_panel=sections.CUT,
    ),
]
SecretSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="For reproduction only: draw secrets from this plus the seed.",
        rich_help_panel=sections.RUN,
    ),
]
TextRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder of parallel text (train.en, train.de) for ensembler-text.",
        rich_help_panel=sections.DATA,
    ),
]
Tries = Annotated[
    list[str],
    typer.Option(
        "--try",
        help="Values to try: FIELD=VALUE|VALUE,FIELD=VALUE. All combinations are tried. A field of "
        "`adversary synthesise` is written synthesis.FIELD.",
        rich_help_panel=sections.ATTACK,
    ),
]
Scored = Annotated[
    int,
    typer.Option(min=1, help="Validation images that are scored.", rich_help_panel=sections.ATTACK),
]


@guarded
def reproduce(
    name: Name,
    scale: ScaleName = "quick",
    seeds: Seeds = "0,1,2",
    out: Out = None,
    device: Device = "auto",
    dataset: Dataset = None,
    data_root: DataRoot = None,
    download: Download = False,
    weights: Weights = None,
    model: Model = None,
    split: Split = None,
    tail: Tail = None,
    mean: Mean = None,
    std: Std = None,
    text_root: TextRoot = None,
    workers: Workers = 0,
    cache: CacheFolder = None,
    lpips_weights: LpipsWeights = None,
    keep_images: KeepImages = None,
    secret_seed: SecretSeed = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure a table or figure of a paper again, with its numbers beside ours."""
    from bench.estimate.requests import reproduce_estimate
    from bench.flag_words import normalisation
    from bench.reproduce.frame.request import ExperimentRequest, Shown, Target, scale_of, seeds_of
    from splitlab.contracts.registry import Registry
    from splitlab.models import permit_typed
    from splitlab.storage import alone, read_json
    from splitlab.training import showing

    model = permit_typed(model) if model else model
    run = Registry("experiment", EXPERIMENTS, entry_points.EXPERIMENT_GROUP).load(name)
    chosen, numbers = scale_of(scale), seeds_of(seeds)
    place = out or Path("runs") / f"{name}-{scale}"
    with showing(console) as progress, nullcontext() if dry_run else alone(place):
        request = ExperimentRequest(
            out=place,
            scale=chosen,
            seeds=numbers,
            device=device,
            dataset=dataset,
            data_root=data_root,
            download=download,
            secret_seed=secret_seed,
            lpips_weights=lpips_weights,
            weights=weights,
            target=Target(model, split, tail, **normalisation(mean, std)),
            text_root=text_root,
            workers=workers,
            cache=cache,
            keep_images=_counted(keep_images),
            progress=progress,
        )
        reproduce_estimate(run, request).show(console, dry_run, as_json)
        if dry_run:
            return
        shown: Shown = run(request)
    summary = place / "summary.json"
    document = {**(read_json(summary) if summary.exists() else {}), "report": shown.page}
    answer(as_json, document, *shown.parts, f"Report: {shown.page}")


def _counted(keep_images: int | None) -> int | None:
    """
    Raises:
        BadInput: a number below 0.
    """
    if keep_images is not None and keep_images < 0:
        raise BadInput(f"--keep-images {keep_images}: wanted 0 or more")
    return keep_images


@guarded
def search(
    name: Name,
    measurement: Annotated[
        str,
        typer.Argument(metavar="KEY", help="Measurement whose attack is tried, e.g. block-5/rmle."),
    ],
    tries: Tries,
    images: Scored = 16,
    scale: ScaleName = "quick",
    seeds: Seeds = "0",
    out: Out = None,
    device: Device = "auto",
    dataset: Dataset = None,
    data_root: DataRoot = None,
    download: Download = False,
    weights: Weights = None,
    model: Model = None,
    split: Split = None,
    tail: Tail = None,
    mean: Mean = None,
    std: Std = None,
    secret_seed: SecretSeed = None,
    cache: CacheFolder = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try an attack's settings on an experiment's validation images, never on its victims."""
    from bench.estimate.requests import search_estimate
    from bench.flag_words import normalisation
    from bench.options import grid
    from bench.reproduce.frame.request import ExperimentRequest, Target, scale_of, seeds_of
    from bench.reproduce.frame.run import Framed
    from bench.reproduce.frame.search import search as search_settings
    from bench.reproduce.frame.trials import table
    from splitlab.contracts.registry import Registry
    from splitlab.models import permit_typed
    from splitlab.storage import alone
    from splitlab.training import showing

    model = permit_typed(model) if model else model
    run = Registry("experiment", EXPERIMENTS, entry_points.EXPERIMENT_GROUP).load(name)
    if not isinstance(run, Framed):
        raise BadInput(f"{name} has no settings that can be searched; name another experiment")
    chosen, numbers, values = scale_of(scale), seeds_of(seeds), grid(tries)
    place = out or Path("runs") / f"{name}-{scale}"
    with showing(console) as progress, nullcontext() if dry_run else alone(place):
        request = ExperimentRequest(
            out=place,
            scale=chosen,
            seeds=numbers,
            device=device,
            dataset=dataset,
            data_root=data_root,
            download=download,
            secret_seed=secret_seed,
            weights=weights,
            cache=cache,
            target=Target(model, split, tail, **normalisation(mean, std)),
            progress=progress,
        )
        experiment = run.experiment(request)
        told = search_estimate(experiment, measurement, values, request, images)
        told.show(console, dry_run, as_json)
        if dry_run:
            return
        found = search_settings(experiment, measurement, values, request, images)
    means = ("psnr", "ssim", "floor_psnr", "seconds")
    tried = [{**asdict(one), **{name: one.mean(name) for name in means}} for one in found.tried]
    document = {"format": "splitlab/search-table/1", "tried": tried, "record": found.path}
    answer(as_json, document, table(found), f"Record: {found.path}")
