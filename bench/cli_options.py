"""Options that several commands of `bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adversary.cli_options import DryRun as DryRun
from bench import flag_words
from splitlab.console import guarded
from splitlab.errors import BadInput
from splitlab.import_option import Imports as Imports


@guarded
def _writable(out: Path | None) -> Path | None:
    """Before minutes are spent on what could not be kept."""
    if out is not None:
        from splitlab.storage import require_writable

        require_writable(out.parent)
        if out.is_dir():
            raise BadInput(f"--out {out} is a folder; name a file")
    return out


@guarded
def _device(name: str) -> str:
    return flag_words.device(name)


@guarded
def _settings(items: list[str] | None) -> list[str] | None:
    flag_words.settings(items or ())
    return items


_MOST = 10_000_000  # images, as `splitlab.contracts.ranges.Count`, which takes long to import

Measured = Annotated[
    Path | None, typer.Option(help="Write what was measured here as JSON.", callback=_writable)
]
Deployment = Annotated[
    Path, typer.Argument(metavar="DEPLOYMENT", help="Folder with client/ and server/.")
]
NETWORK = (
    "The lab's, torchvision's or timm's network, with arguments such as repvgg_a0:form=deploy; or "
    "your own, package.module:factory or package.module:factory:width=32, any callable that "
    "returns an nn.Module, looked for in the working directory first."
)
Model = Annotated[str, typer.Option(help=NETWORK)]
Mean = Annotated[
    str | None,
    typer.Option(
        help="R,G,B, or one number for all, in [0, 1]: taken off the image before the network; "
        "default ImageNet's, and 0 for a network of your own."
    ),
]
Std = Annotated[
    str | None,
    typer.Option(help="The same, by which is divided; default ImageNet's, and 1 for your own."),
]
Dataset = Annotated[
    str, typer.Option(help="photo-patches, cifar10, cifar100 or imagefolder:PATH (folder or tar).")
]
Size = Annotated[int, typer.Option(min=8, max=1024, help="Side of the images in pixels.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="ATTACK.FIELD=VALUE, e.g. decoder.epochs=5; repeatable.",
        callback=_settings,
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Public seed.")]
SecretSeed = Annotated[
    int | None,
    typer.Option(min=0, help="For reproduction only: draw the client's secrets from this."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", callback=_device)]
DataRoot = Annotated[Path | None, typer.Option(help="Where torchvision's data sets lie.")]
Download = Annotated[bool, typer.Option(help="Let torchvision fetch a data set.")]
Defense = Annotated[
    str, typer.Option(help='Such as "gaussian:level=0.1,draw=fixed+dropout:level=0.3".')
]
TrainWithDefense = Annotated[
    bool,
    typer.Option(help="Let the network learn with the defence; a sweep's once a split point."),
]
Wires = Annotated[
    list[str] | None,
    typer.Option(help="FP32 (default), FP16, BF16 or INT8; repeat it to compare others with it."),
]
Wire = Annotated[str, typer.Option(help="FP32, FP16, BF16 or INT8.")]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Folder of networks, judges and images that runs share; beside --out."
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=0,
        help="Processes that deploy and attack side by side; 0: one a core, one with a GPU.",
    ),
]
KeepImages = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Victims whose reconstruction each record keeps as float32 tensors; default as many "
        "as 32 MiB hold (all at 32 pixels, 27 at 224).",
    ),
]
LpipsWeights = Annotated[Path | None, typer.Option(help="Folder of LPIPS backbones.")]
TailStart = Annotated[str | None, typer.Option(help="Split point at which the server's body ends.")]
Links = Annotated[
    list[str] | None,
    typer.Option(
        help="Latency under a simulated link too: wifi, lte, 5g, fiber or "
        "rtt=40ms,up=10mbps,down=50mbps,loss=1%; repeatable."
    ),
]
TrainImages = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_MOST,
        help="The victim's training images; default 4000, or all where there are fewer.",
    ),
]
Queries = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_MOST,
        help="The adversary's images, a query each; default 2000, or all there are.",
    ),
]
Validation = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_MOST,
        help="Images by which attacks choose settings; default 128, or all there are.",
    ),
]
Victims = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_MOST,
        help="Images that cross the wire; default 128, or all where there are fewer.",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=0, max=10_000, help="Passes over the victim's training images; default the recipe's."
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="Trained weights (.pth, .safetensors) instead of training.")
]
WeightsKey = Annotated[
    str | None,
    typer.Option(help="Which weights of the file, e.g. model_ema, where it has several."),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        help="Names of the outputs of --weights in order (a line each, or JSON), where they are "
        "not the data set's classes."
    ),
]
LabelMap = Annotated[
    Path | None,
    typer.Option(help="CSV or JSON: class folder -> name or number of the output it stands for."),
]
NewClassifier = Annotated[
    bool, typer.Option("--new-classifier", help="Keep all of --weights but the last layer; train.")
]
Freeze = Annotated[
    str | None,
    typer.Option(help="With --new-classifier: split point up to which nothing is trained."),
]
Aux = Annotated[int, typer.Option(min=0, help="Number of the adversary's own images.")]
SettingImages = Annotated[int, typer.Option(min=0, help="Images to choose its settings by.")]
Observe = Annotated[int, typer.Option(min=0, help="Number of chosen-input queries.")]
