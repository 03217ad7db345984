"""What a shell is offered for an option's value: names of registries, without loading torch.

A registry is a dict literal of name -> "module:attribute" in its file, and is read as text here:
its package would import torch, and a shell asks on every tab. Names that installed packages add
come from their entry points.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

from splitlab import entry_points

ROOT = Path(__file__).resolve().parents[1]
ATTACKS = ("adversary.registry:ATTACKS", entry_points.ATTACK_GROUP)
DEFENCES = ("defenses.registry:DEFENSES", entry_points.DEFENSE_GROUP)
NETWORKS = ("splitlab.models.build:MODELS", entry_points.MODEL_GROUP)
EXPERIMENTS = ("bench.reproduce.registry:EXPERIMENTS", entry_points.EXPERIMENT_GROUP)
RECIPES = ("splitlab.training.presets:RECIPES", "")
DATASETS = ("splitlab.data.load:DATASETS", "")
"""Where the names stand, and the group of entry points that adds to them."""
LINKS = ("splitlab.contracts.link:LINKS", "")
Offer = Callable[[str], list[str]]


def one_of(*words: str) -> Offer:
    """Offers these words."""

    def offer(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return offer


def names_of(place: tuple[str, str], after: str = "") -> Offer:
    """Offers the names of a registry.

    Args:
        place: one of the above.
        after: a mark behind which another name may stand, as in "gaussian+dropout".
    """

    def offer(incomplete: str) -> list[str]:
        before, mark, last = incomplete.rpartition(after) if after else ("", "", incomplete)
        return [before + mark + name for name in names(*place) if name.startswith(last)]

    return offer


def names(place: str, group: str) -> tuple[str, ...]:
    """Names of the dict literal at "package.module:NAME", then those of the entry points."""
    added = sorted(entry_points.entries(group)) if group else []
    return tuple(dict.fromkeys((*literal(place), *added)))


@cache
def literal(place: str) -> tuple[str, ...]:
    """Names of the dict literal at "package.module:NAME"."""
    module, _, variable = place.partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    found = next(
        value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and variable in {ast.unparse(one) for one in _targets(node)}
        and (value := _literal(node.value)) is not None
    )
    return tuple(str(key.value) for key in found.keys if isinstance(key, ast.Constant))


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _literal(value: ast.expr | None) -> ast.Dict | None:
    """The dict, or the one that a call such as `Registry("attack", {...})` is given."""
    if isinstance(value, ast.Call):
        return next((one for one in value.args if isinstance(one, ast.Dict)), None)
    return value if isinstance(value, ast.Dict) else None
