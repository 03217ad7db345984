"""Options that several commands of `bench` share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from adversary.cli_options import ATTACK_HELP
from bench import option_checks
from splitlab import completion, entry_points, known_names
from splitlab import help_sections as sections
from splitlab.answers import AsJson as AsJson
from splitlab.cli_options import Device as Device
from splitlab.cli_options import DryRun as DryRun
from splitlab.cli_options import Imports as Imports
from splitlab.cli_options import asked

_network = partial(typer.Option, rich_help_panel=sections.NETWORK)
_data = partial(typer.Option, rich_help_panel=sections.DATA)
_cut = partial(typer.Option, rich_help_panel=sections.CUT)
_training = partial(typer.Option, rich_help_panel=sections.TRAINING)
_defence = partial(typer.Option, rich_help_panel=sections.DEFENCE)
_attack = partial(typer.Option, rich_help_panel=sections.ATTACK)
GrantFlag = partial(typer.Option, rich_help_panel=sections.GRANT)
_wire = partial(typer.Option, rich_help_panel=sections.WIRE)
_run = partial(typer.Option, rich_help_panel=sections.RUN)
_datatypes = completion.one_of("FP32", "FP16", "BF16", "INT8")
_MOST = 10_000_000  # images, as `splitlab.contracts.ranges.Count`, which takes long to import
NETWORK_HELP = (
    "The lab's, torchvision's or timm's network, with arguments such as repvgg_a0:form=deploy; or "
    "your own, package.module:factory or package.module:factory:width=32, any callable that "
    "returns an nn.Module, looked for in the working directory first."
    + entry_points.also(entry_points.MODEL_GROUP)
)
LINK_HELP = "wifi, lte, 5g, fiber or rtt=40ms,up=10mbps,down=50mbps,loss=1%"

Measured = Annotated[
    Path | None,
    _run(help="Write what was measured here as JSON.", callback=option_checks.writable),
]
Deployment = Annotated[
    Path, typer.Argument(metavar="DEPLOYMENT", help="Folder with client/ and server/.")
]
RunFolder = Annotated[Path, _run(help="Run folder; continued if it exists.")]
Model = Annotated[
    str,
    _network(
        help=NETWORK_HELP,
        callback=asked(known_names.require_network),
        autocompletion=completion.names_of(completion.NETWORKS),
    ),
]
Mean = Annotated[
    str | None,
    _network(
        help="Mean that is subtracted from the image, whose pixels are in [0, 1]: R,G,B or one "
        "number for all; default ImageNet's, or 0 for a network of your own."
    ),
]
Std = Annotated[
    str | None,
    _network(
        help="Standard deviation that the image is then divided by; default ImageNet's, or 1 for a "
        "network of your own."
    ),
]
Weights = Annotated[
    Path | None,
    _network(help="Trained weights (.pth, .safetensors) instead of training, or to begin it."),
]
WeightsKey = Annotated[
    str | None, _network(help="Which weights to take of a file with several, e.g. model_ema.")
]
Classes = Annotated[
    Path | None,
    _network(
        help="File with the names of the outputs of --weights in order, a line each or JSON; "
        "needed where they are not the data set's classes."
    ),
]
LabelMap = Annotated[
    Path | None,
    _network(help="CSV or JSON file: class folder -> name or number of its output."),
]
Dataset = Annotated[
    str,
    _data(
        help="photo-patches, cifar10, cifar100 or imagefolder:PATH (folder or tar).",
        callback=asked(known_names.require_dataset),
        autocompletion=completion.names_of(completion.DATASETS),
    ),
]
Size = Annotated[int, _data(min=8, max=1024, help="Side of the images in pixels.")]
TrainImages = Annotated[
    int | None,
    _data(
        min=1,
        max=_MOST,
        help="The victim's training images; default 4000, or all where there are fewer.",
    ),
]
Queries = Annotated[
    int | None,
    _data(
        min=1,
        max=_MOST,
        help="The adversary's images, a query each; default 2000, or all there are.",
    ),
]
Validation = Annotated[
    int | None,
    _data(
        min=1,
        max=_MOST,
        help="Images by which attacks choose settings; default 128, or all there are.",
    ),
]
Victims = Annotated[
    int | None,
    _data(
        min=1,
        max=_MOST,
        help="Images that cross the wire; default 128, or all where there are fewer.",
    ),
]
DataRoot = Annotated[Path | None, _data(help="Where torchvision's data sets lie.")]
Download = Annotated[bool, _data(help="Let torchvision fetch a data set.")]
Splits = Annotated[
    str,
    _cut(help="Split points to attack: how many, spread evenly; 'all'; or names with commas."),
]
Granularity = Annotated[
    str,
    _cut(
        help="block or operation: where the network may be cut.",
        autocompletion=completion.one_of("block", "operation"),
    ),
]
TailStart = Annotated[str | None, _cut(help="Split point at which the server's body ends.")]
Epochs = Annotated[
    int | None,
    _training(
        min=0, max=10_000, help="Passes over the victim's training images; default the recipe's."
    ),
]
Training = Annotated[
    str | None,
    _training(
        "--recipe",
        metavar="NAME",
        help="How the victim is trained: NAME, or NAME:FIELD=VALUE,FIELD=VALUE, such as "
        "lab:optimizer=adam,learning_rate=0.001. Names: lab (default), long, "
        "architecture-attribute, architecture-membership, rolss, rolss-ir152, rolss-judge, tl-dmi.",
        callback=asked(known_names.require_recipe),
        autocompletion=completion.names_of(completion.RECIPES),
    ),
]
NewClassifier = Annotated[
    bool,
    _training(
        "--new-classifier",
        help="Keep all of --weights but the last layer, draw that anew, and train.",
    ),
]
Freeze = Annotated[
    str | None,
    _training(help="With --new-classifier: split point up to which nothing is trained."),
]
Defense = Annotated[
    str,
    _defence(
        help='NAME, or NAME:FIELD=VALUE,FIELD=VALUE, several with "+" between, such as '
        "gaussian:level=0.1+dropout." + entry_points.also(entry_points.DEFENSE_GROUP),
        callback=asked(known_names.require_defence),
        autocompletion=completion.names_of(completion.DEFENCES, after="+"),
    ),
]
TrainWithDefense = Annotated[
    bool,
    _defence(help="Train the network with the defence acting; a sweep trains one per split point."),
]
Attacks = Annotated[
    list[str] | None,
    _attack(
        help=f"{ATTACK_HELP} With settings: decoder:epochs=5,width=32. Repeat for several; "
        "default decoder and rmle.",
        callback=option_checks.attacks,
        autocompletion=completion.names_of(completion.ATTACKS),
    ),
]
Settings = Annotated[
    list[str] | None,
    _attack(
        "--set",
        help="ATTACK.FIELD=VALUE, e.g. decoder.epochs=5: the older spelling; repeatable.",
        callback=option_checks.settings,
    ),
]
Attacked = Annotated[
    list[str] | None,
    _attack(
        help="ATTACK=N: run it on N victims; default rmle=8.",
        callback=asked(lambda text: known_names.require_attack(text.partition("=")[0])),
    ),
]
Repeats = Annotated[
    int,
    _attack(min=1, max=64, help="Captures of each victim, linked and averaged by the adversary."),
]
LpipsWeights = Annotated[
    Path | None,
    _attack(exists=True, file_okay=False, help="Folder with the weights of LPIPS' backbones."),
]
Wires = Annotated[
    list[str] | None,
    _wire(
        help="FP32 (default), FP16, BF16 or INT8; repeat it to compare others with it.",
        autocompletion=_datatypes,
    ),
]
Wire = Annotated[
    str,
    _wire(
        help="FP32, FP16, BF16 or INT8.",
        autocompletion=_datatypes,
    ),
]
Links = Annotated[
    list[str] | None,
    _wire(
        help=f"Latency under a simulated link too: {LINK_HELP}; repeatable.",
        autocompletion=completion.names_of(completion.LINKS),
    ),
]
Seed = Annotated[int, _run(min=0, max=2**63 - 1, help="Public seed.")]
SecretSeed = Annotated[
    int | None,
    _run(min=0, help="For reproduction only: draw the client's secrets from this."),
]
CacheFolder = Annotated[
    Path | None,
    _run(
        "--cache",
        file_okay=False,
        callback=option_checks.folder,
        help="Folder of what runs share: networks, judges, images; default beside --out.",
    ),
]
Workers = Annotated[
    int,
    _run(
        min=0,
        help="Processes that deploy and attack side by side; 0: one per core, or one on a GPU.",
    ),
]
KeepImages = Annotated[
    int | None,
    _run(
        min=0,
        help="Victims whose reconstruction each record keeps as float32 tensors; default as many "
        "as 32 MiB hold (all at 32 pixels, 27 at 224).",
    ),
]
Aux = Annotated[int, GrantFlag(min=0, help="Number of the adversary's own images.")]
SettingImages = Annotated[
    int, GrantFlag(min=0, help="Number of images to choose an attack's settings by.")
]
Observe = Annotated[int, GrantFlag(min=0, help="Number of chosen-input queries.")]
