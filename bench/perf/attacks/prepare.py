"""From what was asked for to the rows to be measured: data, network, cuts, draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.perf.attacks.measure import RaceJob, our_attack, settings_now
from bench.perf.attacks.peers.sizes import doublings
from bench.perf.attacks.race import Seconds
from bench.perf.attacks.scene import Scene, draws
from bench.perf.attacks.settings import ComparisonSettings
from bench.point.cache.store import Cache
from bench.point.lab import Sources, loaded
from bench.point.own_network import told_apart
from bench.point.recipe import SweepConfig
from bench.point.victim import prepare_victim
from bench.point.weights import basis, tried_weights
from bench.sweep.choose import choose
from splitlab.contracts import ArchSpec
from splitlab.data import Splits
from splitlab.models import Normalised
from splitlab.split import SplitPoint, cut
from splitlab.training import Progress


@dataclass(frozen=True)
class ImageCounts:
    """Images of one seed, as of `DrawnImages`."""

    victims: int
    auxiliary: int
    validation: int


@dataclass(frozen=True, eq=False)
class Ground:
    """What was loaded and checked, before anything is trained or measured.

    Args:
        config: of network and data; its `splits` are those to cut at.
        first: the network as it begins, with given weights in it.
    """

    config: SweepConfig
    sources: Sources
    splits: Splits
    arch: ArchSpec
    first: Normalised
    points: Sequence[SplitPoint]
    counts: ImageCounts
    seeds: tuple[int, ...]

    @classmethod
    def of(
        cls, config: SweepConfig, sources: Sources, counts: ImageCounts, seeds: tuple[int, ...]
    ) -> Ground:
        """Load the data, try the weights, find the split points, see that there are images enough.

        Raises:
            UnknownName, BadInput, Mismatch, Corrupt: what was asked for is not there.
        """
        splits = loaded(config, sources)
        arch = config.arch(len(splits.classes))
        first = tried_weights(config, arch, sources.weights, splits)
        points = choose(config, first, arch)
        for point in points:
            doublings(tuple(point.shape), config.size, point.name)
        draws(splits, seeds, **vars(counts))
        return cls(config, sources, splits, arch, first, points, counts, seeds)

    def settings(
        self, budgets: tuple[float, ...], contenders: Sequence[str], *, quick: bool
    ) -> ComparisonSettings:
        """What it all comes to, for the folder."""
        return ComparisonSettings(
            model=self.config.model,
            dataset=self.config.dataset_kind,
            data=self.splits.hash,
            size=self.config.size,
            weights_hash=self.config.weights_hash,
            network=basis(self.config, self.splits),
            budgets=budgets,
            splits=tuple(point.name for point in self.points),
            seeds=self.seeds,
            contenders=tuple(contenders),
            quick=quick,
            **vars(self.counts),
        )

    def network(self, cache: Cache, progress: Progress) -> Normalised:
        """The trained one: as it was given, else trained once for whoever wants the same."""
        if self.sources.weights is not None:
            return self.first.eval()
        what = {"basis": basis(self.config, self.splits), "network": told_apart(self.arch)}
        words = f"{self.config.model} on {self.config.dataset_kind}, seed {self.config.seed}"
        with cache.making("victims", what, words) as folder:
            victim = prepare_victim(
                folder, self.config, self.splits, device=self.sources.device, progress=progress
            )
        return victim.net

    def jobs(
        self,
        net: Normalised,
        settings: ComparisonSettings,
        folder: Path,
        clock: Seconds,
    ) -> list[RaceJob]:
        """Every contender at every split point under every seed, in this order."""
        drawn = draws(self.splits, self.seeds, **vars(self.counts))
        scenes = []
        for point in self.points:
            head = cut(net, point.name, None, self.arch.input.shape).head
            head = head.eval().requires_grad_(False)
            scenes += [
                Scene(point.name, self.arch, head, tuple(point.shape), draw) for draw in drawn
            ]
        return [
            RaceJob(scene, name, settings.budgets, folder, clock)
            for scene in scenes
            for name in settings.contenders
        ]


def require_contenders(names: Sequence[str]) -> None:
    """
    Raises:
        UnknownName, BadInput: one that is none, or whose settings are.
    """
    for name in names:
        our_attack(name)
        settings_now(name)
