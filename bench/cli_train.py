"""`bench train`: one network, one deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import (
    AsJson,
    Classes,
    DataRoot,
    Dataset,
    Defense,
    Device,
    Download,
    DryRun,
    Epochs,
    Freeze,
    LabelMap,
    Mean,
    Model,
    NewClassifier,
    SecretSeed,
    Seed,
    Size,
    Std,
    TailStart,
    TrainImages,
    Training,
    TrainWithDefense,
    Weights,
    WeightsKey,
    Wire,
)
from splitlab.answers import answer
from splitlab.console import console, guarded
from splitlab.help_sections import CUT, RUN


@guarded
def train(
    out: Annotated[
        Path,
        typer.Option(help="Deployment folder: gets client/ and server/.", rich_help_panel=RUN),
    ],
    split: Annotated[
        str, typer.Option(help="Split point at which the head ends.", rich_help_panel=CUT)
    ],
    model: Model = "resnet20",
    dataset: Dataset = "photo-patches",
    size: Size = 32,
    mean: Mean = None,
    std: Std = None,
    tail_start: TailStart = None,
    defense: Defense = "none",
    train_with_defense: TrainWithDefense = False,
    wire: Wire = "FP32",
    train_images: TrainImages = None,
    epochs: Epochs = None,
    training: Training = None,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    classes: Classes = None,
    label_map: LabelMap = None,
    new_classifier: NewClassifier = False,
    freeze: Freeze = None,
    seed: Seed = 0,
    secret_seed: SecretSeed = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    download: Download = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a network, cut it, and write the two halves of a deployment."""
    from rich.text import Text

    from bench.flag_words import normalisation
    from bench.options import given
    from bench.point import recipe
    from bench.point.data_notes import show
    from bench.point.weights import LabelFiles, weights_fields
    from bench.train import train_and_deploy
    from splitlab.estimating import Forecast
    from splitlab.models import permit_typed
    from splitlab.training import showing

    model = permit_typed(model)
    config = recipe.validated(
        model=model,
        dataset=dataset,
        size=size,
        **normalisation(mean, std),
        splits=split,
        tail_start=tail_start,
        defense=defense,
        train_with_defense=train_with_defense,
        wire=wire,
        **given(train_images=train_images),
        **weights_fields(
            weights,
            labels := LabelFiles(classes, label_map),
            key=weights_key,
            new_classifier=new_classifier,
            freeze=freeze,
            epochs=epochs,
            recipe=training,
        ),
        seed=seed,
        device=device,
    )

    def begins(estimate: Forecast) -> bool:
        estimate.show(console, dry_run, as_json)
        return not dry_run

    with showing(console) as progress:
        facts = train_and_deploy(
            out,
            config,
            weights=weights,
            labels=labels,
            data_root=data_root,
            download=download,
            secret_seed=secret_seed,
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
