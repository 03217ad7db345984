"""`bench reproduce`: tables and figures of the papers; `bench search`: settings for them."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli_groups import ExperimentOptions
from bench.cli_options import KeepImages, LpipsWeights, Workers
from bench.reproduce.registry import EXPERIMENTS
from splitlab import completion, entry_points
from splitlab import help_sections as sections
from splitlab.answers import answer
from splitlab.cli_options import asked, grouped
from splitlab.console import console, guarded
from splitlab.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from bench.reproduce.frame.request import Shown


def _known(name: str) -> None:
    if name not in (known := {*EXPERIMENTS, *entry_points.entries(entry_points.EXPERIMENT_GROUP)}):
        raise UnknownName("experiment", name, known)


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help=f"One of: {', '.join(EXPERIMENTS)}.{entry_points.also(entry_points.EXPERIMENT_GROUP)}",
        callback=asked(_known),
        autocompletion=completion.names_of(completion.EXPERIMENTS),
    ),
]
_attack = partial(typer.Option, rich_help_panel=sections.ATTACK)
Seeds = Annotated[
    str,
    typer.Option(
        help="Public seeds with commas; each measures everything once.",
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
    _attack(
        "--try",
        help="Values to try: FIELD=VALUE|VALUE,FIELD=VALUE. All combinations are tried. A field of "
        "`adversary synthesise` is written synthesis.FIELD.",
    ),
]
Scored = Annotated[int, _attack(min=1, help="Validation images that are scored.")]


@guarded
@grouped
def reproduce(
    name: Name,
    *,
    seeds: Seeds = "0,1,2",
    text_root: TextRoot = None,
    workers: Workers = 0,
    lpips_weights: LpipsWeights = None,
    keep_images: KeepImages = None,
    given: ExperimentOptions,
) -> None:
    """Measure a table or figure of a paper again, with its numbers beside ours."""
    from bench.estimate.requests import reproduce_estimate
    from splitlab.storage import alone, read_json
    from splitlab.training import showing

    run, place = _experiment(name), given.place(name)
    with showing(console) as progress, nullcontext() if given.dry_run else alone(place):
        request = given.request(
            name,
            seeds,
            progress,
            lpips_weights=lpips_weights,
            text_root=text_root,
            workers=workers,
            keep_images=_counted(keep_images),
        )
        reproduce_estimate(run, request).show(console, given.dry_run, given.as_json)
        if given.dry_run:
            return
        shown: Shown = run(request)
    summary = place / "summary.json"
    document = {**(read_json(summary) if summary.exists() else {}), "report": shown.page}
    answer(given.as_json, document, *shown.parts, f"Report: {shown.page}")


def _experiment(name: str) -> Any:
    """What the registry or an installed package has under this name."""
    from splitlab.contracts.registry import Registry

    return Registry("experiment", EXPERIMENTS, entry_points.EXPERIMENT_GROUP).load(name)


def _counted(keep_images: int | None) -> int | None:
    """
    Raises:
        BadInput: a number below 0.
    """
    if keep_images is not None and keep_images < 0:
        raise BadInput(f"--keep-images {keep_images}: wanted 0 or more")
    return keep_images


@guarded
@grouped
def search(
    name: Name,
    measurement: Annotated[
        str,
        typer.Argument(metavar="KEY", help="Measurement whose attack is tried, e.g. block-5/rmle."),
    ],
    *,
    tries: Tries,
    images: Scored = 16,
    seeds: Seeds = "0",
    given: ExperimentOptions,
) -> None:
    """Try an attack's settings on an experiment's validation images, never on its victims."""
    from bench.estimate.requests import search_estimate
    from bench.options import grid
    from bench.reproduce.frame.run import Framed
    from bench.reproduce.frame.search import search as search_settings
    from bench.reproduce.frame.trials import table
    from splitlab.storage import alone
    from splitlab.training import showing

    run, values, place = _experiment(name), grid(tries), given.place(name)
    if not isinstance(run, Framed):
        raise BadInput(f"{name} has no settings that can be searched; name another experiment")
    with showing(console) as progress, nullcontext() if given.dry_run else alone(place):
        request = given.request(name, seeds, progress)
        experiment = run.experiment(request)
        told = search_estimate(experiment, measurement, values, request, images)
        told.show(console, given.dry_run, given.as_json)
        if given.dry_run:
            return
        found = search_settings(experiment, measurement, values, request, images)
    tried = [one.told for one in found.tried]
    document = {"format": "splitlab/search-table/1", "tried": tried, "record": found.path}
    answer(given.as_json, document, table(found), f"Records: {found.path}")
