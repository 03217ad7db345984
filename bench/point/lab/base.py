"""What lies where on this machine, and what stays in memory while points are measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.point.cache.store import Cache
from bench.point.identity.config import PointConfig, identity
from bench.point.recipe import Networked
from bench.point.victim import kept_secret
from bench.point.weights import LabelFiles, with_outputs
from splitlab.data import Splits, load_splits
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import SplitPoint, find_point, split_points
from splitlab.training import Progress, Silent


@dataclass(frozen=True)
class Sources:
    """What a config names by kind and hash alone, as files of this machine.

    Args:
        dataset: with its path.
        data_root, download: of torchvision's data sets.
        weights: trained weights of the network, else it is trained.
        labels: which outputs of the weights the data's classes are.
        lpips_weights: folder with LPIPS backbones.
        secret_seed: for reproduction only; else secrets come from the operating system.
        keep_images: victims that a record keeps as tensors; None by their size.
    """

    dataset: str
    data_root: Path | None = None
    download: bool = False
    weights: Path | None = None
    labels: LabelFiles = field(default_factory=LabelFiles)
    lpips_weights: Path | None = None
    secret_seed: int | None = None
    device: str = "auto"
    keep_images: int | None = None


def loaded(config: Networked, sources: Sources) -> Splits:
    """The images, labelled with the outputs of given weights.

    Raises:
        UnknownName, BadInput: no such data set, or classes that are no outputs.
    """
    splits = load_splits(
        sources.dataset,
        size=config.size,
        seed=config.seed,
        root=sources.data_root,
        download=sources.download,
        limits={"train": config.train_images},
    )
    return with_outputs(config, splits, sources.weights, sources.labels)


@dataclass
class Workbench:
    """
    Args:
        home: of the secret, and of what is no other run's.
        places: the deployments, a folder each, with what was captured there.
        run: folder of the records and their images.
        splits: the data, where they are loaded already; else each config's are loaded.
        with_latency: whether a record keeps what its capture took; a run that measures the latency
            of all its deployments together does without.
    """

    home: Path
    places: Path
    run: Path
    cache: Cache
    sources: Sources
    splits: Splits | None = None
    with_latency: bool = False
    progress: Progress = field(default_factory=Silent)
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without what can be read there again."""
        return {**self.__dict__, "_memo": {}, "progress": Silent()}

    @property
    def images(self) -> Path:
        """What is kept of reconstructions, beside the records."""
        return self.run / "images"

    def data(self, config: PointConfig) -> Splits:
        """The images, labelled with the outputs of given weights."""
        if self.splits is not None:
            return self.splits
        key = f"data {config.size} {config.seed} {config.train_images}"
        if key not in self._memo:
            self._memo[key] = loaded(config, self.sources)
        found: Splits = self._memo[key]
        return found

    def shown(self, config: PointConfig) -> Splits:
        """The images as an attack meets them: in a search some validation images are victims."""
        splits = self.data(config)
        return splits.held_out(config.victims, config.seed) if config.searched else splits

    def identity(self, config: PointConfig) -> str:
        """Of the point on its data."""
        return identity(config, self.data(config).hash)

    @property
    def secret(self) -> Secret:
        """The client's, drawn when it is first asked for."""
        return kept_secret(self.home / "client-secret.json", self.sources.secret_seed)

    def place(self, config: PointConfig) -> Path:
        """Folder of its deployment, with what was captured there."""
        return self.places / (config.place or config.split)

    def crossed(self, config: PointConfig) -> Path:
        """Folder of what was captured: what a search sends lies apart from the victims."""
        place = self.place(config)
        return place / f"validation-{config.victims}" if config.searched else place

    def split(self, config: PointConfig) -> SplitPoint:
        """Where its head ends."""
        arch = config.arch(len(self.data(config).classes))
        key = f"splits {arch.model_dump_json()}"
        if key not in self._memo:
            net = build(arch, seed=0)
            self._memo[key] = split_points(net, arch.input.shape, "operation")
        return find_point(self._memo[key], config.split)
