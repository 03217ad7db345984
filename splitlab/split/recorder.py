"""What a network does to one batch, operation by operation, as a tape that can be repeated."""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from splitlab.errors import NotCuttable
from splitlab.split.calls import Call, pure_call, writing_call, writing_through
from splitlab.split.macs import MacCounter
from splitlab.split.tensor_book import TensorBook, Versions, changed, moved, versions
from splitlab.split.tree import Device, Ref, map_leaves, refs, shapes, tensors

# How numbers leave a tensor for Python.
_READS = frozenset(
    {"item", "tolist", "numpy", "equal", "allclose", "is_nonzero", "__array__", "__contains__"}
    | {"__bool__", "__int__", "__float__", "__index__", "__complex__"}
)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


@dataclass(frozen=True)
class Step:
    """One operation of a tape.

    Args:
        name: unique; path of the module it happened in, and what it is.
        call: arguments are plain data with a `Ref` for every tensor; "get_attr" and "input" have
            none.
        value: the result, with a `Shape` for every tensor.
        macs: multiply-accumulates for the whole batch.
    """

    name: str
    call: Call
    value: Any
    macs: int


@dataclass
class Tape:
    """Args:
    steps: in the order of execution; the first is the input.
    ends: (module path, number of the call, step of the one tensor that it returned), in order.
    output: what the network returned.
    constants: tensors that are neither parameters nor buffers, by the name a step gives them.
    """

    steps: list[Step] = field(default_factory=list)
    ends: list[tuple[str, int, int]] = field(default_factory=list)
    output: Any = None
    constants: dict[str, Tensor] = field(default_factory=dict)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module counts as one operation: torch's own layers and classes derived from them.

    Containers are looked into, and so is every other class.
    """
    if isinstance(module, _CONTAINERS) or type(module) is nn.Module:
        return False
    return any(
        base is not nn.Module and base.__module__.startswith("torch.nn.modules.")
        for base in type(module).__mro__
    )


def record(shadow: nn.Module, images: Tensor) -> Tape:
    """Run `shadow` on `images` [B, C, H, W] and write down every operation.

    Args:
        shadow: as `splitlab.split.shadow.shadow` makes it; hooks are set on it and removed.
        images: on the shadow's device.

    Raises:
        NotCuttable: the network does something that cannot be repeated from a tape.
    """
    recorder = _Recorder(shadow)
    hooks = recorder.watch()
    # The fused attention of PyTorch hides its matrix products from the counter.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Under inference mode tensors do not count the writes to them.
        with torch.inference_mode(False), torch.no_grad(), recorder.counter, recorder:
            recorder.begin(images)
            output = shadow(images)
        recorder.tape.output = recorder._plain(output)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for hook in hooks:
            hook.remove()
    return recorder.tape


class _Recorder(TorchFunctionMode):
    """Sees every call of torch's Python interface; hooks tell it which module it is in."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.tape, self.counter = Tape(), MacCounter()
        self.book = TensorBook(root, self._call_of, self._again)
        self.device = torch.device("meta")
        self.paths = {module: path for path, module in root.named_modules()}
        self.modules, self.taken = set(self.paths.values()), set[str]()
        self.calls: Counter[str] = Counter()
        self.stack: list[str] = []
        # Of each step: whether its numbers depend on the image.
        self.depends: list[bool] = []
        # One entry for each open module that is a leaf or inside one: versions, macs at its start.
        self.leaves: list[tuple[Versions, int]] = []

    def watch(self) -> list[Any]:
        """Hooks on every module; the list is for their removal."""
        hooks: list[Any] = []
        for module in self.paths:
            hooks.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._leave, with_kwargs=True))
        return hooks

    def begin(self, images: Tensor) -> None:
        """The input is step 0."""
        self.device = images.device
        self._add("input", Call("input", "images", (), {}, ""), images, 0, [])

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.stack.append(self.paths[module])
        if self.leaves:
            self.leaves.append(([], 0))
        elif is_leaf(module):
            self.leaves.append((versions((args, kwargs)), self.counter.macs))

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        path = self.stack.pop()
        if self.leaves:
            before, macs = self.leaves.pop()
            if self.leaves:
                return
            nothing = isinstance(module, (nn.Identity, nn.modules.dropout._DropoutNd))
            if not (nothing and output is args[0]):
                written = changed(before)
                if written and not (getattr(module, "inplace", False) and output is written[0]):
                    raise NotCuttable(f"{path} writes into its input and has no flag against it")
                call = Call("call_module", path, args, kwargs, "")
                self._add(path, call, output, self.counter.macs - macs, written)
        number, self.calls[path] = self.calls[path], self.calls[path] + 1
        found = tensors(output)
        step = self.book.known(found[0], path) if len(found) == 1 else None
        if step is not None:
            self.tape.ends.append((path, number, step))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func is Tensor.__iter__ and not self.leaves:
            return iter(self.__torch_function__(Tensor.unbind, (), (args[0], 0)))
        before, macs = versions((args, kwargs)), self.counter.macs
        movable_args, movable_kwargs = self.book.movable((args, kwargs))
        result = func(*movable_args, **movable_kwargs)
        if self.leaves:
            return result
        written = changed(before)
        where = self.stack[-1] if self.stack else ""
        if len(written) > 1:
            raise NotCuttable(f"{where or 'the network'}: {func.__name__} writes into two tensors")
        if written:
            self._write(func, args, kwargs, written[0], where, self.counter.macs - macs)
        elif tensors(result):
            call = pure_call(func, args, kwargs)
            self._add(_inside(where, call.label), call, result, self.counter.macs - macs, [])
        elif func.__name__ in _READS:
            self._refuse_reading(tensors((args, kwargs)), where or "the network")
        return result

    def _refuse_reading(self, read: list[Tensor], where: str) -> None:
        """What Python learns from the image cannot be on a tape."""
        for tensor in read:
            step = self.book.known(tensor, where)
            if step is not None and self.depends[step]:
                raise NotCuttable(f"{where}: its course depends on numbers, not only on shapes")

    def _write(
        self, func: Any, args: Any, kwargs: Any, written: Tensor, where: str, macs: int
    ) -> None:
        """`func` wrote into a tensor: the tape gets a step that makes a new one."""
        chain, root = self.book.views(self._step_of(written))
        call: Call | None = None
        if chain and args and args[0] is written:
            views = [self.tape.steps[step].call for step in chain]
            call = writing_through(Ref(root), views, func, args, kwargs)
        if call is None:
            call = writing_call(func, args, kwargs, written, where or "the network")
            self._add(_inside(where, call.label), call, written, macs, [written])
            return
        plain = replace(call, args=self._plain(call.args), kwargs=self._plain(call.kwargs))
        name = _inside(where, call.label)
        step = self._append(name, plain, self.tape.steps[root].value, macs)
        self.book.overwritten(written, step, name, root)

    def _add(self, name: str, call: Call, value: Any, macs: int, written: list[Tensor]) -> None:
        """Write a step down; its arguments are looked up before its results are entered."""
        plain = replace(call, args=self._plain(call.args), kwargs=self._plain(call.kwargs))
        before = [self.book.views(self._step_of(tensor)) for tensor in written]
        step = self._append(name, plain, value, macs)
        for tensor, (chain, root) in zip(written, before, strict=True):
            self.book.overwritten(tensor, step, name, None if chain else root)
        if not written:
            self._enter_results(value, step, name)

    def _enter_results(self, value: Any, step: int, name: str) -> None:
        """Tensors inside a tuple, list or dict get a step of their own that takes them out."""
        if isinstance(value, Tensor):
            self.book.enter(value, step)
            return
        self.book.enter_parts(value, step)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        prefix = name if self.tape.steps[step].call.op == "call_module" else name.rpartition(".")[0]
        for key, item in pairs:
            if tensors(item):
                call = Call("call_function", operator.getitem, (Ref(step), key), {}, "getitem")
                inner = _inside(prefix, "getitem")
                self._enter_results(item, self._append(inner, call, item, 0), inner)

    def _call_of(self, step: int) -> Call:
        return self.tape.steps[step].call

    def _again(self, step: int, source: int) -> int:
        """A view taken again, from another step."""
        old = self.tape.steps[step]
        return self._append(old.name, moved(old.call, source), old.value, 0)

    def _append(self, name: str, call: Call, value: Any, macs: int) -> int:
        unique, number = name, 0
        ours = call.op == "call_module"
        # The path of a module is kept for its own first call.
        while unique in self.taken or (unique in self.modules and not (ours and number == 0)):
            number += 1
            unique = f"{name}_{number}"
        self.taken.add(unique)
        self.tape.steps.append(Step(unique, call, shapes(value), macs))
        sources = refs((call.args, call.kwargs))
        self.depends.append(call.op == "input" or any(self.depends[i] for i in sources))
        return len(self.tape.steps) - 1

    def _plain(self, value: Any) -> Any:
        return map_leaves(value, self._plain_leaf)

    def _plain_leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.device) and leaf == self.device:
            return Device()
        if isinstance(leaf, Tensor):
            return Ref(self._step_of(leaf))
        return leaf

    def _step_of(self, tensor: Tensor) -> int:
        """The step that made `tensor`; parameters, buffers and constants get theirs here."""
        where = self.stack[-1] if self.stack else "the network"
        step = self.book.known(tensor, where)
        if step is None:
            name = self.book.attribute(tensor)
            if name is None and tensor.is_meta:
                raise NotCuttable(
                    f"{where}: uses a tensor whose making cannot be followed (a scripted or "
                    "compiled function); such a network cannot be cut"
                )
            if name is None:
                name = f"_constant_{len(self.tape.constants)}"
                self.tape.constants[name] = tensor
            step = self._append(name, Call("get_attr", name, (), {}, ""), tensor, 0)
            self.book.enter(tensor, step)
        return step


def _inside(path: str, label: str) -> str:
    return f"{path}.{label}" if path else label
