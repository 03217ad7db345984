"""Networks of a lab: trained once, kept for whoever wants the same, cut and deployed."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import defenses
from bench.point.cache.store import making_again
from bench.point.deploy import deploy, made_of, require_same, whole
from bench.point.identity.config import PointConfig
from bench.point.lab.base import Workbench
from bench.point.own_network import told_apart
from bench.point.packages import of_deployment
from bench.point.victim import (
    BEFORE,
    Victim,
    kept_id,
    learns,
    prepare_victim,
    shared_training,
    victim_before,
)
from bench.point.weights import basis
from defenses.parts.prepare import Assembles, Finishes


class Networks(Workbench):
    """Victims and defended networks lie in the cache, deployments in the run."""

    def victim(self, config: PointConfig) -> Victim | None:
        """The undefended network, trained if it is not there; None for a stack that it learns with.

        Raises:
            Mismatch, Corrupt, BadInput: given weights, or what was kept, are of another network.
        """
        if learns(config, defenses.parse(config.defense)):
            return None
        splits, folder = self.data(config), self.victim_folder(config)
        if (key := str(folder)) in self._memo:
            pass
        elif (folder / BEFORE).exists():
            self._memo[key] = victim_before(folder, config.arch(len(splits.classes)))
        else:
            words = f"{config.model} on {config.dataset_kind}, seed {config.seed}"
            making = self._making(folder, "victims", self._victim_key(config), words)
            with making:
                self._memo[key] = prepare_victim(
                    folder,
                    config,
                    splits,
                    weights=self.sources.weights,
                    device=self.sources.device,
                    progress=self.progress,
                )
        found: Victim = self._memo[key]
        return found

    def _making(
        self, folder: Path, kind: str, what: dict[str, Any], words: str
    ) -> AbstractContextManager[Path]:
        """Of an entry of the cache, or of where runs had it before there was one."""
        if folder == self.cache.place(kind, what):
            return self.cache.making(kind, what, words)
        return making_again(folder)

    def has_victim(self, config: PointConfig) -> bool:
        """Whether the undefended network has been trained."""
        folder = self.victim_folder(config)
        return (folder / "victim.json").exists() or (folder / BEFORE).exists()

    def victim_folder(self, config: PointConfig) -> Path:
        """In the cache, or where runs had it before there was one."""
        for own in (self.home / "victim", self.home / "training" / "none"):
            if own.exists():
                return own
        return self.cache.place("victims", self._victim_key(config))

    def _victim_key(self, config: PointConfig) -> dict[str, Any]:
        splits = self.data(config)
        own = told_apart(config.arch(len(splits.classes)))
        return {"basis": basis(config, splits), "network": own}

    def deployed(self, config: PointConfig) -> Path:
        """The folder of a place with its `deployment`, trained if that has not been done.

        Raises:
            BadInput: another one is there; see `require_same`.
            Corrupt: one is there and damaged.
        """
        place, splits = self.place(config), self.data(config)
        folder, stack = place / "deployment", defenses.parse(config.defense)
        cut = (stack.spec, config.split, config.tail_start, config.wire)
        if (key := f"deployed {folder} {cut} {made_of(config, splits)}") not in self._memo:
            if folder.exists() and whole(folder):
                require_same(place, config, splits)
            else:
                self._deploy(config, stack, place)
            self._memo[key] = True
        return place

    def _deploy(self, config: PointConfig, stack: defenses.Stack, place: Path) -> None:
        splits, victim, secret = self.data(config), self.victim(config), self.secret
        trained = self.training(config) if self.changes(config) else None
        with ExitStack() as held:
            if trained is not None:
                held.enter_context(self.making_training(config))
                if any(isinstance(defense, Assembles) for defense in stack.defenses):
                    held.close()  # it trains under locks of its own
            deploy(
                place / "deployment",
                config,
                splits,
                stack,
                config.split,
                secret,
                trained=trained,
                facts=place / "training.json",
                victim=victim,
                weights=self.sources.weights,
                made_of=made_of(config, splits),
                device=self.sources.device,
                progress=self.progress,
            )

    def changes(self, config: PointConfig) -> bool:
        """Whether a defence trains the network, or changes it once it is trained."""
        stack = defenses.parse(config.defense)
        return learns(config, stack) or any(isinstance(d, Finishes) for d in stack.defenses)

    def training(self, config: PointConfig) -> Path:
        """Where a defended network is trained, with the secret of this run."""
        for own in (
            self.home / "victims" / config.split,
            self.home / "training" / shared_training(config.defense),
        ):
            if own.exists():  # begun before there was a cache
                return own
        return self.cache.place("trainings", self._training_key(config))

    def making_training(self, config: PointConfig) -> AbstractContextManager[Path]:
        """The same, held, with its note."""
        words = f"{config.model} with {config.defense}, cut at {config.split}, seed {config.seed}"
        key = self._training_key(config)
        return self._making(self.training(config), "trainings", key, words)

    def _training_key(self, config: PointConfig) -> dict[str, Any]:
        packages = of_deployment(config.packages)
        return {
            "basis": basis(config, self.data(config)),
            "cut": [config.split, config.tail_start],
            "stack": shared_training(config.defense),
            "learned with": config.train_with_defense,
            "secret": kept_id(self.home / "cache-id.json"),
            **({"packages": packages} if packages else {}),
        }
