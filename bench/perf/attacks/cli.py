"""`bench perf attacks`: what each attack reads in the same CPU time as the peers' loops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli_options import (
    AsJson,
    CacheFolder,
    DataRoot,
    Dataset,
    Download,
    DryRun,
    Epochs,
    Mean,
    Model,
    RunFolder,
    Size,
    Splits,
    Std,
    TrainImages,
    Weights,
    WeightsKey,
    Workers,
)
from splitlab.answers import answer
from splitlab.console import console, guarded
from splitlab.help_sections import ATTACK, DATA, RUN

_data = partial(typer.Option, rich_help_panel=DATA)
_run = partial(typer.Option, rich_help_panel=RUN)

SHOWING = frozenset({"out", "as_json", "only", "workers", "cache"})
"""Options beside which a finished folder is only shown."""
QUICK: dict[str, Any] = {
    "splits": "layer2.0",
    "seeds": "0",
    "victims": 4,
    "auxiliary": 256,
    "validation": 16,
    "budget": "5,15,45",
    "train_images": 1000,
    "epochs": 1,
}


@guarded
def perf_attacks(
    ctx: typer.Context,
    model: Model = "resnet20",
    weights: Weights = None,
    weights_key: WeightsKey = None,
    mean: Mean = None,
    std: Std = None,
    dataset: Dataset = "photo-patches",
    size: Size = 32,
    data_root: DataRoot = None,
    download: Download = False,
    train_images: TrainImages = None,
    epochs: Epochs = None,
    splits: Splits = "layer1.0,layer2.0,layer3.0",
    seeds: Annotated[
        str, _run(help="Seeds with commas; each draws other victims and auxiliary images.")
    ] = "0,1,2",
    victims: Annotated[int, _data(min=1, max=4096, help="Victims under each seed.")] = 16,
    auxiliary: Annotated[
        int,
        _data(min=2, max=10_000_000, help="The adversary's images to learn from, a query each."),
    ] = 1500,
    validation: Annotated[
        int,
        _data(min=1, max=10_000_000, help="Images to choose settings by; a peer learns from them."),
    ] = 128,
    budget: Annotated[
        str, _run(help="CPU seconds of one thread at which each run is read, with commas.")
    ] = "30,60,180",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure this contender alone; repeatable.", rich_help_panel=ATTACK),
    ] = None,
    quick: Annotated[
        bool, _run("--quick", help="Small sizes, some minutes, no verdict; what is given stays.")
    ] = False,
    cache: CacheFolder = None,
    workers: Workers = 1,
    out: RunFolder = Path("runs/perf-attacks"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Our attacks beside the peers' loops, in the same CPU seconds of one thread.

    A run that was killed goes on where it was; a finished folder is shown again.
    """
    from bench.flag_words import normalisation
    from bench.options import given
    from bench.perf.attacks.prepare import Ground, ImageCounts, require_contenders
    from bench.perf.attacks.run import AttackComparison
    from bench.perf.attacks.settings import budgets_of, seeds_of
    from bench.point import recipe
    from bench.point.cache.store import Cache
    from bench.point.data_notes import show
    from bench.point.lab import Sources
    from bench.point.weights import LabelFiles, weights_fields
    from splitlab.models import permit_typed
    from splitlab.training import showing

    typed = {name for name in ctx.params if _typed(ctx, name)}
    require_contenders(only or ())
    if typed <= SHOWING and _shown(out, as_json, only or ()):
        return
    asked: dict[str, Any] = {
        "splits": splits,
        "seeds": seeds,
        "victims": victims,
        "auxiliary": auxiliary,
        "validation": validation,
        "budget": budget,
        "train_images": train_images,
        "epochs": epochs,
    }
    if quick:
        asked |= {name: value for name, value in QUICK.items() if name not in typed}
    budgets, drawn = budgets_of(asked["budget"]), seeds_of(asked["seeds"])
    config = recipe.validated(
        model=permit_typed(model),
        dataset=dataset,
        size=size,
        splits=asked["splits"],
        **normalisation(mean, std),
        **given(train_images=asked["train_images"]),
        **weights_fields(weights, LabelFiles(), key=weights_key, epochs=asked["epochs"]),
    )
    counts = ImageCounts(*(asked[name] for name in ("victims", "auxiliary", "validation")))
    sources = Sources(
        dataset, data_root=data_root, download=download, weights=weights, device="cpu"
    )
    with showing(console) as progress:
        comparison = AttackComparison.of(
            out,
            Ground.of(config, sources, counts, drawn),
            budgets,
            quick=quick,
            only=only or (),
            workers=workers,
            cache=Cache(cache) if cache else None,
        )
        show(comparison.ground.splits.notes)
        comparison.estimate().show(console, dry_run, as_json)
        if dry_run:
            return
        comparison.execute(progress)
    _shown(out, as_json, whole=False)


def _typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _shown(out: Path, as_json: bool, wanted: Sequence[str] = (), *, whole: bool = True) -> bool:
    """Compare, write and show what a folder holds.

    Args:
        wanted: contenders that it must have.
        whole: only where nothing is missing.

    Returns:
        whether it was shown.
    """
    from bench.perf.attacks.readings import readings_table
    from bench.perf.attacks.run import rows_of
    from bench.perf.attacks.settings import kept_settings
    from bench.perf.attacks.table import (
        lines_of,
        rich_lines,
        summary_of,
        verdict_told,
        write_summary,
    )

    settings = kept_settings(out)
    if settings is None or not set(wanted) <= set(settings.contenders):
        return False
    rows, missing = rows_of(out, settings)
    if whole and missing:
        return False
    summary = summary_of(rows, settings, missing)
    write_summary(out, summary)
    lines = lines_of(rows, settings)
    shown = (readings_table(summary), rich_lines(lines, settings), verdict_told(summary))
    answer(as_json, summary, *shown, str(out))
    return True
