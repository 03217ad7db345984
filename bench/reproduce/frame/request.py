"""What is asked of `bench reproduce`, checked, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import RenderableType

from bench.point.cache.store import Cache, beside
from bench.point.setup import Scale
from bench.reproduce.registry import MOVABLE
from splitlab.errors import BadInput
from splitlab.training import Progress, Silent

FLAGS = {"target": "--model, --split, --tail, --mean, --std"}


@dataclass(frozen=True)
class Target:
    """What an experiment attacks in place of its own network and depth.

    Args:
        model: a network of `splitlab.models.build`; None for the scale's own.
        split: where the head ends; None for the scale's own.
        tail: where the body ends; None for the scale's own; with `model`, None gives the server all
            the rest.
        mean, std: of the images that the network is fed; None for its own.
    """

    model: str | None = None
    split: str | None = None
    tail: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __bool__(self) -> bool:
        return any((self.model, self.split, self.tail, self.mean))


@dataclass(frozen=True)
class ExperimentRequest:
    """One call of the command.

    Args:
        out: the run's folder; continued if it holds a run of the same experiment.
        seeds: each is a run of its own: data, training, attacks, secret.
        dataset: in place of the scale's own.
        secret_seed: for reproduction only; the seed is added to it.
        weights: a checkpoint of the experiment's network, taken in place of training.
        target: network and split points in place of the scale's own.
        text_root: folder of parallel text, for the experiment on text.
        keep_images: victims that each record keeps as tensors; None for as many as pay by size.
        cache: of networks, judges and images; None for the one beside the run.
        workers: processes that deploy and attack side by side; 0 for as many as pay.
    """

    out: Path
    scale: Scale = "quick"
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "auto"
    dataset: str | None = None
    data_root: Path | None = None
    download: bool = False
    secret_seed: int | None = None
    lpips_weights: Path | None = None
    weights: Path | None = None
    target: Target = field(default_factory=Target)
    text_root: Path | None = None
    cache: Path | None = None
    workers: int = 1
    keep_images: int | None = None
    progress: Progress = field(default_factory=Silent)

    def refuse(self, experiment: str, *fields: str) -> None:
        """
        Raises:
            BadInput: one of these options was given, which this experiment has no use for.
        """
        if given := [name for name in fields if getattr(self, name)]:
            flags = ", ".join(FLAGS.get(name, "--" + name.replace("_", "-")) for name in given)
            taken = f", or take one of {', '.join(MOVABLE)}" if "target" in given else ""
            raise BadInput(f"{flags}: {experiment} has no use for it; leave it out{taken}")

    @property
    def shared(self) -> Cache:
        """What other runs may have made, or may use."""
        return beside(self.out) if self.cache is None else Cache(self.cache)

    def secret_of(self, seed: int) -> int | None:
        """The secret seed of one seed's run; None for the operating system's randomness."""
        return None if self.secret_seed is None else self.secret_seed + seed


@dataclass(frozen=True)
class Shown:
    """What the command prints, and the page that it wrote."""

    parts: list[RenderableType]
    page: Path


def scale_of(text: str) -> Scale:
    """
    Raises:
        BadInput: neither quick nor paper.
    """
    if text not in ("quick", "paper"):
        raise BadInput(f"--scale {text!r}: wanted quick or paper")
    return "quick" if text == "quick" else "paper"


def seeds_of(text: str) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2).

    Raises:
        BadInput: no numbers, a number below 0, or one twice.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise BadInput(f"--seeds {text!r}: wanted numbers from 0 on, with commas, such as 0,1,2")
    seeds = tuple(int(word) for word in words)
    if len(set(seeds)) != len(seeds) or max(seeds) >= 2**31:
        raise BadInput(f"--seeds {text!r}: wanted each seed once, and below 2^31")
    return seeds
