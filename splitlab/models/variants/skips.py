"""The variant `skip`: how much of its input each residual block keeps (papers 000 and 002).

1 keeps the network as it is, 0 removes the skip. Blocks of torchvision, timm and of a user's own
are found by their forward, where a tensor is added to what was made of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from splitlab.errors import BadInput
from splitlab.models.variants.additions import Factor, skip_names, unread_additions, with_factors

Change = Callable[[], None]
JOINS = ("cat", "concat", "concatenate")
SHOWN = 4


def skips_scaled(net: nn.Module, skip: Any) -> nn.Module:
    """`net` with its skips scaled, in place; those of factor 0 are left out of its forward.

    Args:
        skip: a list of one factor a stage, a stage being the module around neighbouring blocks
            ("layer4"), a block that is a child of the network itself, or a skip that the network's
            own forward adds; or {path: factor}, where a path is that of a stage, a block
            ("layer4.0") or one of a block's skips ("encoder.layers.encoder_layer_0.skip_1"); the
            longest that fits decides, and what none fits stays.

    Raises:
        BadInput: another count, no finite number, or a path without a skip.
    """
    for place, factors in _wanted(net, skip).items():
        place.set(factors, drop=True)
    return net


def changes_of_skips(net: nn.Module, skip: Any) -> list[Change]:
    """The same as changes to be made later, in place. What they need is added now, at factor 1."""
    changes: list[Change] = []
    for place, factors in _wanted(net, skip).items():
        place.open(factors)
        changes.append(partial(place.set, factors))
    return changes


def merged_skips(first: Any, then: Any) -> Any:
    """What a network of `first` has after `then` was applied to it.

    Raises:
        BadInput: one is a list of stages and the other a mapping of paths.
    """
    if isinstance(then, Mapping) != isinstance(first, Mapping):
        raise BadInput(
            f"variant skip={first!r} and then skip={then!r}: give both as a list of stages, or "
            "both as a mapping of paths"
        )
    return {**first, **then} if isinstance(then, Mapping) else then


class _Block:
    """A block with skips: one of the lab's own, which has a field for its one, or another."""

    def __init__(self, path: str, module: nn.Module) -> None:
        self.path, self.module = path, module
        ours = type(module).__module__.startswith("splitlab.models.")
        self.own = ours and isinstance(getattr(module, "skip", None), int | float)
        self.names = ["skip"] if self.own else skip_names(module)

    def at(self, name: str) -> str:
        """Path of one of its skips."""
        return f"{self.path}.{name}" if self.path else name

    def stage(self, name: str) -> str:
        """What is around the block; the block where that is the network; the network's own skip."""
        return self.path.rpartition(".")[0] or self.path or name

    def open(self, factors: Mapping[str, float]) -> None:
        """Have a scalar for each of these skips; 1 where there is none.

        Raises:
            BadInput: the block was built without the skip, and its projection is not there.
        """
        if self.own and self.module.skip == 0 and factors["skip"] != 0:
            raise BadInput(
                f"variant skip: {self.path} was built with factor 0, without its projection; build "
                "the network with another factor to change it later"
            )
        new = {n: 1.0 for n in factors if not isinstance(getattr(self.module, n, None), Factor)}
        if new and not self.own:
            with_factors(self.module, new, drop=False)

    def set(self, factors: Mapping[str, float], drop: bool = False) -> None:
        if self.own:
            setattr(self.module, "skip", factors["skip"])  # noqa: B010 - a field, no module
        elif drop:
            with_factors(self.module, factors, drop=True)
        else:
            for name, factor in factors.items():
                scale = self.module.get_submodule(name)
                assert isinstance(scale, Factor)
                scale.factor = factor


def _wanted(net: nn.Module, skip: Any) -> dict[_Block, dict[str, float]]:
    """The blocks that `skip` speaks of, each with the factors of its skips."""
    kind = type(net).__name__
    if isinstance(skip, Mapping):
        blocks = _blocks(net, [str(path) for path in skip])
    else:
        blocks = _blocks(net)
        if not blocks:
            raise BadInput(
                f"variant skip={skip!r}: {kind} has no block that adds its input to its output; "
                f"choose a residual network{_beyond(net)}"
            )
        skip = dict(zip(_stages(blocks), _factors(skip, _stages(blocks), kind), strict=True))
    keys = {str(path): _finite(factor, skip) for path, factor in skip.items()}
    used: set[str] = set()
    found: dict[_Block, dict[str, float]] = {}
    for block in blocks:
        for name in block.names:
            path = block.at(name)
            fitting = [key for key in keys if path == key or path.startswith(f"{key}.")]
            if fitting:
                best = max(fitting, key=len)
                used |= {*fitting}
                found.setdefault(block, {})[name] = keys[best]
    if lost := sorted(keys.keys() - used):
        raise BadInput(
            f"variant skip: {', '.join(lost)} of {kind} has no skip; its stages with skips are "
            f"{', '.join(_stages(_blocks(net))) or 'none'}{_beyond(net, sorted(lost))}"
        )
    return found


def _blocks(net: nn.Module, paths: Sequence[str] = ("",)) -> list[_Block]:
    """Blocks with skips that lie on one of these paths, in the order of the network."""
    return [
        block
        for path, module in net.named_modules()
        if not type(module).__module__.startswith("torch.nn.")
        if any(
            f"{path}.".startswith(f"{one}.") or one.startswith(f"{path}.") or not (one and path)
            for one in paths
        )
        if (block := _Block(path, module)).names
    ]


def _stages(blocks: Sequence[_Block]) -> list[str]:
    return list(dict.fromkeys(block.stage(name) for block in blocks for name in block.names))


def _beyond(net: nn.Module, paths: Sequence[str] = ("",)) -> str:
    """What there is of skips on these paths that the variant does not reach, for an error."""
    on_them = [
        (path, module)
        for path, module in net.named_modules()
        if any(f"{path}.".startswith(f"{one}.") or not one for one in paths)
        and not type(module).__module__.startswith("torch.nn.")
    ]
    joins = dict.fromkeys(type(module).__name__ for _, module in on_them if _calls(module, JOINS))
    unread = [path or "its own forward" for path, module in on_them if unread_additions(module)]
    told = ""
    if joins:
        told += (
            f"; {_first([*joins])} join tensors (torch.cat), as DenseNet does, and that is not "
            "reached: without one of them the layers behind need fewer channels, and this variant "
            "changes no widths"
        )
    if unread:
        told += f"; Python decides on values or shapes in the forward of {_first(unread)}"
    return told


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" and others" if len(names) > SHOWN else "")


def _calls(module: nn.Module, names: Collection[str]) -> bool:
    """Whether one of these names stands in the code of the module's own class."""
    functions = [getattr(one, "__code__", None) for one in vars(type(module)).values()]
    return any(name in code.co_names for code in functions if code for name in names)


def _factors(skip: Any, stages: list[str], kind: str) -> list[Any]:
    if not isinstance(skip, list | tuple) or len(skip) != len(stages):
        raise BadInput(
            f"variant skip={skip!r}: give {len(stages)} finite numbers, one for each stage of "
            f"{kind} ({', '.join(stages)}), or a mapping of paths to numbers"
        )
    return list(skip)


def _finite(factor: Any, skip: Any) -> float:
    try:
        value = float(factor)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"variant skip={skip!r}: {factor!r} is no finite number")
    return value
