"""Features over the wire: a network cut in two, served and tapped, victims' images sent through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.contract.threat import ThreatModel
from bench.point.capture import Captured, utility
from bench.point.doubtful import repeated, shared
from bench.point.feasible import check_attacks
from bench.point.grants import make_threat
from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.setup import Setup
from bench.point.sights.base import Facts, OfImages, Truth, Wanted
from splitlab.capture import Capture
from splitlab.contracts import Features
from splitlab.models import build, load_checkpoint
from splitlab.randomness import generator
from splitlab.split import SplitPoint
from splitlab.storage import hash_tensors


class OverTheWire(OfImages):
    """Starts the processes when it is made; they send once what crossed is asked for."""

    LEAST_CLASSES = 2

    def __init__(self, config: PointConfig, lab: Lab) -> None:
        self._config, self._lab = config, lab
        self._place = lab.deployed(config)
        self._judge, self._capture = lab.judge(config), lab.capture(config)
        self._whole = lab.undefended(config)
        self._made = lab.made(config)
        self._threat: ThreatModel | None = None

    @staticmethod
    def check(setup: Setup, wanted: Wanted) -> None:
        arch = setup.untrained
        net = build(arch, seed=0)
        for at, attacks in wanted.items():
            check_attacks(net, arch, *at, attacks)

    @staticmethod
    def given(setup: Setup, classes: int, weights: Path) -> str:
        net = build(setup.arch(classes), seed=0)
        load_checkpoint(net, weights)
        return hash_tensors(net.net.state_dict())

    @staticmethod
    def prepare(config: PointConfig, lab: Lab) -> None:
        lab.deployed(config)
        lab.capture(config).result()

    def threat(self) -> ThreatModel:
        config, grant = self._config, self._config.grant
        self._threat = make_threat(
            self._place / "deployment",
            grant,
            self._lab.shown(config),
            config.seed,
            config.knowledge,
            self.seen().features if grant.capture else None,
            self._made,
        )
        return self._threat

    def rng(self) -> torch.Generator:
        return generator(self._config.seed, "attack", *self._config.stream)

    def seen(self) -> Features:
        return observe(self._capture.result(), self._config.attacked, self._config.seed)

    def truth(self) -> Truth:
        config, splits, threat = self._config, self._lab.shown(self._config), self._threat
        assert threat is not None
        victims = splits.victims.take(config.victims, config.seed)
        # A floor is a real image even to an adversary who has none.
        own = splits.auxiliary if self._made is not None else threat.need("aux").images
        granted = threat.aux.images.images if threat.aux is not None else None
        return Truth(
            victims,
            victims.groups,
            self._capture.result().join,
            own,
            {**self._judge.context, "lpips_weights": self._lab.sources.lpips_weights},
            repeated(victims.images),
            shared(victims.images, granted),
        )

    def facts(self) -> Facts:
        config, lab, captured = self._config, self._lab, self._capture.result()
        split = split_facts(lab.split(config))
        victims = lab.shown(config).victims.take(config.victims, config.seed)
        return Facts(
            split if config.experiment else {**split, "name": self._place.name},
            utility(captured, self._whole, victims),
            captured.evaluation["rate"],
            captured.latency if lab.with_latency else {},
        )

    def shown(self, folder: Path, point: str, truth: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        del folder, point
        return truth, values


def observe(captured: Captured, limit: int | None, seed: int) -> Features:
    """Captured features of `limit` victims (all for None), the same ones at every split point.

    Which victims is drawn under the public seed, so that split points and attacks are compared on
    the same images; the attack itself is told nothing but ids and features. Several captures of
    one victim are averaged, under the id of the first: an adversary that can link them does so.
    """
    ids, features = Capture.open(captured.capture).features()
    rows: dict[int, list[int]] = {}
    for row, key in enumerate(ids):
        rows.setdefault(captured.join.get(key, -1 - row), []).append(row)
    order = torch.randperm(len(rows), generator=generator(seed, "attacked"))[:limit]
    chosen = [rows[victim] for victim in torch.tensor(sorted(rows))[order].tolist()]
    return Features(
        tuple(ids[own[0]] for own in chosen), torch.stack([features[own].mean(0) for own in chosen])
    )


def split_facts(split: SplitPoint) -> dict[str, Any]:
    """The split point as a record keeps it."""
    return {
        "name": split.name,
        "index": split.index,
        "shape": list(split.shape),
        "bytes_per_image": split.bytes_per_image,
        "head_params": split.head_params,
        "rest_params": split.rest_params,
        "head_macs": split.head_macs,
        "rest_macs": split.rest_macs,
    }
