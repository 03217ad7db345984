"""`adversary`: listen between a client and its server, and attack what was captured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adversary.cli_options import ATTACK_HELP, DryRun, read_options
from adversary.synthesis.cli import synthesise
from adversary.tap.cli import tap
from splitlab.console import CommandLine, console, guarded
from splitlab.errors import BadInput
from splitlab.import_option import Imports

app = CommandLine(
    keep_freed=True,
    help="Listen to a split network's wire, and attack a capture with what is granted.",
)
app.command()(tap)
app.command()(synthesise)


@app.command()
@guarded
def attack(
    capture: Annotated[Path, typer.Argument(help="Folder that a tap wrote.")],
    knows: Annotated[Path, typer.Option(help="Grant that `bench grant` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for estimate and reconstructions.")],
    attack: Annotated[str, typer.Option(help=ATTACK_HELP)] = "decoder",
    set_option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="FIELD=VALUE of the attack, e.g. epochs=5 or preset=NAME; repeatable."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `adversary synthesise` wrote: learn from these images, with the "
            "granted head, in place of the grant's own images and queries."
        ),
    ] = None,
    fitted: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps what the attack learned, for other captures. What is there for "
            "the same attack, settings, seed and knowledge is taken; all else is learned and put "
            "beside it. Inverse blocks of dci are found by their weights and images: with "
            "cycle_to=k another cut takes those that it shares; with L only the same cut does."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Attack so many features, in order of arrival.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Public seed of the attack.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    imports: Imports = None,
    dry_run: DryRun = False,
) -> None:
    """Reconstruct the images behind a capture, with nothing but the capture and the grant.

    The same command started again after a kill goes on where it was: what it has learned so far is
    kept in `OUT/fit-...` until the estimate is there, or in the folder of --fitted for good.
    """
    from adversary.contract.attack import require_features, run_attack
    from adversary.registry import ATTACKS

    options = read_options(set_option or [])
    kind = ATTACKS.load(attack)
    require_features(kind, "a capture")
    chosen = kind.configured(options)
    require_new(out)

    if images is not None and not kind.learns:
        raise BadInput(f"--images: attack {attack!r} learns from no images; leave them out")

    from adversary.contract.estimate_files import attacked, write_estimate
    from adversary.contract.fitted import Fitting, forget_fits, shelf
    from adversary.estimating.commands import attack_estimate
    from adversary.synthesis.folder import own_images
    from splitlab.contracts.own_code import permit
    from splitlab.randomness import generator
    from splitlab.storage import alone
    from splitlab.training import choose_device, showing

    place = str(choose_device(device))
    permit(*(imports or ()))
    threat, observation = attacked(capture, knows, limit)
    if images is not None:
        threat = own_images(images, threat)
        count = len(threat.need("aux").images)
        chosen = kind.configured(kind.learning_from(options, count))
    before = shelf(fitted)
    fitting = Fitting.of(out, fitted, chosen, threat, seed)
    attack_estimate(chosen, fitting.threat, observation, place).show(console, dry_run)
    if dry_run:
        return
    with showing(console) as progress, alone(out):
        require_new(out)  # of whoever was there until just now
        with fitting.heard(progress) as heard:
            outcome = run_attack(
                chosen,
                fitting.threat,
                observation,
                generator(seed, "attack", attack),
                device=place,
                progress=heard,
                checkpoint=fitting.checkpoint,
            )
        taken = fitting.taken(heard, outcome)
        write_estimate(out, chosen, threat, outcome, seed, taken)
        forget_fits(out)
    told = f"{len(outcome.ids)} reconstructions by {attack}: {out}"
    console.print(told, soft_wrap=True, markup=False)
    if taken is not None:
        found = ", ".join(taken) or "nothing that fits"
        console.print(f"taken from {fitted}: {found}", soft_wrap=True, markup=False)
    if fitted is not None:
        there = shelf(fitted).items()
        new = sorted(str(path) for path, state in there if before.get(path) != state)
        told = ", ".join(new) or "nothing new, all was there"
        console.print(f"kept in {fitted}: {told}", soft_wrap=True, markup=False)
    for doubt in outcome.estimate.doubts:
        console.print(f"doubt: {doubt}", style="yellow", markup=False)


def require_new(out: Path) -> None:
    """
    Raises:
        BadInput: an attack was finished there.
    """
    if (out / "estimate.json").exists():
        raise BadInput(f"{out}: an estimate is there already; choose another --out")
