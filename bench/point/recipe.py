"""What a sweep does, as data: checked at the edge, kept in `config.toml`, hashed a point."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.contracts.arch import is_own
from splitlab.contracts.link import parse_link
from splitlab.contracts.ranges import Count, Seed
from splitlab.errors import BadInput, Corrupt, plain
from splitlab.storage import write_bytes
from splitlab.training import TrainRecipe

Knowledge = Literal["undefended", "adaptive", "unaware"]
WireName = Literal["FP32", "FP16", "BF16", "INT8"]


VICTIMS = 128
"""Images that cross the wire where nobody says how many."""

MAY_CHANGE = ("splits", "attacks", "device", "wires", "keep_images")
"""Fields in which two sittings of one run may differ."""


class Networked(BaseModel):
    """What a sweep and each of its points have in common: data, network, training, wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "resnet20"
    dataset: str = "photo-patches"
    size: Annotated[int, Field(ge=8, le=1024, description="side of the images, in pixels")] = 32
    mean: tuple[float, float, float] | None = Field(
        default=None, description="taken off each image first, in [0, 1]; None for the network's"
    )
    std: tuple[float, float, float] | None = Field(
        default=None, description="each image is divided by it; None for the network's"
    )
    tail_start: str | None = Field(default=None, description="split point at which the body ends")
    defense: str = "none"
    train_with_defense: bool = False
    wire: WireName = "FP32"
    train_images: Count = 4000
    queries: Count = Field(default=2000, description="auxiliary images, each one query")
    validation_images: Count = 128
    victims: Count = VICTIMS
    repeats: Annotated[
        int, Field(ge=1, le=64, description="linked captures of each victim, averaged")
    ] = 1
    links: tuple[str, ...] = Field(default=(), description="simulated, for the latency")
    victim: TrainRecipe = TrainRecipe()
    weights_hash: str | None = Field(default=None, description="SHA-256 of given weights")
    weights_key: str | None = Field(default=None, description="which weights of the file")
    labels_hash: str | None = Field(default=None, description="SHA-256 of --classes, --label-map")
    new_classifier: bool = Field(default=False, description="train a new last layer on weights")
    freeze: str | None = Field(default=None, description="split point up to which nothing learns")
    seed: Seed = 0

    def arch(self, classes: int) -> ArchSpec:
        """The undefended network for this many classes."""
        given = input_of(self.model, self.size, self.mean, self.std)
        return ArchSpec.named(self.model, classes=classes, input=given)

    @property
    def dataset_kind(self) -> str:
        """The data set's kind; a record never holds its path."""
        return self.dataset.partition(":")[0]


class SweepConfig(Networked):
    """Everything that a sweep depends on. Two runs with equal configs measure the same points."""

    splits: str = Field(default="6", description="how many, 'all', or names with commas")
    granularity: Literal["block", "operation"] = "block"
    wires: tuple[WireName, ...] = Field(default=(), description="further ones to compare with it")
    attacks: tuple[str, ...] = ("decoder", "rmle")
    attack_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    attacked: dict[str, int] = Field(
        default_factory=lambda: {"rmle": 8},
        description="attack -> how many victims it is run on; the others get all",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    keep_images: Annotated[
        int | None, Field(ge=0, description="victims a record keeps as tensors; None by their size")
    ] = None

    @property
    def on_each_wire(self) -> dict[str, SweepConfig]:
        """What stands behind a split point's name -> this config on one wire; the first is bare."""
        names = {self.wire: "", **{wire: f"-{wire}" for wire in self.wires if wire != self.wire}}
        return {
            suffix: self.model_copy(update={"wire": wire, "wires": ()})
            for wire, suffix in names.items()
        }


def input_of(
    model: str, size: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> InputSpec:
    """Images of `size` pixels, normalised as given, else as the network's kind is."""
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3} if is_own(ArchSpec.named(model).name) else {}
    given = {"mean": tuple(mean), "std": tuple(std)} if mean and std else plain
    return InputSpec(size=size, **given)


def wires_of(names: Sequence[str] | None) -> dict[str, Any]:
    """The fields for what `--wire` was given, each name once; the first is the others' measure."""
    first, *further = dict.fromkeys(names or ("FP32",))
    return {"wire": first, "wires": tuple(further)}


def validated(**fields: Any) -> SweepConfig:
    """A checked config.

    Raises:
        BadInput: names the flag, the value and what was wanted.
    """
    try:
        config = SweepConfig(**fields)
    except ValidationError as error:
        raise BadInput(_told(error)) from error
    for link in config.links:
        parse_link(link)
    try:
        _toml(config).encode()
    except ValueError as error:  # bytes of a path that are no text come as lone surrogates
        raise BadInput("a name holds bytes that are no UTF-8; rename it") from error
    return config


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    # what the victim's recipe holds has flags of its own, such as --epochs
    place = first["loc"][1:] if first["loc"][:1] == ("victim",) else first["loc"]
    flag = "--" + "-".join(map(str, place or first["loc"])).replace("_", "-")
    flag = flag.replace("--validation-images", "--validation")
    return f"{flag} {first['input']!r}: {plain(first['msg'])}"


def save(config: SweepConfig, path: Path) -> None:
    """Write the config as TOML; None is left out."""
    write_bytes(path, _toml(config).encode())


def load(path: Path) -> SweepConfig:
    """
    Raises:
        Corrupt: absent, not TOML, or with fields this version does not know.
    """
    remedy = "start the sweep in a new folder, or restore the file"
    try:
        return SweepConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise Corrupt(path, "there is no such file", remedy) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Corrupt(path, f"not TOML ({error})", remedy) from error
    except ValidationError as error:
        raise Corrupt(path, _told(error), remedy) from error


def require_same(
    old: SweepConfig, new: SweepConfig, run: Path, but: frozenset[str] = frozenset()
) -> None:
    """
    Args:
        but: fields that are not known yet, as they follow the data.

    Raises:
        BadInput: the folder holds a run of another config; names the first field that differs.
    """
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    for field in was:
        if was[field] != now[field] and field not in {*MAY_CHANGE, *but}:
            raise BadInput(
                f"{run} holds a run with {field} = {was[field]!r}, given was {now[field]!r}; "
                "choose another --out or the same settings"
            )


def _toml(config: SweepConfig) -> str:
    """None is left out, as TOML has no word for it."""
    return tomli_w.dumps(_without_none(config.model_dump(mode="json")))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
