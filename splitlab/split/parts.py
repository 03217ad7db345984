"""`cut`: head, body and tail of a network as three modules that run on their own."""

from __future__ import annotations

import copy
import operator
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from splitlab.errors import BadInput, Mismatch
from splitlab.models import Normalised
from splitlab.split.limits.contexts import Autocast, Within
from splitlab.split.listing import cuttable, points_of
from splitlab.split.points import find_point
from splitlab.split.proof import require_same_answers
from splitlab.split.trace.calls import Call
from splitlab.split.trace.flow import Flow, follow
from splitlab.split.trace.tree import BatchMark, Device, Ref, map_leaves
from splitlab.split.trace.twin import made_weights


class Part(nn.Module):
    """One part of a network, in eval mode; it never writes into its input.

    Args:
        graph: tensor [B, *input_shape] -> tensor [B, *output_shape].
        keys: key in `graph.state_dict()` -> keys in the state dict of the network it was cut from.
        input_shape: of one image, without the batch.
        output_shape: the same of what comes out.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        keys: dict[str, tuple[str, ...]],
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.graph, self.keys = graph, keys
        self.input_shape, self.output_shape = input_shape, output_shape
        self.eval()

    def forward(self, tensor: Tensor) -> Tensor:
        """[B, *input_shape] -> [B, *output_shape]."""
        return self.graph(tensor)

    def __deepcopy__(self, memo: dict[int, Any]) -> Part:
        """Also where a weight norm holds a weight with its history, which Python cannot copy."""
        memo |= made_weights(self)
        new = memo[id(self)] = type(self).__new__(type(self))
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new


class Parts(NamedTuple):
    """Head: images -> z, body: z -> y, tail: y -> logits."""

    head: Part
    body: Part
    tail: Part


@torch.inference_mode(False)
def cut(
    net: nn.Module,
    head_end: str,
    tail_start: str | None = None,
    input_shape: tuple[int, ...] = (3, 32, 32),
) -> Parts:
    """Deep copies of three parts of `net`, in eval mode, whose composition equals it.

    Args:
        net: images [B, *input_shape] -> logits; left as it is.
        head_end: name or alias of the split point at which the head ends.
        tail_start: the same for the point after which the tail begins; None gives the body all of
            the rest, and the tail is the identity.
        input_shape: of one image.

    Raises:
        UnknownName, NotCuttable: as `find_point`.
        NotCuttable: the parts answer otherwise at other sizes of a batch.
        BadInput: the tail would begin before the body, or the body would be empty.
    """
    flow = follow(net, input_shape)
    points = points_of(flow, net, "block")
    steps = cuttable(flow)
    first = find_point(points, head_end)
    last = find_point(points, tail_start) if tail_start is not None else None
    if last is not None and last.index <= first.index:
        raise BadInput(
            f"the head ends at {head_end!r} and the tail begins after {tail_start!r}, which does "
            "not lie behind it; swap them or choose others"
        )
    end = steps[last.index] if last is not None else flow.output
    head = _part(flow, net, 0, steps[first.index], input_shape)
    body = _part(flow, net, steps[first.index], end, first.shape)
    tail = _part(flow, net, end, flow.output, body.output_shape)
    macs = sum(merged.macs for merged in flow.steps)
    require_same_answers(net, (head, body, tail), input_shape, macs, lost=flow.lost)
    return Parts(head, body, tail)


def part_state(part: Part) -> dict[str, Tensor]:
    """Parameters and persistent buffers of `part` under the network's own key names."""
    own = part.graph.state_dict()
    return {name: own[key] for key, names in part.keys.items() for name in names}


