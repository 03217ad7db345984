"""Which modules of a network run in its head alone, those too that do nothing in eval mode."""

from __future__ import annotations

from torch import nn

from splitlab.split.listing import cuttable, points_of
from splitlab.split.points import find_point
from splitlab.split.trace.flow import Flow, follow


def head_modules(
    net: nn.Module, head_end: str, input_shape: tuple[int, ...] = (3, 32, 32)
) -> list[str]:
    """Paths in `net` of the modules all of whose calls are done where the head ends.

    A dropout right behind the module that `head_end` names returns the same tensor in eval mode,
    and belongs to the rest all the same.

    Raises:
        UnknownName, NotCuttable: as `find_point`.
    """
    flow = follow(net, input_shape)
    point = find_point(points_of(flow, net, "block"), head_end)
    end = cuttable(flow)[point.index]
    done, later = _parted(flow, head_end, end)
    paths = {path for path, _ in net.named_modules()}
    for index, merged in enumerate(flow.steps):
        if merged.depends:  # also of what returns no single tensor, such as attention's weights
            path = merged.step.name
            while path not in paths:
                path = path.rpartition(".")[0]
            (done if index <= end else later).add(path)
    whole = [path for path in done - later if path]
    inner = {
        f"{path}.{below}" for path in whole for below, _ in net.get_submodule(path).named_modules()
    }
    return sorted({*whole, *(path.rstrip(".") for path in inner)} - later)


def _parted(flow: Flow, head_end: str, end: int) -> tuple[set[str], set[str]]:
    """(modules with a call that is done by then, modules with a later one)."""
    names = [path.removeprefix(flow.prefix) + (f"_{n}" if n else "") for path, n, _ in flow.ends]
    steps = [step for _, _, step in flow.ends]
    named = [i for i, name in enumerate(names) if name == head_end and steps[i] == end]
    own = flow.steps[end].step.name
    done: set[str] = set()
    later: set[str] = set()
    for place, (path, _, step) in enumerate(flow.ends):
        if step == end and not named:  # an operation: what it is done in, and nothing behind it
            before = own == path or own.startswith(f"{path}.")
        else:
            before = step < end or (step == end and place <= named[-1])
        (done if before else later).add(path)
    return done, later
