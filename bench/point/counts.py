"""How many images a run takes: what was given is kept or refused, defaults follow the data."""

from __future__ import annotations

from typing import NamedTuple

from adversary.registry import attack_of
from bench.point.recipe import SweepConfig
from bench.point.sights import sight_of
from bench.point.sights.wire import OverTheWire
from splitlab.data import Splits
from splitlab.errors import BadInput

FLAGS = {
    "train_images": ("--train-images", "train"),
    "queries": ("--queries", "auxiliary"),
    "validation_images": ("--validation", "validation"),
    "victims": ("--victims", "victims"),
}
"""Field -> its flag, and the partition that it is taken from."""


class Fitted(NamedTuple):
    """A config whose numbers are true of the data, and what was adapted, in words."""

    config: SweepConfig
    notes: tuple[str, ...]


def fitted(config: SweepConfig, splits: Splits, unused: frozenset[str] = frozenset()) -> Fitted:
    """Numbers of images that nobody gave become what there is, where that is less.

    Args:
        unused: fields that this command has no use for; they stay as they are.

    Raises:
        BadInput: more images were asked for than there are; a record would state a false number.
    """
    changed: dict[str, int] = {}
    notes: list[str] = []
    for field, (flag, part) in FLAGS.items():
        asked, there = getattr(config, field), len(splits.partitions[part])
        if field in unused or asked <= there:
            continue
        if field in config.model_fields_set:
            raise BadInput(
                f"{flag} {asked}: {config.dataset_kind} has {there} of them; ask for at most "
                f"{there}, or leave the flag out"
            )
        changed[field] = there
        notes.append(f"{there} {part} images are all there are (default {flag} {asked})")
    victims = changed.get("victims", config.victims)
    attacked = config.attacked
    if "attacked" not in config.model_fields_set:
        attacked = {name: min(count, victims) for name, count in attacked.items()}
    require_shown(config.model_copy(update={**changed, "attacked": attacked}))
    if not changed and attacked == config.attacked:
        return Fitted(config, ())
    update = {**changed, "attacked": attacked}
    return Fitted(config.model_copy(update=update), tuple(notes))


def require_shown(config: SweepConfig) -> None:
    """That no attack is asked for more than its sight shows it.

    Raises:
        BadInput: one is.
    """
    for name, count in config.attacked.items():
        if count <= config.victims or "attacked" not in config.model_fields_set:
            continue
        sight, most = sight_of(attack_of(name)), config.victims
        if issubclass(sight, OverTheWire):
            shown = sight.most(config.victims, config.train_images)
            if shown is None:
                continue
            most = shown
        if count > most:
            raise BadInput(
                f"--attacked '{name}={count}': {most} images cross the wire; ask for at most as "
                "many, or give more with --victims"
            )


def ungiven(config: SweepConfig) -> frozenset[str]:
    """The numbers that may still follow the data."""
    return frozenset({*FLAGS, "attacked"} - config.model_fields_set)
