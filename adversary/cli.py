"""`adversary`: listen between a client and its server, and attack what was captured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from adversary.cli_options import ATTACK_HELP, Device, DryRun, PublicSeed, chosen
from adversary.synthesis.cli import synthesise
from adversary.tap.cli import tap
from splitlab import completion
from splitlab.answers import AsJson, answer
from splitlab.cli_options import Imports, asked
from splitlab.console import CommandLine, console, guarded
from splitlab.errors import BadInput
from splitlab.help_sections import ATTACK, GRANT, RUN
from splitlab.known_names import require_attack

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
    knows: Annotated[
        Path, typer.Option(help="Grant that `bench grant` wrote.", rich_help_panel=GRANT)
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for estimate and reconstructions.", rich_help_panel=RUN)
    ],
    attack: Annotated[
        str,
        typer.Option(
            help=f"{ATTACK_HELP} With settings, decoder:epochs=5,width=32 or decoder:preset=NAME.",
            callback=asked(require_attack),
            autocompletion=completion.names_of(completion.ATTACKS),
            rich_help_panel=ATTACK,
        ),
    ] = "decoder",
    set_option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="FIELD=VALUE of the attack, e.g. epochs=5: the older spelling; repeatable.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `adversary synthesise` wrote: learn from these images, with the "
            "granted head, in place of the grant's own images and queries.",
            rich_help_panel=GRANT,
        ),
    ] = None,
    fitted: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps what the attack learned, for other captures. What is there for "
            "the same attack, settings, seed and knowledge is taken; all else is learned and put "
            "beside it.",
            rich_help_panel=RUN,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Attack so many features, in order of arrival.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    seed: PublicSeed = 0,
    device: Device = "auto",
    imports: Imports = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Reconstruct the images behind a capture, with nothing but the capture and the grant.

    The same command started again after a kill goes on where it was: what it has learned so far is
    kept in `OUT/fit-...` until the estimate is there, or in the folder of --fitted for good.
    """
    from rich.console import RenderableType
    from rich.text import Text

    from adversary.contract.attack import require_features, run_attack
    from adversary.registry import ATTACKS

    attack, options = chosen(attack, set_option or ())
    kind = ATTACKS.load(attack)
    require_features(kind, "a capture")
    configured = kind.configured(options)
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
        configured = kind.configured(kind.learning_from(options, count))
    before = shelf(fitted)
    fitting = Fitting.of(out, fitted, configured, threat, seed)
    forecast = attack_estimate(configured, fitting.threat, observation, place)
    forecast.show(console, dry_run, as_json)
    if dry_run:
        return
    with showing(console) as progress, alone(out):
        require_new(out)  # of whoever was there until just now
        with fitting.heard(progress) as heard:
            outcome = run_attack(
                configured,
                fitting.threat,
                observation,
                generator(seed, "attack", attack),
                device=place,
                progress=heard,
                checkpoint=fitting.checkpoint,
            )
        taken = fitting.taken(heard, outcome)
        write_estimate(out, configured, threat, outcome, seed, taken)
        forget_fits(out)
    document: dict[str, Any] = {
        "attack": attack,
        "reconstructions": len(outcome.ids),
        "estimate": out,
        "doubts": outcome.estimate.doubts,
    }
    told: list[RenderableType] = [f"{len(outcome.ids)} reconstructions by {attack}: {out}"]
    if taken is not None:
        document["taken"] = list(taken)
        told.append(f"taken from {fitted}: {', '.join(taken) or 'nothing that fits'}")
    if fitted is not None:
        there = shelf(fitted).items()
        new = sorted(str(path) for path, state in there if before.get(path) != state)
        document["kept"] = new
        told.append(f"kept in {fitted}: {', '.join(new) or 'nothing new, all was there'}")
    told += [Text(f"doubt: {doubt}", style="yellow") for doubt in outcome.estimate.doubts]
    answer(as_json, document, *told)


def require_new(out: Path) -> None:
    """
    Raises:
        BadInput: an attack was finished there.
    """
    if (out / "estimate.json").exists():
        raise BadInput(f"{out}: an estimate is there already; choose another --out")