def load_part_state(part: Part, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into `part`.

    Raises:
        Mismatch: a key is missing or unexpected, or has another shape; `part` is then unchanged.
    """
    wanted = part_state(part)
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    if missing or unexpected:
        raise Mismatch(
            f"weights of another part: missing {', '.join(missing[:5]) or 'nothing'}, unexpected "
            f"{', '.join(unexpected[:5]) or 'nothing'}; check the network and the split points"
        )
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            raise Mismatch(
                f"weights of another part: {name} is {tuple(tensors[name].shape)}, wanted "
                f"{tuple(value.shape)}; check the network's arguments"
            )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(tensors[name])


def _part(flow: Flow, net: nn.Module, start: int, end: int, input_shape: tuple[int, ...]) -> Part:
    """The steps after `start` up to and with `end`."""
    builder = _GraphBuilder(flow, start)
    graph = builder.build(end)
    attributes: dict[str, Any] = {}
    memo: dict[int, Any] = made_weights(net)
    for node in graph.nodes:
        if node.op in ("get_attr", "call_module"):
            found = _found(str(node.target), flow, net, builder)
            attributes[str(node.target)] = found
            target = found.run if isinstance(found, Within) else found
            if isinstance(target, nn.Module):
                memo |= _without_hooks(target, keep=builder.called[str(node.target)] in flow.kept)
    original = fx.GraphModule(attributes, graph)
    whole = (net.net if isinstance(net, Normalised) else net).state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, tensor in whole.items():
        names.setdefault(id(tensor), []).append(name)
    own = original.state_dict(keep_vars=True)
    keys = {key: tuple(names[id(tensor)]) for key, tensor in own.items() if id(tensor) in names}
    with torch.inference_mode(False):
        module = copy.deepcopy(original, memo).eval()
    for child in module.modules():
        if getattr(child, "inplace", False) is True:
            setattr(child, "inplace", False)  # noqa: B010 - modules declare no such attribute
    value = flow.steps[end].value
    return Part(module, keys, input_shape, value.shape if value is not None else ())


def _found(target: str, flow: Flow, net: nn.Module, builder: _GraphBuilder) -> Any:
    """What a node of that target uses."""
    if target in flow.constants:
        return flow.constants[target]
    if target not in builder.within:
        return operator.attrgetter(target)(net)
    autocast, call = builder.within[target]
    run = operator.attrgetter(call.target)(net) if call.op == "call_module" else call.target
    return Within(autocast, run)


def _without_hooks(module: nn.Module, *, keep: bool) -> dict[int, Any]:
    """What the hooks of a module become in a copy: its own steps are in the graph.

    Args:
        keep: its forward pre-hooks, which make its weights.
    """
    dropped = ["_forward_hooks", "_backward_hooks", "_backward_pre_hooks"]
    dropped += [] if keep else ["_forward_pre_hooks"]
    return {id(getattr(module, name)): OrderedDict() for name in dropped}


class _GraphBuilder:
    """Repeats the steps of a flow in a graph whose only input is the result of one of them."""

    def __init__(self, flow: Flow, start: int) -> None:
        self.flow, self.start, self.graph = flow, start, fx.Graph()
        self.input = self.graph.placeholder("tensor")
        self.nodes = {start: self.input}
        self.extra: dict[Any, fx.Node] = {}
        # Path of the module that a node calls, by its target; what runs under autocast, by target.
        self.called: dict[str, str] = {}
        self.within: dict[str, tuple[Autocast, Call]] = {}

    def build(self, end: int) -> fx.Graph:
        for step in self.flow.order:
            if self.start < step <= end:
                self._node(step)
        self.graph.output(self.nodes[end])
        return self.graph

    def _node(self, step: int) -> fx.Node:
        """The node of `step`; what does not depend on the image is made on the way."""
        if step not in self.nodes:
            call = self.flow.steps[step].step.call
            args, kwargs = map_leaves((call.args, call.kwargs), self._argument)
            op, target = call.op, call.target
            if self.flow.steps[step].step.autocast and op.startswith("call_"):
                op, target = "call_module", f"_within_{step}"
                self.within[target] = self.flow.steps[step].step.autocast, call
            self.called[str(target)] = str(call.target)
            self.nodes[step] = self.graph.create_node(op, target, args, kwargs)
        return self.nodes[step]

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return self._node(leaf.step)
        if not isinstance(leaf, (BatchMark, Device)):
            return leaf
        if leaf not in self.extra:
            self.extra[leaf] = self._extra(leaf)
        return self.extra[leaf]

    def _extra(self, leaf: BatchMark | Device) -> fx.Node:
        """Batch size and device are read off the part's own input."""
        if isinstance(leaf, Device):
            return self.graph.call_function(getattr, (self.input, "device"))
        if leaf.factor == 1:
            return self.graph.call_method("size", (self.input, 0))
        return self.graph.call_function(operator.mul, (self._argument(BatchMark(1)), leaf.factor))
