"""`bench train`: one network, one deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli_groups import NetworkOptions
from bench.cli_options import Wire
from splitlab.answers import answer
from splitlab.cli_options import grouped
from splitlab.console import console, guarded
from splitlab.help_sections import CUT, RUN


@guarded
@grouped
def train(
    out: Annotated[
        Path,
        typer.Option(help="Deployment folder: gets client/ and server/.", rich_help_panel=RUN),
    ],
    split: Annotated[
        str, typer.Option(help="Split point at which the head ends.", rich_help_panel=CUT)
    ],
    *,
    wire: Wire = "FP32",
    network: NetworkOptions,
) -> None:
    """Train a network, cut it, and write the two halves of a deployment."""
    from rich.text import Text

    from bench.point import recipe
    from bench.point.data_notes import show
    from bench.train import train_and_deploy
    from splitlab.estimating import Forecast
    from splitlab.training import showing

    config = recipe.validated(**network.fields(), splits=split, wire=wire)
    dry_run, as_json = network.dry_run, network.as_json

    def begins(estimate: Forecast) -> bool:
        estimate.show(console, dry_run, as_json)
        return not dry_run

    with showing(console) as progress:
        facts = train_and_deploy(
            out,
            config,
            weights=network.weights,
            labels=network.labels,
            data_root=network.data_root,
            download=network.download,
            secret_seed=network.secret_seed,
            progress=progress,
            say=show,
            begins=begins,
        )
    if dry_run:
        return
    doubt = facts["doubt"]
    document = {
        **{key: facts[key] for key in ("validation_accuracy", "split", "digest", "doubt")},
        "client": out / "client",
        "server": out / "server",
    }
    answer(
        as_json,
        document,
        f"validation accuracy {facts['validation_accuracy']:z.1f} %, split point "
        f"{facts['split']}, digest {facts['digest'][:16]}",
        *([Text(f"{doubt}.", style="yellow")] if doubt else []),
        f"client half (keep it): {out / 'client'}",
        f"server half (give it away): {out / 'server'}",
    )
