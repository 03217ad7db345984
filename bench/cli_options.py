"""Options that several commands of `bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splitlab.console import guarded
from splitlab.errors import BadInput


@guarded
def _writable(out: Path | None) -> Path | None:
    """Before minutes are spent on what could not be kept."""
    if out is not None:
        from splitlab.storage import require_writable

        require_writable(out.parent)
        if out.is_dir():
            raise BadInput(f"--out {out} is a folder; name a file")
    return out


Measured = Annotated[
    Path | None, typer.Option(help="Write what was measured here as JSON.", callback=_writable)
]
NETWORK = "Own, torchvision or timm network, with arguments such as repvgg_a0:form=deploy."
Model = Annotated[str, typer.Option(help=NETWORK)]
Dataset = Annotated[
    str, typer.Option(help="photo-patches, cifar10, cifar100 or imagefolder:PATH (folder or tar).")
]
Size = Annotated[int, typer.Option(help="Side of the images in pixels.")]
Seed = Annotated[int, typer.Option(help="Public seed.")]
SecretSeed = Annotated[
    int | None, typer.Option(help="For reproduction only: draw the client's secrets from this.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DataRoot = Annotated[Path | None, typer.Option(help="Where torchvision's data sets lie.")]
Download = Annotated[bool, typer.Option(help="Let torchvision fetch a data set.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say points, time and memory; nothing is written.")
]
Defense = Annotated[
    str, typer.Option(help='Such as "gaussian:level=0.1,draw=fixed+dropout:level=0.3".')
]
Wires = Annotated[
    list[str] | None,
    typer.Option(help="FP32 (default), FP16, BF16 or INT8; repeat it to compare others with it."),
]
Wire = Annotated[str, typer.Option(help="FP32, FP16, BF16 or INT8.")]
Epochs = Annotated[
    int | None, typer.Option(help="Passes over the victim's training images; default the recipe's.")
]
Weights = Annotated[
    Path | None, typer.Option(help="Trained weights (.pth, .safetensors) instead of training.")
]
