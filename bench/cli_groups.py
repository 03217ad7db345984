"""Groups of options that two commands of `bench` share: a trained network, and an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli_options import (
    AsJson,
    CacheFolder,
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
)
from bench.reproduce.registry import MOVABLE
from splitlab import completion, known_names
from splitlab import help_sections as sections
from splitlab.cli_options import asked

if TYPE_CHECKING:
    from bench.point.weights import LabelFiles
    from bench.reproduce.frame.request import ExperimentRequest
    from splitlab.training import Progress


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """A network, its data, its defence, and how it is trained."""

    model: Model = "resnet20"
    dataset: Dataset = "photo-patches"
    size: Size = 32
    mean: Mean = None
    std: Std = None
    tail_start: TailStart = None
    defense: Defense = "none"
    train_with_defense: TrainWithDefense = False
    train_images: TrainImages = None
    epochs: Epochs = None
    training: Training = None
    weights: Weights = None
    weights_key: WeightsKey = None
    classes: Classes = None
    label_map: LabelMap = None
    new_classifier: NewClassifier = False
    freeze: Freeze = None
    seed: Seed = 0
    secret_seed: SecretSeed = None
    device: Device = "auto"
    data_root: DataRoot = None
    download: Download = False
    dry_run: DryRun = False
    as_json: AsJson = False

    @property
    def labels(self) -> LabelFiles:
        """What says which outputs of the weights the data's classes are."""
        from bench.point.weights import LabelFiles

        return LabelFiles(self.classes, self.label_map)

    def fields(self) -> dict[str, Any]:
        """Those of a config.

        Raises:
            UnknownName, BadInput: a name that is none, or flags that do not go together.
        """
        from bench.flag_words import normalisation
        from bench.options import given
        from bench.point.weights import weights_fields
        from splitlab.models import permit_typed

        return {
            "model": permit_typed(self.model),
            **normalisation(self.mean, self.std),
            **given(train_images=self.train_images),
            **weights_fields(
                self.weights,
                self.labels,
                key=self.weights_key,
                new_classifier=self.new_classifier,
                freeze=self.freeze,
                epochs=self.epochs,
                recipe=self.training,
            ),
            **{name: getattr(self, name) for name in AS_THEY_ARE},
        }


AS_THEY_ARE = ("dataset", "size", "tail_start", "defense", "train_with_defense", "seed", "device")
"""Fields of a config that are options' values."""

_cut = partial(typer.Option, rich_help_panel=sections.CUT)
_data = partial(typer.Option, rich_help_panel=sections.DATA)
_network = partial(typer.Option, rich_help_panel=sections.NETWORK)
_run = partial(typer.Option, rich_help_panel=sections.RUN)

ScaleName = Annotated[
    str,
    _run(
        help="quick (two cores, embedded data) or paper (the paper's sizes; wants a GPU).",
        autocompletion=completion.one_of("quick", "paper"),
    ),
]
ExperimentOut = Annotated[
    Path | None, _run(help="Run folder, continued if it exists; default runs/NAME-SCALE.")
]
OtherDataset = Annotated[
    str | None,
    _data(
        help="Data set in place of the scale's own, e.g. imagefolder:PATH (folder or tar).",
        callback=asked(known_names.require_dataset),
        autocompletion=completion.names_of(completion.DATASETS),
    ),
]
OtherWeights = Annotated[
    Path | None,
    _network(help="Checkpoint (.pth, .safetensors) of the network, in place of training."),
]
OtherModel = Annotated[
    str | None,
    _network(
        help="Network in place of the experiment's own, also package.module:factory; for "
        f"{', '.join(MOVABLE)}.",
        callback=asked(known_names.require_network),
        autocompletion=completion.names_of(completion.NETWORKS),
    ),
]
OtherSplit = Annotated[
    str | None,
    _cut(help="With --model: split point where the head ends; `bench splits` lists them."),
]
OtherTail = Annotated[str | None, _cut(help="With --model: split point where the body ends.")]
SecretSeedPlus = Annotated[
    int | None, _run(min=0, help="For reproduction only: draw secrets from this plus the seed.")
]


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """An experiment of a paper, where it runs, and what it takes in place of its own."""

    scale: ScaleName = "quick"
    out: ExperimentOut = None
    device: Device = "auto"
    dataset: OtherDataset = None
    data_root: DataRoot = None
    download: Download = False
    weights: OtherWeights = None
    model: OtherModel = None
    split: OtherSplit = None
    tail: OtherTail = None
    mean: Mean = None
    std: Std = None
    cache: CacheFolder = None
    secret_seed: SecretSeedPlus = None
    dry_run: DryRun = False
    as_json: AsJson = False

    def place(self, name: str) -> Path:
        """Where the experiment of this name is run."""
        return self.out or Path("runs") / f"{name}-{self.scale}"

    def request(self, name: str, seeds: str, progress: Progress, **more: Any) -> ExperimentRequest:
        """What is asked for.

        Args:
            more: further fields of the request.

        Raises:
            BadInput: flags that do not go together, or words that are none.
        """
        from bench.flag_words import normalisation
        from bench.reproduce.frame.request import ExperimentRequest, Target, scale_of, seeds_of
        from splitlab.models import permit_typed

        model = permit_typed(self.model) if self.model else self.model
        return ExperimentRequest(
            out=self.place(name),
            scale=scale_of(self.scale),
            seeds=seeds_of(seeds),
            target=Target(model, self.split, self.tail, **normalisation(self.mean, self.std)),
            progress=progress,
            **{name: getattr(self, name) for name in ASKED_AS_IT_IS},
            **more,
        )


ASKED_AS_IT_IS = ("device", "dataset", "data_root", "download", "weights", "cache", "secret_seed")
"""Fields of a request that are options' values."""
