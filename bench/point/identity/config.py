"""Everything that one measurement depends on, resolved, and the one function that names it."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

import defenses
from adversary.registry import attack_of
from adversary.synthesis.settings import SynthesisSettings
from bench.point.grants import GrantRequest
from bench.point.packages import packages_of
from bench.point.recipe import Knowledge, Networked
from bench.point.setup import Synthetic
from splitlab.contracts import ArchSpec
from splitlab.record import point_hash

LABELS = frozenset({"experiment", "scale", "measurement", "place"})
"""What a measurement is called; it would be the same under another name."""
UNSAID = (
    *("arguments", "mean", "std", "links", "weights_key", "labels_hash", "new_classifier"),
    *("freeze", "synthetic", "searched", "packages", *sorted(LABELS)),
)
"""Left out where nobody gave them, as they were before there were any."""


class PointConfig(Networked):
    """One attack with its knowledge on one deployment, every setting filled in.

    Args:
        arguments: of the network, beside those in its name.
        split: where the head ends.
        attack_options: all of them.
        attacked: victims that the attack is run on; None for all.
        searched: whether the victims are validation images, by which settings are chosen.
        granted: the card of its `GrantRequest`.
        synthetic: the adversary's own images, in place of real ones.
        packages: which methods are of another package, with its version and code, or declare
            another version than their first.
        stream: names that the attack's randomness is drawn under.
        experiment, scale, measurement: what a table of a paper calls it.
        place: name of the deployment.
    """

    arguments: dict[str, Any] = Field(default_factory=dict)
    split: str
    attack: str
    attack_options: dict[str, Any]
    attacked: int | None = None
    searched: bool = False
    knowledge: Knowledge
    granted: dict[str, Any]
    synthetic: Synthetic | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    stream: tuple[str, ...]
    experiment: str = ""
    scale: str = ""
    measurement: str = ""
    place: str = ""

    @classmethod
    def resolved(cls, **fields: Any) -> Self:
        """With defaults of attack, defence and synthesis filled in, and no path of the data.

        Methods of other packages are told with the versions that are installed now, unless
        `packages` are given.

        Raises:
            UnknownName, BadInput: an attack, defence or setting that is none.
        """
        attack = attack_of(fields["attack"])
        made: Synthetic | None = fields.get("synthetic")
        if made is not None:
            settings = SynthesisSettings.configured(made.settings).model_dump(mode="json")
            fields["synthetic"] = Synthetic(made.layers, made.images, settings)
        named = {name: fields.get(name, "") for name in ("attack", "defense", "model")}
        packages = fields.get("packages")
        options = attack.configured(fields["attack_options"]).model_dump(mode="json")
        return cls(
            **{
                **fields,
                "dataset": fields["dataset"].partition(":")[0],
                "defense": defenses.parse(fields["defense"]).spec,
                "attack_options": options,
                "packages": packages_of(**named) if packages is None else packages,
                "granted": GrantRequest.of_card(fields["granted"]).card(),
            }
        )

    @property
    def grant(self) -> GrantRequest:
        """What the adversary is given."""
        return GrantRequest.of_card(self.granted)

    def arch(self, classes: int) -> ArchSpec:
        """The undefended network for this many classes."""
        named = super().arch(classes)
        return named.model_copy(update={"arguments": {**named.arguments, **self.arguments}})

    def as_dict(self) -> dict[str, Any]:
        """As a record keeps it: JSON, with nothing that was not given."""
        found = self.model_dump(mode="json")
        found["attack_options"] = attack_of(self.attack).configured(self.attack_options).told()
        return {k: v for k, v in found.items() if v or k not in UNSAID}

    def depends(self) -> dict[str, Any]:
        """The same without labels."""
        return {k: v for k, v in self.as_dict().items() if k not in LABELS}


def identity(config: PointConfig, data_hash: str) -> str:
    """Hex SHA-256 of what is measured: config without labels, data, version of the methods."""
    return point_hash(config.depends(), data_hash)
