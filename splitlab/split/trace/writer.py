"""Writes a tape: steps with unique names, and a reference for every tensor."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.errors import NotCuttable
from splitlab.split.limits.contexts import Autocast
from splitlab.split.limits.leaf import Inside, hidden
from splitlab.split.limits.modules import unfollowed
from splitlab.split.limits.numbers import Numbers
from splitlab.split.trace.calls import Call, pure_call, writing_call, writing_through
from splitlab.split.trace.macs import MacCounter
from splitlab.split.trace.tape import Tape, TapeStep
from splitlab.split.trace.tensor_book import TensorBook, moved
from splitlab.split.trace.tree import Device, Ref, map_leaves, refs, shapes, tensors


class Writer:
    """Args:
    root: the network that runs; its parameters and buffers get steps where they are used.
    before: the tape of the call before, of the same network, or None.
    """

    def __init__(self, root: nn.Module, before: Tape | None) -> None:
        self.tape, self.counter, self.before = Tape(), MacCounter(), before
        self.book = TensorBook(root, self._call_of, self._again)
        self.numbers = Numbers(self.counter)
        self.inside = Inside(self.known, self.book.attribute)
        self.device = torch.device("meta")
        self.modules = {path for path, _ in root.named_modules()}
        self.taken = set[str]()
        # Path of the module that is running; "" is the network itself.
        self.where = ""
        self.originals: dict[int, str] = {}

    def refuse_original(self, original: nn.Module | None) -> None:
        """From now on a parameter or buffer of the network that was copied is refused."""
        for net in () if original is None else (original,):
            for name, tensor in (*net.named_parameters(), *net.named_buffers()):
                self.originals[id(tensor)] = name

    def known(self, tensor: Tensor) -> tuple[int, bool] | None:
        """The step that `tensor` is known by, and whether its numbers depend on the image."""
        step = self.book.step_of(tensor)
        return None if step is None else (step, self.numbers.depends[step])

    def add(
        self,
        call: Call,
        value: Any,
        macs: int,
        written: list[Tensor],
        autocast: Autocast,
        name: str | None = None,
    ) -> int:
        """Write a step down; its arguments are looked up before its results are entered."""
        name = name if name is not None else inside(self.where, call.label)
        plain = replace(call, args=self.plain(call.args), kwargs=self.plain(call.kwargs))
        before = [self.book.views(self.step_of(tensor)) for tensor in written]
        step = self._append(name, plain, value, macs, autocast)
        for tensor, (chain, root) in zip(written, before, strict=True):
            self.book.overwritten(tensor, step, name, None if chain else root)
        if not written:
            self._enter_results(value, step, name)
        return step

    def add_pure(
        self, func: Any, args: Any, kwargs: Any, value: Any, macs: int, autocast: Autocast
    ) -> None:
        """`func`, which wrote into nothing."""
        self.add(pure_call(func, args, kwargs), value, macs, [], autocast)

    def add_writing(
        self, func: Any, args: Any, kwargs: Any, written: Tensor, macs: int, autocast: Autocast
    ) -> None:
        """`func` wrote into a tensor: the tape gets a step that makes a new one."""
        chain, root = self.book.views(self.step_of(written))
        call: Call | None = None
        if self.tape.steps[root].call.op == "get_attr":
            self.refuse_kept(str(self.tape.steps[root].call.target))
        if chain and args and args[0] is written:
            views = [self.tape.steps[step].call for step in chain]
            call = writing_through(Ref(root), views, func, args, kwargs)
        if call is None:
            call = writing_call(func, args, kwargs, written, self.where or "the network")
            self.add(call, written, macs, [written], autocast)
            return
        plain = replace(call, args=self.plain(call.args), kwargs=self.plain(call.kwargs))
        name = inside(self.where, call.label)
        step = self._append(name, plain, self.tape.steps[root].value, macs, autocast)
        self.book.overwritten(written, step, name, root)

    def refuse_kept(self, name: str) -> None:
        """
        Raises:
            NotCuttable: `name`, which was written to, is a parameter or buffer.
        """
        if name not in self.tape.constants:
            raise NotCuttable(
                f"{name.removeprefix('net.')} is written to in eval mode, so that an answer "
                "depends on the calls before it; such a network cannot be cut"
            )

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
                inner = inside(prefix, "getitem")
                self._enter_results(item, self._append(inner, call, item, 0), inner)

    def _call_of(self, step: int) -> Call:
        return self.tape.steps[step].call

    def _again(self, step: int, source: int) -> int:
        """A view taken again, from another step."""
        old = self.tape.steps[step]
        return self._append(old.name, moved(old.call, source), old.value, 0)

    def _append(self, name: str, call: Call, value: Any, macs: int, autocast: Autocast = ()) -> int:
        unique, number = name, 0
        ours = call.op == "call_module"
        # The path of a module is kept for its own first call.
        while unique in self.taken or (unique in self.modules and not (ours and number == 0)):
            number += 1
            unique = f"{name}_{number}"
        self.taken.add(unique)
        self.tape.steps.append(TapeStep(unique, call, shapes(value), macs, autocast))
        self.numbers.add(call, refs((call.args, call.kwargs)), self.tape.steps[-1].value)
        return len(self.tape.steps) - 1

    def plain(self, value: Any) -> Any:
        """`value` with a `Ref` for every tensor."""
        return map_leaves(value, self._plain_leaf)

    def _plain_leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.device) and leaf == self.device:
            return Device()
        if isinstance(leaf, torch.Generator):
            raise NotCuttable(
                f"{self.where or 'the network'}: draws from a generator of its own, whose state is "
                "kept from call to call; let it draw from torch's own"
            )
        return Ref(self.step_of(leaf)) if isinstance(leaf, Tensor) else leaf

    def step_of(self, tensor: Tensor) -> int:
        """The step that made `tensor`; parameters, buffers and constants get theirs here."""
        where = self.where or "the network"
        step = self.book.known(tensor, where)
        if step is None:
            name = self.book.attribute(tensor)
            kept = self._of_the_call_before(tensor)
            maker = self.inside.maker(tensor)
            if name is None and id(tensor) in self.originals:
                raise NotCuttable(
                    f"{where}: a hook or a closure holds the network's {self.originals[id(tensor)]}"
                    " itself, and its own copy could not reach it; let it use the module that it "
                    "is given"
                )
            if maker is not None:
                raise NotCuttable(hidden(where, maker.path))
            if name is None and tensor.is_meta and not kept:
                raise NotCuttable(f"{where}: {unfollowed(tensor)}")
            if name is None:
                name = f"_constant_{len(self.tape.constants)}"
                self.tape.constants[name] = tensor
            step = self._append(name, Call("get_attr", name, (), {}, ""), tensor, 0)
            self.book.enter(tensor, step)
        return step

    def _of_the_call_before(self, tensor: Tensor) -> bool:
        """Whether the call before made `tensor`, and not from the image.

        Raises:
            NotCuttable: it made it from the image.
        """
        made = self.before.left.get(id(tensor)) if self.before is not None else None
        if made is not None and made[1]:
            raise NotCuttable(
                f"{self.where or 'the network'}: uses what an earlier call made of its images, so "
                "that an answer depends on the calls before it; such a network cannot be cut"
            )
        return made is not None


def inside(path: str, label: str) -> str:
    """The name of an operation in a module."""
    return f"{path}.{label}" if path else label
