"""`adversary synthesise`: images from the batch norms of a granted network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from adversary.cli_options import DryRun
from splitlab.console import console, guarded
from splitlab.import_option import Imports


@guarded
def synthesise(
    knows: Annotated[
        Path, typer.Option(help="Grant with the head, or with head, bodies and tail.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of images; continued if it is there.")],
    count: Annotated[int, typer.Option(min=1, help="Images, rounded up to whole batches.")] = 512,
    set_option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="FIELD=VALUE, e.g. steps=2000 or preset=yin2020; repeatable. Without a preset the "
            "size of the network's input says which: lab's own, or dci from 128 pixels on.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Public seed.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    imports: Imports = None,
    dry_run: DryRun = False,
) -> None:
    """Make images like a network's training images from its batch norms alone."""
    from adversary.cli_options import read_options
    from adversary.contract.grant import read_grant
    from adversary.estimating.commands import synthesis_estimate
    from adversary.synthesis.folder import make_images
    from adversary.synthesis.settings import fitting
    from adversary.synthesis.synthesis import Known
    from splitlab.contracts.own_code import permit
    from splitlab.storage import alone
    from splitlab.training import choose_device, showing

    options = read_options(set_option or [])
    permit(*(imports or ()))
    known = Known.of(read_grant(knows))
    preset, settings = fitting(options, known.input.size)
    place = choose_device(device)
    console.print(
        f"preset {preset}, for images of {known.input.size} pixels a side: "
        f"{settings.half_steps} + {settings.steps} steps, batches of {settings.batch_size}",
        soft_wrap=True,
        markup=False,
    )
    synthesis_estimate(out, known, settings, count=count, seed=seed, device=place).show(
        console, dry_run
    )
    if dry_run:
        return
    with showing(console) as progress, alone(out):
        content = make_images(
            out, known, settings, count=count, seed=seed, device=place, progress=progress
        )
    first, last = (
        sum(facts["objective"][i] for facts in content["batches"].values()) for i in (0, 1)
    )
    made = len(content["batches"])
    told = (
        f"{made * settings.batch_size} images from the batch norms of {content['layers']}; "
        f"objective {first / made:.3g} -> {last / made:.3g}{_errors(content, made)}: {out}"
    )
    console.print(told, soft_wrap=True, markup=False)


def _errors(content: Mapping[str, Any], batches: int) -> str:
    """How far the images' statistics are from the stored ones, "" where they did not count."""
    from adversary.synthesis.folder import making

    told = making(content, batches * content["settings"]["batch_size"])
    if "mean_error" not in told:
        return ""
    means, variances = told["mean_error"], told["variance_error"]
    return (
        "; statistics off by, worst (median) of the batch norms: "
        f"means {means['worst']:.3g} ({means['median']:.3g}) standard deviations, "
        f"variances {variances['worst']:z.1%} ({variances['median']:z.1%})"
    )
