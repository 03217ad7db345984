"""Who was in the training: as many records of it as held-out ones, sent mixed over the wire.

Members are of the images that the network has learned from, non-members are victims' images, never
validation or auxiliary ones. Both are drawn under the public seed; ids are random, the client
sends all of them in an order of its own, and they are shown in the order of their ids.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.point.capture import Captured, CaptureRun
from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.sights.base import Facts, Truth
from bench.point.sights.blind import blind_doubts
from bench.point.sights.wire import OverTheWire, drawn, observe
from splitlab.contracts import Features
from splitlab.data import ImageSet
from splitlab.errors import Mismatch


class MembersAndOthers(OverTheWire):
    """The first half of the records that are sent are members; only the client knows which."""

    TELLS = frozenset({"member"})
    SENT = 2

    def __init__(self, config: PointConfig, lab: Lab) -> None:
        super().__init__(balanced(config, lab), lab)

    @classmethod
    def most(cls, victims: int, train: int) -> int | None:
        """As many members among them as there are others."""
        return 2 * min(victims, train)

    def truth(self) -> Truth:
        found, sent = super().truth(), self._sent()
        return replace(found, doubts=blind_doubts(sent, found.context["member"]))

    def facts(self) -> Facts:
        """Accuracy is of the non-members, as on any other row; beside it how many these are, and
        that of the members.
        """
        found, sent, count = super().facts(), self._sent(), self._config.victims
        right = self._capture.result().logits.argmax(1) == sent.labels
        members = 100.0 * float(right[:count].double().mean())
        own = {"accuracy_members": members, "victims": float(count)}
        return replace(found, utility={**found.utility, **own})

    @staticmethod
    def _captured(config: PointConfig, lab: Lab) -> CaptureRun:
        own = balanced(config, lab)
        return lab.capture(own, f"train:{config.train_images}", "members")

    def _told(self) -> dict[str, Any]:
        return {"member": torch.arange(2 * self._config.victims) < self._config.victims}

    @cached_property
    def _mixed(self) -> ImageSet:
        """
        Raises:
            Mismatch: the client has sent other records.
        """
        config = self._config
        parts = ("train", "victims")
        found = self._lab.shown(config).mixed(parts, config.victims, config.seed)
        if (sent := self._capture.result().evaluation["data_hash"]) != found.hash:
            raise Mismatch(
                f"the client has sent other records ({sent[:8]}) than those of --dataset "
                f"{config.dataset_kind} --seed {config.seed} ({found.hash[:8]}); remove "
                f"{self._place / 'members'} and start again"
            )
        return found

    def _sent(self) -> ImageSet:
        return self._mixed

    def _answered(self) -> Captured:
        captured, count = self._capture.result(), self._config.victims
        logits = captured.logits[count:]
        right = (logits.argmax(1) == self._victims().labels).double().mean()
        own = {**captured.evaluation, "accuracy": 100.0 * float(right)}
        return replace(captured, logits=logits, evaluation=own)

    def _features(self) -> Features:
        seed, limit = self._config.seed, self._config.attacked
        return by_id(observe(self._capture.result(), limit, seed, halves))


def balanced(config: PointConfig, lab: Lab) -> PointConfig:
    """With as many victims as there can be members."""
    splits = lab.shown(config)
    count = min(config.victims, len(splits.train), len(splits.victims))
    return config.model_copy(update={"victims": count})


def halves(count: int, limit: int | None, seed: int) -> Tensor:
    """`limit` of `count` records, as many of the first half as of the second."""
    half = count // 2
    each = half if limit is None else max(1, min(half, limit // 2))
    return torch.cat([drawn(half, each, seed), half + drawn(half, each, seed + 1)])


def by_id(seen: Features) -> Features:
    """The same in the order of the ids, which are random: places tell nothing of the records.

    An order under the public seed would tell who is a member to whoever draws it again.
    """
    order = sorted(range(len(seen.ids)), key=seen.ids.__getitem__)
    outputs = tuple(replies[order] for replies in seen.outputs)
    return Features(tuple(seen.ids[row] for row in order), seen.features[order], outputs)
