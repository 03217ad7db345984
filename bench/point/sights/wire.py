"""Features over the wire: a network cut in two, served and tapped, victims' images sent through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.registry import attack_of
from bench.point.capture import Captured, CaptureRun, utility
from bench.point.doubtful import repeated, shared
from bench.point.feasible import check_attacks
from bench.point.grants import make_threat
from bench.point.identity.config import PointConfig
from bench.point.identity.known import stream_of_sweep
from bench.point.lab import Lab
from bench.point.score import index_of
from bench.point.setup import Setup
from bench.point.sights.base import Facts, OfImages, Truth, Wanted
from splitlab.capture import Capture
from splitlab.contracts import Features, Scores, Seen
from splitlab.data import ImageSet
from splitlab.models import build, load_checkpoint
from splitlab.randomness import generator
from splitlab.split import SplitPoint
from splitlab.storage import hash_tensors


class OverTheWire(OfImages):
    """Starts the processes when it is made; they send once what crossed is asked for.

    Features are what a tap at the server has written, replies among them. Scores are what the
    client is answered: those of whoever may use the deployed network, with its defence acting.
    """

    LEAST_CLASSES = 2
    SHOWS: tuple[type[Seen], ...] = (Features, Scores)
    TELLS = frozenset[str]()
    SENT = 1
    CUTS = True
    JUDGE = "train"
    """The partition that the judge learns from; it has seen nothing of what is to be recovered."""

    def __init__(self, config: PointConfig, lab: Lab) -> None:
        self._config, self._lab = config, lab
        self._attack: type[Attack] = attack_of(config.attack)
        self._place = lab.deployed(config)
        self._context = self._told()
        self._capture = self._captured(config, lab)
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

    @classmethod
    def most(cls, victims: int, train: int) -> int | None:
        """How many of what is shown `--attacked` may ask for, None for any number.

        Args:
            victims, train: images of these partitions.
        """
        del train
        return victims

    @classmethod
    def prepare(cls, config: PointConfig, lab: Lab) -> None:
        lab.deployed(config)
        cls._captured(config, lab).result()

    def threat(self) -> ThreatModel:
        config, grant = self._config, self._config.grant
        self._threat = make_threat(
            self._place / "deployment",
            grant,
            self._lab.shown(config),
            config.seed,
            config.knowledge,
            self._features().features if grant.capture else None,
            self._made,
        )
        return self._threat

    def rng(self) -> torch.Generator:
        return generator(self._config.seed, "attack", *self._config.stream)

    @staticmethod
    def stream(config: PointConfig, attack: str) -> torch.Generator:
        named = (attack,) if config.experiment else stream_of_sweep(attack, config.split)
        return generator(config.seed, "attack", *named)

    def seen(self) -> tuple[Seen, ...]:
        features = self._features()
        return tuple(
            features if one is Features else self._scores(features.ids) for one in self._attack.sees
        )

    def truth(self) -> Truth:
        sent = self._sent()
        own = self._own()
        granted = self._threat.aux.images.images if self._threat and self._threat.aux else None
        return Truth(
            sent,
            sent.groups,
            self._capture.result().join,
            own,
            self._context,
            repeated(sent.images),
            shared(sent.images, granted),
        )

    def facts(self) -> Facts:
        config, lab = self._config, self._lab
        captured, victims = self._answered(), self._victims()
        split = split_facts(lab.split(config))
        return Facts(
            split if config.experiment else {**split, "name": self._place.name},
            utility(captured, self._whole, victims),
            captured.evaluation["rate"],
            captured.latency if lab.with_latency else {},
        )

    def shown(self, folder: Path, point: str, truth: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        del folder, point
        return truth, values

    @staticmethod
    def _captured(config: PointConfig, lab: Lab) -> CaptureRun:
        return lab.capture(config)

    def _told(self) -> dict[str, Any]:
        """For truth and metrics."""
        context = self._lab.judge(self._config, self.JUDGE).context
        return {**context, "lpips_weights": self._lab.sources.lpips_weights}

    def _victims(self) -> ImageSet:
        """What the network's accuracy is of."""
        return self._lab.shown(self._config).victims.take(self._config.victims, self._config.seed)

    def _sent(self) -> ImageSet:
        """What the join table's rows are of."""
        return self._victims()

    def _answered(self) -> Captured:
        """What the client was answered on the victims' images."""
        return self._capture.result()

    def _own(self) -> ImageSet:
        """The adversary's images; a floor is a real one even to who has none."""
        if self._made is not None or self._threat is None or self._threat.aux is None:
            return self._lab.shown(self._config).auxiliary
        return self._threat.aux.images

    def _scores(self, ids: tuple[str, ...]) -> Scores:
        captured = self._capture.result()
        rows = index_of(ids, captured.join)
        labels = self._sent().labels[rows] if self._config.grant.labels else None
        return Scores.of(ids, captured.logits[rows], self._attack.answers, labels)

    def _features(self) -> Features:
        return observe(self._capture.result(), self._config.attacked, self._config.seed)


def drawn(count: int, limit: int | None, seed: int) -> Tensor:
    """`limit` of `count` victims in a public order that tells nothing of them."""
    return torch.randperm(count, generator=generator(seed, "attacked"))[:limit]


def observe(
    captured: Captured,
    limit: int | None,
    seed: int,
    choose: Callable[[int, int | None, int], Tensor] = drawn,
) -> Features:
    """Captured features of `limit` victims (all for None), the same ones at every split point.

    Which victims is drawn under the public seed, so that split points and attacks are compared on
    the same images; the attack itself is told nothing but ids and features. Several captures of
    one victim are averaged, under the id of the first: an adversary that can link them does so.
    """
    seen = Capture.open(captured.capture).seen()
    rows: dict[int, list[int]] = {}
    for row, key in enumerate(seen.ids):
        rows.setdefault(captured.join.get(key, -1 - row), []).append(row)
    order = choose(len(rows), limit, seed)
    chosen = [rows[victim] for victim in torch.tensor(sorted(rows))[order].tolist()]
    ids = tuple(seen.ids[own[0]] for own in chosen)
    features, *outputs = (
        torch.stack([of[own].mean(0) for own in chosen]) for of in (seen.features, *seen.outputs)
    )
    return Features(ids, features, tuple(outputs))


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
