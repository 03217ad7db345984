"""What crosses each place of a network: two tapes of it, merged into one graph without a batch."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.errors import BadInput, NotCuttable
from splitlab.models import Normalised
from splitlab.split.limits.batch_size import lost, plain_number
from splitlab.split.limits.modules import refuse_modules, unfollowed
from splitlab.split.limits.state import UntouchedDraws, first_change, kept_state
from splitlab.split.limits.watching import ONE_TRACE
from splitlab.split.trace.merging import merge_batches, per_image
from splitlab.split.trace.recorder import record
from splitlab.split.trace.remembered import LastAsked, key_of
from splitlab.split.trace.tape import Tape, TapeStep
from splitlab.split.trace.tree import Ref, Shape, map_leaves, refs
from splitlab.split.trace.twin import images, is_cheap, shadow

# Two batch sizes: large where only shapes are followed, so that no layer has them as a dimension of
# its own; small where numbers are. Far enough apart that a half or a quarter of them differs too.
_LARGE, _SMALL = (11, 29), (3, 7)


@dataclass(frozen=True)
class Merged:
    """A step for any batch size.

    Args:
        step: the one of the first tape, with `BatchMark` for every int that grows with the batch.
        value: a `Shape` without the batch where the result is one float tensor whose dimension 0
            is the batch and which nothing else depends on it, else None.
        depends: whether its numbers depend on the image.
        live: whether the output depends on it.
        macs: for one image.
    """

    step: TapeStep
    value: Shape | None
    depends: bool
    live: bool
    macs: int


@dataclass
class Flow:
    """Args:
    steps: every step in order.
    prefix: what stands before module paths of the network itself ("net." or "").
    ends: (module path, number of the call, step), as in `Tape`.
    output: the step whose tensor the network returns.
    constants, kept: as in `Tape`.
    lost: whether plain numbers were made of sizes of a batch, so that they are not seen.
    """

    steps: list[Merged]
    prefix: str
    ends: list[tuple[str, int, int]]
    output: int
    constants: dict[str, Tensor]
    kept: set[str]
    lost: bool = False

    @functools.cached_property
    def order(self) -> list[int]:
        """The steps that carry the image towards the output, in order; the first is the input."""
        return [i for i, merged in enumerate(self.steps) if merged.depends and merged.live]

    def crossings(self) -> Iterator[tuple[int, set[int]]]:
        """(step, steps whose results are still needed once it is done), over `order`."""
        last = {step: step for step in self.order}
        for step in self.order:
            for source in refs(
                (self.steps[step].step.call.args, self.steps[step].step.call.kwargs)
            ):
                if source in last:
                    last[source] = max(last[source], step)
        last[self.output] = len(self.steps)
        ending: dict[int, list[int]] = {}
        for source, end in last.items():
            ending.setdefault(end, []).append(source)
        crossing: set[int] = set()
        for step in self.order:
            crossing.add(step)
            crossing.difference_update(ending.get(step, ()))
            yield step, set(crossing)

    def own(self, step: int) -> list[int]:
        """`step` and the steps independent of the image that it needs, each once."""
        found: dict[int, None] = {}
        pending = [step]
        while pending:
            current = pending.pop()
            if current in found:
                continue
            found[current] = None
            call = self.steps[current].step.call
            pending += [i for i in refs((call.args, call.kwargs)) if not self.steps[i].depends]
        return list(found)

    def name(self, step: int) -> str:
        """The name of a step as a user sees it: without the prefix."""
        return self.steps[step].step.name.removeprefix(self.prefix)


_FLOWS: LastAsked[Flow] = LastAsked()


def follow(net: nn.Module, input_shape: tuple[int, ...], numbers: bool | None = None) -> Flow:
    """Run a copy of `net` at two batch sizes and merge what it did.

    A network of the same structure, of libraries' layers alone, is not run again; the flow, which
    nobody may change, is the one of before.

    Args:
        net: images [B, *input_shape] -> logits; a `Normalised` or any other module.
        input_shape: of one image, without the batch.
        numbers: whether with numbers or by shapes alone, with the same result; None chooses the
            faster.

    Raises:
        BadInput: the network does not run on images of that shape.
        NotCuttable: it does something that cannot be followed or that depends on the batch size.
    """
    refuse_modules(net)
    if numbers is None:
        numbers = is_cheap(net, input_shape)
    key = key_of(net, input_shape, numbers)
    found = _FLOWS.get(key)
    if found is None:
        found = _follow(net, input_shape, numbers)
        _FLOWS.put(None if found.constants else key, found)
    return found


def _follow(net: nn.Module, input_shape: tuple[int, ...], numbers: bool) -> Flow:
    batches = _SMALL if numbers else _LARGE
    tapes: list[Tape] = []
    before = lost.count
    for batch in batches:
        # A fresh copy each time: some networks keep index tables that they made on the way.
        copy = shadow(net, numbers=numbers)
        with torch.inference_mode(False):
            example = images(net, (batch, *input_shape), numbers=numbers)
        untouched = kept_state(copy)
        earlier = (tapes[0], batches[0]) if tapes else None
        tapes.append(_run(copy, example, earlier, original=net))
    if not numbers and any(step.autocast for step in tapes[0].steps):
        # Autocast of a CPU or GPU does nothing to tensors without numbers.
        return _follow(net, input_shape, numbers=True)
    _refuse_memory(copy, example, tapes[1], untouched)
    steps = _merge(tapes[0], tapes[1], batches)
    output = tapes[0].output
    if not isinstance(output, Ref):
        raise NotCuttable(f"the network returns {type(output).__name__}, wanted one tensor")
    prefix = "net." if isinstance(net, Normalised) else ""
    first = tapes[0]
    kept, hidden = first.kept, lost.count > before
    return Flow(steps, prefix, first.ends, output.step, first.constants, kept, hidden)


def _refuse_memory(
    copy: nn.Module, example: Tensor, first: Tape, untouched: dict[str, Any]
) -> None:
    """Ask the copy of the second tape again for the same images, if it has kept anything.

    Raises:
        NotCuttable: it does something else now, or is not left as the call before left it.
    """
    once = kept_state(copy)
    if first_change(untouched, once) is None:
        return
    again = _run(copy, example, before=first)
    changing = first_change(once, kept_state(copy))
    if changing is None and _course(first) != _course(again):
        changing = first_change(untouched, once)
    if changing is not None:
        raise NotCuttable(
            f"{changing} changes from call to call, and what the network does may follow it; such "
            "a network cannot be cut"
        )


def _course(tape: Tape) -> list[Any]:
    """What is done to the image, in order, without the steps that it is done with."""
    depends: set[int] = {0}
    found: list[Any] = []
    for index, step in enumerate(tape.steps):
        given = (step.call.args, step.call.kwargs)
        if depends.intersection(refs(given)):
            depends.add(index)
            bare = map_leaves(
                given, lambda leaf: None if isinstance(leaf, Ref) else plain_number(leaf)
            )
            found.append((step.call.op, step.call.target, bare))
    return found


def _run(
    copy: nn.Module,
    example: Tensor,
    earlier: tuple[Tape, int] | None = None,
    before: Tape | None = None,
    original: nn.Module | None = None,
) -> Tape:
    try:
        with ONE_TRACE, torch.random.fork_rng(devices=[]), UntouchedDraws():
            return record(copy, example, earlier, before, original)
    except NotCuttable:
        raise
    except NotImplementedError as error:
        raise NotCuttable(f"its course depends on numbers, not only on shapes ({error})") from error
    except Exception as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        if "meta" in why or ".item()" in why:
            raise NotCuttable(
                f"its course depends on numbers, not only on shapes ({why})"
            ) from error
        raise BadInput(
            f"the network does not run on images of shape {tuple(example.shape[1:])}: {why}; "
            "check the size of the images (--size) and the network's arguments"
        ) from error


def _merge(first: Tape, second: Tape, batches: tuple[int, int]) -> list[Merged]:
    """One step for each pair.

    Raises:
        NotCuttable: the tapes differ in more than the batch size.
    """
    if len(first.steps) != len(second.steps) or first.output != second.output:
        raise NotCuttable("the network does other operations for other batch sizes")
    for name, constant in first.constants.items():
        other = second.constants.get(name)
        if other is None or not torch.equal(constant, other):
            raise NotCuttable(unfollowed(constant))
    live = _live(first)
    depends: list[bool] = []
    merged: list[Merged] = []
    for index, (one, two) in enumerate(zip(first.steps, second.steps, strict=True)):
        if _differ(one, two):
            raise NotCuttable(f"{one.name}: another operation ({two.name}) at another batch size")
        given = (one.call.args, one.call.kwargs)
        depends.append(index == 0 or any(depends[source] for source in refs(given)))
        if index in live:
            args, kwargs = merge_batches(given, (two.call.args, two.call.kwargs), batches, one.name)
            call = type(one.call)(one.call.op, one.call.target, args, kwargs, one.call.label)
            one = replace(one, call=call)
        slope = (two.macs - one.macs) // (batches[1] - batches[0])
        macs = one.macs - (batches[0] - 1) * slope
        value = per_image(one.value, two.value, batches)
        merged.append(Merged(one, value, depends[-1], index in live, macs))
    return merged


def _differ(one: TapeStep, two: TapeStep) -> bool:
    return (one.name, one.call.target, one.autocast) != (two.name, two.call.target, two.autocast)


def _live(tape: Tape) -> set[int]:
    """The steps that the output depends on."""
    live: set[int] = set()
    pending = refs(tape.output)
    while pending:
        step = pending.pop()
        if step not in live:
            live.add(step)
            pending += refs((tape.steps[step].call.args, tape.steps[step].call.kwargs))
    return live
