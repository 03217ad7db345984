"""A lab: networks, captures, a judge and synthetic images for whatever point is measured.

It decides no number: all that it hands out follows from a point's config, from its cache, or from
files beside it. It keeps in memory what points after one another have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from adversary.contract.attack import Attack
from adversary.contract.workplace import Fits
from adversary.synthesis.folder import MadeImages
from bench.point.cache.store import making_again
from bench.point.capture import CaptureRun
from bench.point.deploy import undefended
from bench.point.identity.config import PointConfig
from bench.point.judge import Judge, judge_of, prepare_judge
from bench.point.lab.networks import Networks
from bench.point.packages import of_deployment
from bench.point.synthetic import synthetic_images
from bench.point.victim import kept_id
from bench.point.weights import basis
from splitlab.storage import canonical_json, sha256

Stream = Callable[[PointConfig, str], torch.Generator]
"""(point, name of an attack) -> what that attack draws from there."""


@dataclass
class Lab(Networks):
    """A context manager, which ends the processes of a capture that nobody waits for.

    Deployments and captures stay in the run, since a capture is the evidence for a record and
    belongs to one secret; so do fits, whose seconds are results.
    """

    _open: tuple[Path, CaptureRun] | None = None
    _fits: tuple[Path, Fits] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open[1].__exit__()
            self._open = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_open": None, "_fits": None}

    def capture(self, config: PointConfig, among: str = "", within: str = "") -> CaptureRun:
        """What crosses the wire at this place; its processes serve all points there.

        Args:
            among: a partition whose images are sent among the victims'.
            within: folder of what came of that.
        """
        place, sources = self.place(config), self.sources
        partition = "validation" if config.searched else "victims"
        folder = self.crossed(config) / within
        if self._open is None or self._open[0] != folder:
            self.__exit__()
            sent = f"{among},{partition}" if among else partition
            own = sources.dataset, sources.data_root, sources.secret_seed, sent
            self._open = folder, CaptureRun(folder, place / "deployment", config, *own)
        return self._open[1]

    def fits(self, config: PointConfig, stream: Stream) -> Fits:
        """What attacks at this place have learned, for others that start from it.

        Args:
            stream: what an attack draws from as a row (`Sight.stream`), so that it is the same
                fit, whichever of two rows is measured first.
        """
        place = self.place(config)
        if self._fits is None or self._fits[0] != place:
            self._fits = place, Fits(partial(stream, config))
        return self._fits[1]

    def undefended(self, config: PointConfig) -> Tensor:
        """Logits of the victims' images with no defence and no wire in between."""
        key = f"undefended {self.crossed(config)} {config.victims}"
        if key not in self._memo:
            victims = self.shown(config).victims.take(config.victims, config.seed)
            victim = self.victim(config) if self.has_victim(config) else None
            self._memo[key] = undefended(self.place(config) / "deployment", victims, victim)
        found: Tensor = self._memo[key]
        return found

    def judge(self, config: PointConfig, among: str = "train") -> Judge:
        """The independent network that tells images apart, trained on this partition."""
        splits, folder = self.data(config), self.judge_folder(config, among)
        if (key := str(folder)) not in self._memo:
            words = f"judge of {config.dataset_kind}, seed {config.seed}"
            with self._making(folder, "judges", judge_of(config, splits, among), words):
                self._memo[key] = prepare_judge(
                    folder,
                    config,
                    splits,
                    among=among,
                    device=self.sources.device,
                    progress=self.progress,
                )
        found: Judge = self._memo[key]
        return found

    def judge_folder(self, config: PointConfig, among: str = "train") -> Path:
        """In the cache, or where runs had it before there was one."""
        if among == "train" and (own := self.home / "judge").exists():
            return own
        return self.cache.place("judges", judge_of(config, self.data(config), among))

    def made(self, config: PointConfig) -> MadeImages | None:
        """The adversary's synthetic images; made once for all that want the same."""
        wanted = config.synthetic
        if wanted is None:
            return None
        deployment = self.deployed(config) / "deployment"
        part = self.split(config).name if wanted.layers == "head" else "network"
        settings = dict(wanted.settings)
        own = self.home / "synthetic" / part / sha256(canonical_json(settings))[:8]
        if own.exists():  # begun before there was a cache
            making = making_again(own)
        else:
            words = f"images of {config.model}'s {part}, seed {config.seed}"
            read = self.read_by(config)
            what = {**read, "part": part, "settings": settings, "seed": config.seed}
            making = self.cache.making("synthetic", what, words)
        with making as place:
            return synthetic_images(
                place,
                deployment,
                wanted,
                seed=config.seed,
                device=self.sources.device,
                progress=self.progress,
            )

    def read_by(self, config: PointConfig) -> dict[str, Any]:
        """Whose batch norms they are: the undefended network's, where the deployed one still is it;
        else those of this run's secret with this defence at this cut.
        """
        victim = self.victim(config)
        if victim is not None and not self.changes(config):
            arch = victim.arch.model_dump(mode="json")
            return {"network": victim.facts["weights"], "arch": arch}
        packages = of_deployment(config.packages)
        return {
            "stack": config.defense,
            "cut": [config.split, config.tail_start],
            "basis": basis(config, self.data(config)),
            "learned with": config.train_with_defense,
            "secret": kept_id(self.home / "cache-id.json"),
            **({"packages": packages} if packages else {}),
        }

    def checkpoint(self, config: PointConfig, attack: Attack) -> Path:
        """Where a fit keeps what it would lose by a kill; a trial shares nothing with others."""
        name = self.identity(config)[:16]
        if config.searched:
            return self.run / "fits" / name / "fit.pt"
        if not attack.shares:
            return self.place(config) / "attacks" / f"{name}.pt"
        where = config.split if config.experiment else self.place(config).name
        return self.home / "attacks" / attack.name / f"{where}-{name}.pt"
