"""`adversary synthesise`: images from the batch norms of a granted network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from adversary.cli_options import Device, DryRun, PublicSeed
from splitlab import completion
from splitlab.answers import AsJson, answer
from splitlab.cli_options import Imports, asked
from splitlab.console import console, guarded
from splitlab.errors import UnknownName
from splitlab.help_sections import ATTACK, DATA, GRANT, RUN

_PRESETS = ("auto", "lab", *completion.literal("adversary.synthesis.settings:PRESETS"))


def _known_preset(text: str) -> None:
    if (name := text.partition(":")[0].strip()) not in _PRESETS:
        raise UnknownName("preset of synthesis", name, _PRESETS)


@guarded
def synthesise(
    knows: Annotated[
        Path,
        typer.Option(
            help="Grant with the head, or with head, bodies and tail.", rich_help_panel=GRANT
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of images; continued if it is there.", rich_help_panel=RUN)
    ],
    count: Annotated[
        int,
        typer.Option(min=1, help="Images, rounded up to whole batches.", rich_help_panel=DATA),
    ] = 512,
    preset: Annotated[
        str | None,
        typer.Option(
            help="auto, lab, dci, yin2020 or yin2020-cifar, with settings as in "
            "dci:steps=2000,start=natural; default auto, by the size of the network's input.",
            callback=asked(_known_preset),
            autocompletion=completion.one_of(*_PRESETS),
            rich_help_panel=ATTACK,
        ),
    ] = None,
    set_option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="FIELD=VALUE, e.g. steps=2000 or preset=yin2020: the older spelling; repeatable.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    seed: PublicSeed = 0,
    device: Device = "auto",
    imports: Imports = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make images like a network's training images from its batch norms alone."""
    from adversary.cli_options import with_preset
    from adversary.contract.grant import read_grant
    from adversary.estimating.commands import synthesis_estimate
    from adversary.synthesis.folder import make_images, making
    from adversary.synthesis.settings import fitting
    from adversary.synthesis.synthesis import Known
    from splitlab.contracts.own_code import permit
    from splitlab.storage import alone
    from splitlab.training import choose_device, showing

    options = with_preset(preset, set_option or ())
    permit(*(imports or ()))
    known = Known.of(read_grant(knows))
    preset_name, settings = fitting(options, known.input.size)
    place = choose_device(device)
    console.print(
        f"preset {preset_name}, for images of {known.input.size} pixels a side: "
        f"{settings.half_steps} + {settings.steps} steps, batches of {settings.batch_size}",
        soft_wrap=True,
        markup=False,
    )
    forecast = synthesis_estimate(out, known, settings, count=count, seed=seed, device=place)
    forecast.show(console, dry_run, as_json)
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
    document = {
        "preset": preset_name,
        "images": made * settings.batch_size,
        "layers": content["layers"],
        "objective": {"first": first / made, "last": last / made},
        "statistics": making(content, made * settings.batch_size),
        "folder": out,
    }
    answer(as_json, document, told)


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
