"""What the experiments on DCI (Dong et al.) have in common: one network, its places, its rivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from adversary.contract.attack import Attack
from adversary.inversion.dci.attack import DCI
from adversary.registry import ATTACKS
from bench.point.setup import Place, Setup, Synthetic
from bench.reproduce.dci import setup as settings
from bench.reproduce.dci.notes import NOTES, setting_notes
from bench.reproduce.dci.setup import (
    BLOCKS,
    CEILING,
    METHOD_KNOWS,
    SOURCE,
    WHITE,
    blocks_of,
    grouping,
)
from bench.reproduce.frame.experiment import Measurement
from bench.reproduce.frame.study import Study, declared
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.named import written
from splitlab.split import cut


class Spot(NamedTuple):
    """A place that is attacked, so many blocks deep."""

    depth: int
    label: str
    place: Place


@dataclass(frozen=True)
class DciStudy(Study):
    """One scale's own network, or the one that was named.

    Args:
        changed: fields of the scale's setup that this experiment has otherwise.
    """

    changed: Mapping[str, Any] = field(default_factory=dict)

    PAPER = "DCI"
    SOURCE = SOURCE

    @cached_property
    def setup(self) -> Setup:
        """Moved to the network and split point that were named.

        Raises:
            UnknownName, NotCuttable, BadInput: a network or split point that is none.
        """
        own, target = settings.SETUP[self.scale].model_copy(update=self.changed), self.target
        if not target:
            return own
        if target.model is not None:
            if target.split is None:
                raise BadInput(
                    f"--model {target.model}: say with --split where its head ends; "
                    f"`bench splits {target.model}` lists the places"
                )
            own = own.model_copy(update={"model": target.model, "tail_start": None})
        named: dict[str, Any] = {"head_end": target.split, "tail_start": target.tail}
        named |= {"mean": target.mean, "std": target.std}
        given = {key: value for key, value in named.items() if value is not None}
        setup = own.model_copy(update=given)
        arch = setup.untrained
        cut(build(arch, seed=0), setup.head_end, setup.tail_start, arch.input.shape)
        return setup

    def spot(self, depth: int, *, least: int = 1) -> Spot:
        """The scale's own place behind so many blocks, or the one that was named.

        Args:
            least: blocks that a named head must have.

        Raises:
            BadInput: it has fewer.
        """
        if not self.target:
            name = f"block-{depth}"
            return Spot(depth, f"block {depth}", Place(name, "none", BLOCKS[self.scale][depth - 1]))
        setup = self.setup
        found = len(blocks_of(setup))
        if found < least:
            raise BadInput(
                f"the head up to {setup.head_end} is {found} block to DCI, wanted are at least "
                f"{least}; name a later place with --split (`bench splits {setup.model}` lists "
                "them)"
            )
        return self.spot_at(setup.head_end, found)

    def spot_at(self, end: str, depth: int) -> Spot:
        """Where the head of a named network ends with `end`, so many blocks deep."""
        return Spot(depth, end, Place(end, "none", end, self.setup.tail_start))

    def data_free(
        self,
        place: Place,
        attack: str,
        *,
        name: str = "",
        made: Synthetic | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Measurement:
        """One method on synthetic images.

        Args:
            name: in the key, in place of the attack's.
            made: in place of the scale's images.
            options: beside those of the scale.
        """
        kind: type[Attack] = ATTACKS.load(attack)
        given = {
            **settings.METHOD_OPTIONS[self.scale][attack],
            **self._grouping(attack),
            **(options or {}),
        }
        # The scale's number is of the scale's images; of others all are learned from, too.
        given.pop("images", None)
        made = made or settings.MADE[self.scale]
        return Measurement(
            key=f"{place.name}/{name or attack}",
            place=place,
            attack=attack,
            options=kind.learning_from(given, made.images),
            knows=METHOD_KNOWS.get(attack, WHITE),
            synthetic=made,
        )

    def on_real(
        self, place: Place, images: int, options: Mapping[str, Any] | None = None
    ) -> Measurement:
        """DCI on so many real ones."""
        given = {
            **settings.METHOD_OPTIONS[self.scale]["dci"],
            **self._grouping("dci"),
            **(options or {}),
        }
        given |= {"data": "own", "images": images}
        return Measurement(f"{place.name}/real-{images}", place, "dci", given, WHITE, images=images)

    def spectral(self, place: Place) -> Measurement:
        """The lab's `rmle` without one image: the strongest rival that the paper does not have."""
        own = dict(settings.SPECTRAL)
        return Measurement(f"{place.name}/rmle-spectral", place, "rmle", own, WHITE, share=0.0)

    def from_dci(self, place: Place, made: Synthetic) -> Measurement:
        """The same from DCI's image: what a search adds to a learned answer, without one image.

        Nothing is chosen on the synthetic images, which are not like those that are attacked.

        Args:
            made: what DCI learns from.
        """
        given = {**settings.METHOD_OPTIONS[self.scale]["dci"], **self._grouping("dci")}
        given.pop("images", None)
        start = written("dci", DCI.learning_from(given, made.images))
        return Measurement(
            key=f"{place.name}/rmle-dci",
            place=place,
            attack="rmle",
            options={**settings.SPECTRAL, "start": start, "choose_images": 0},
            knows=WHITE,
            synthetic=made,
        )

    def white_box(self, place: Place) -> Measurement:
        """The lab's `rmle` from a decoder's image, with head, queries and all the real images."""
        knows = WHITE | {"observe"}
        return Measurement(f"{place.name}/ceiling-rmle", place, "rmle", {}, knows)

    def ceiling(self, place: Place) -> Measurement:
        """A decoder with queries on all the real images."""
        knows = frozenset({"observe"})
        own = dict(CEILING[self.scale])
        return Measurement(f"{place.name}/ceiling", place, "decoder", own, knows)

    def _grouping(self, attack: str) -> Mapping[str, Any]:
        return grouping(self.setup) if attack == "dci" else {}

    def told(self, *own: str) -> tuple[str, ...]:
        """Notes: what all experiments say, one's own, and where the settings come from."""
        return (*NOTES, *own, *setting_notes(self.scale, self.target))


movable = declared(DciStudy, movable=True)
