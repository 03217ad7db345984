"""Records that are there, found by what they say, whichever version wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from adversary.registry import ATTACKS
from bench.point.identity.config import LABELS, PointConfig, identity
from bench.point.setup import Synthetic
from splitlab.errors import SplitLabError
from splitlab.record import METHOD_VERSION, Record, RecordStore

PointLabels = tuple[str, str, str, int]
"""Experiment, scale, measurement, seed."""

OF_EXPERIMENTS = {
    "recipe": "victim",
    "train": "train_images",
    "validation": "validation_images",
    "weights": "weights_hash",
}
"""What experiments called it before points had one config -> what it is called."""
UNUSED = ("auxiliary", "head_end")
"""Of a setup: the grant says how many images, and `split` where the head ends."""


def of_record(record: Record) -> PointConfig | None:
    """What a record was measured with; None where this version cannot read it."""
    return of_config(record.config, record.threat, str(record.split.get("name", "")))


def of_config(
    config: Mapping[str, Any], granted: Mapping[str, Any] | None = None, place: str = ""
) -> PointConfig | None:
    """The same of a record's config, with what only the rest of the record says of a sweep's.

    Points have one config now. Before, a sweep kept an attack's options as they were given, and no
    grant in its config; an experiment had names of its own. What such a record lacks was at its
    default then, and the defaults are still those.
    """
    fields = {"packages": {}, **config}
    try:
        if "recipe" in fields:
            fields = _of_experiment(fields)
        elif "stream" not in fields:
            stream = stream_of_sweep(fields["attack"], fields["split"])
            fields = {**fields, "granted": granted, "stream": stream, "place": place}
        if (made := fields.get("synthetic")) is not None:
            fields["synthetic"] = Synthetic(**made)
        return PointConfig.resolved(**fields)
    except (SplitLabError, ValidationError, KeyError, TypeError, AttributeError):
        return None


def _of_experiment(fields: dict[str, Any]) -> dict[str, Any]:
    named = {OF_EXPERIMENTS.get(k, k): v for k, v in fields.items() if k not in UNUSED}
    return {**named, "stream": (fields["attack"],)}


def stream_of_sweep(attack: str, split: str) -> tuple[str, ...]:
    """A stream for each split point, but for attacks that share work between them."""
    return (attack,) if ATTACKS.load(attack).shares else (attack, split)


def labels_of(record: Record) -> PointLabels:
    """What a record of an experiment is called."""
    config = record.config
    names = (str(config.get(name, "")) for name in ("experiment", "scale", "measurement"))
    return (*names, int(config.get("seed", 0)))  # type: ignore[return-value]


class KnownRecords:
    """The records of a run by identity, and those of experiments by their labels.

    Raises:
        Corrupt: a record is damaged.
    """

    def __init__(self, store: RecordStore) -> None:
        self.store = store
        self._same: dict[str, Record] = {}
        self._called: dict[PointLabels, list[Record]] = {}
        for path in sorted(store.folder.glob("*.json")):
            self.add(store.read(path.stem))

    def add(self, record: Record) -> None:
        """Take one up that was written meanwhile."""
        config = of_record(record)
        if config is not None and record.method_version == METHOD_VERSION:
            self._same.setdefault(identity(config, record.data_hash), record)
        if record.config.get("experiment"):
            self._called.setdefault(labels_of(record), []).append(record)

    def of(self, config: PointConfig, data_hash: str) -> Record | None:
        """The record of this very measurement, called as it is called now."""
        found = self._same.get(identity(config, data_hash))
        if found is None:
            return None
        named = {k: v for k, v in config.as_dict().items() if k in LABELS}
        if all(found.config.get(k) == v for k, v in named.items() if config.experiment):
            return found
        return found.model_copy(update={"config": {**found.config, **named}})

    def called(self, labels: PointLabels) -> Record | None:
        """The newest record of this name, whatever its settings were."""
        return max(self._called.get(labels, ()), key=lambda r: r.created, default=None)
