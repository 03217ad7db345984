"""`split_points`: every place where exactly one tensor that depends on the image crosses."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from splitlab.models import Normalised
from splitlab.split.blocks import block_paths
from splitlab.split.points import Granularity, SplitPoint, SplitPoints
from splitlab.split.trace.flow import Flow, follow

_BYTES = 4


def split_points(
    net: nn.Module,
    input_shape: tuple[int, ...] = (3, 32, 32),
    granularity: Granularity = "block",
) -> SplitPoints:
    """The split points of `net` in graph order, found from what it does, not from its name.

    The input, its normalisation and the output are no split points. The weights play no part.
    Where a network is large, shapes alone are followed, so that the time grows with the number of
    its operations only.

    Args:
        net: images [B, *input_shape] -> logits; names are module paths inside `Normalised.net`.
        input_shape: of one image.
        granularity: "block" for named blocks, "operation" for every operation.

    Raises:
        BadInput: the network does not run on images of that shape.
        NotCuttable: it does something that cannot be followed.
    """
    return points_of(follow(net, input_shape), net, granularity)


def points_of(flow: Flow, net: nn.Module, granularity: Granularity) -> SplitPoints:
    """The split points of a flow; `SplitPoint.index` is a place in `cuttable(flow)`."""
    inside = net.net if isinstance(net, Normalised) else net
    names = _names(flow, {path for path, _ in inside.named_modules()})
    places = cuttable(flow)
    blocks = block_paths(inside, {name: step for step in places for name in names[step]})
    costs = _costs(flow, net)
    operations: list[SplitPoint] = []
    refused: dict[str, str] = {}
    for step, crossing in flow.crossings():
        if not _inside(flow, step):
            continue
        reason = _refusal(flow, step, crossing)
        called = names[step]
        value = flow.steps[step].value
        if reason is not None or value is None:
            refused |= dict.fromkeys(called, reason or "")
            continue
        listed = [name for name in called if name in blocks]
        name = max(listed or called, key=lambda path: path.count("."))
        operations.append(
            SplitPoint(
                name,
                len(operations),
                value.shape,
                math.prod(value.shape) * _BYTES,
                *costs[step],
                tuple(alias for alias in called if alias != name),
                "block" if listed else "operation",
            )
        )
    every = {alias: point for point in operations for alias in point.aliases}
    every |= {point.name: point for point in operations}
    refused = {name: reason for name, reason in refused.items() if name not in every}
    wanted = [p for p in operations if granularity == "operation" or p.kind == "block"]
    return SplitPoints(wanted, every, refused)


def cuttable(flow: Flow) -> list[int]:
    """The steps after which the network can be cut, in order."""
    return [
        step
        for step, crossing in flow.crossings()
        if _inside(flow, step) and not _refusal(flow, step, crossing)
    ]


def _inside(flow: Flow, step: int) -> bool:
    """Whether `step` belongs to the network itself, not to its input or its normalisation."""
    return step > 0 and flow.steps[step].step.name.startswith(flow.prefix)


def _names(flow: Flow, modules: set[str]) -> dict[int, list[str]]:
    """Every name under which the tensor of a step is known: its own, and modules that return it.

    The n-th further call of a module that is called more than once ends in `_n`.
    """
    names: dict[int, dict[str, None]] = {}
    for step in flow.order:
        names[step] = {flow.name(step): None}
    for path, number, step in flow.ends:
        if step in names and path.startswith(flow.prefix) and path != "":
            name = path.removeprefix(flow.prefix)
            further = f"{name}_{number}"
            if number == 0:
                names[step][name] = None
            elif further not in modules:
                names[step][further] = None
    return {step: list(known) for step, known in names.items()}


def _refusal(flow: Flow, step: int, crossing: set[int]) -> str | None:
    """Why the network cannot be cut after `step`, or None where it can."""
    if step == flow.output:
        return "it is the output of the network, nothing is left to run after it"
    if crossing != {step}:
        shown = ", ".join(repr(flow.name(other)) for other in sorted(crossing))
        return f"{len(crossing)} tensors cross there ({shown})"
    value, image = flow.steps[step].value, flow.steps[0].value
    if value is None:
        return "what crosses there is no float tensor whose dimension 0 is the batch"
    if image is not None and value.dtype != image.dtype:
        kinds = [str(one.dtype).removeprefix("torch.") for one in (value, image)]
        return (
            f"what crosses there is {kinds[0]}, and {kinds[1]} is what is sent (end torch.autocast "
            "before that place, or leave it out)"
        )
    return None


def _costs(flow: Flow, net: nn.Module) -> dict[int, tuple[int, int, int, int]]:
    """(head parameters, rest parameters, head MACs, rest MACs) for a cut after each step."""
    sizes: dict[int, int] = {}
    within: dict[str, set[int]] = {}
    for path, parameter in net.named_parameters(remove_duplicate=False):
        sizes[id(parameter)] = parameter.numel()
        while path:
            within.setdefault(path, set()).add(id(parameter))
            path = path.rpartition(".")[0]
    parameters: dict[int, set[int]] = {}
    for step in flow.order:
        calls = [flow.steps[i].step.call for i in flow.own(step)]
        used = [within.get(c.target, set()) for c in calls if c.op in ("get_attr", "call_module")]
        parameters[step] = set().union(*used)
    heads = _sums(flow, flow.order, parameters, sizes)
    rests = _sums(flow, reversed(flow.order), parameters, sizes)
    costs: dict[int, tuple[int, int, int, int]] = {}
    for step, following in zip(flow.order, [*flow.order[1:], None], strict=True):
        rest = rests[following] if following is not None else (0, 0)
        costs[step] = (heads[step][0], rest[0], heads[step][1], rest[1])
    return costs


def _sums(
    flow: Flow, order: Iterable[int], parameters: dict[int, set[int]], sizes: dict[int, int]
) -> dict[int, tuple[int, int]]:
    """(parameters, MACs) of all steps from the first of `order` to each, nothing twice."""
    seen: set[int] = set()
    seen_steps: set[int] = set()
    count = macs = 0
    sums: dict[int, tuple[int, int]] = {}
    for step in order:
        count += sum(sizes[number] for number in parameters[step] - seen)
        seen |= parameters[step]
        fresh = set(flow.own(step)) - seen_steps
        macs += sum(flow.steps[i].macs for i in fresh)
        seen_steps |= fresh
        sums[step] = (count, macs)
    return sums
