"""What a network does to one batch, operation by operation, as a tape that can be repeated."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from splitlab.errors import NotCuttable
from splitlab.split.limits.batch_size import has_batch, plain_number
from splitlab.split.limits.contexts import autocast_now, autocast_off
from splitlab.split.limits.gradients import refuse_gradient
from splitlab.split.limits.leaf import OpenCall, open_call, refuse_packed, refuse_packing
from splitlab.split.limits.sizes import Sizes, reads_shape
from splitlab.split.limits.watching import watched_builtins
from splitlab.split.trace.calls import Call
from splitlab.split.trace.tape import Tape
from splitlab.split.trace.tensor_book import changed, versions
from splitlab.split.trace.tree import map_leaves, refs, tensors
from splitlab.split.trace.writer import Writer

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


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


def record(
    shadow: nn.Module,
    images: Tensor,
    earlier: tuple[Tape, int] | None = None,
    before: Tape | None = None,
    original: nn.Module | None = None,
) -> Tape:
    """Run `shadow` on `images` [B, C, H, W] and write down every operation.

    Args:
        shadow: as `splitlab.split.trace.twin.shadow` makes it; hooks are set on it and removed.
        images: on the shadow's device.
        earlier: the tape of another batch size, and that size: what follows the batch is seen.
        before: the tape of the call before, of this very shadow: what was kept of it is seen.
        original: what the shadow was made from; a hook or closure may still hold it.

    Raises:
        NotCuttable: the network does something that cannot be repeated from a tape.
    """
    batches = (earlier[1] if earlier else 0, len(images))
    recorder = _Recorder(shadow, Sizes(earlier[0] if earlier else None, batches), before)
    recorder.write.refuse_original(original)
    hooks = recorder.watch()
    held = versions((*shadow.parameters(), *shadow.buffers()))
    # The fused attention of PyTorch hides its matrix products from the counter.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as stack:
            # Under inference mode tensors do not count the writes to them.
            for one in (torch.inference_mode(False), torch.no_grad(), autocast_off()):
                stack.enter_context(one)
            stack.enter_context(recorder.counter)
            if earlier is not None:
                stack.enter_context(watched_builtins())
            stack.enter_context(recorder)
            recorder.begin(images)
            output = shadow(images)
        recorder.refuse_kept(changed(held))
        recorder.tape.output = recorder.write.plain(output)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for hook in hooks:
            hook.remove()
    recorder.tape.left = recorder.book.left(recorder.numbers.depends)
    return recorder.tape


class _Recorder(TorchFunctionMode):
    """Sees every call of torch's Python interface; hooks tell it which module it is in."""

    def __init__(self, root: nn.Module, sizes: Sizes, before: Tape | None) -> None:
        super().__init__()
        self.write, self.sizes = Writer(root, before), sizes
        self.tape, self.counter, self.book = self.write.tape, self.write.counter, self.write.book
        self.numbers = self.write.numbers
        self.paths = {module: path for path, module in root.named_modules()}
        self.calls: Counter[str] = Counter()
        self.stack: list[OpenCall] = []
        # The open call of a module that counts as one operation, and how many are inside it.
        self.leaf: OpenCall | None = None
        self.modes = 0

    def watch(self) -> list[Any]:
        """Hooks on every module, around its own ones; the list is for their removal."""
        hooks: list[Any] = []
        for module in self.paths:
            before = module.register_forward_pre_hook
            after = module.register_forward_hook
            hooks.append(before(self._enter, with_kwargs=True, prepend=True))
            hooks.append(after(self._leave, with_kwargs=True))
            if is_leaf(module):
                hooks.append(before(self._start, with_kwargs=True))
                hooks.append(after(self._done, with_kwargs=True, prepend=True))
        return hooks

    def begin(self, images: Tensor) -> None:
        """The input is step 0."""
        self.modes = torch._C._len_torch_dispatch_stack()
        self.write.device = images.device
        self.write.add(Call("input", "images", (), {}, ""), images, 0, [], (), "input")

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._refuse_transform()
        path, macs, first = self.paths[module], self.counter.macs, len(self.tape.steps)
        self.stack.append(open_call(module, path, args, kwargs, macs, first, autocast_now()))
        self.write.where = path

    def _start(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """The module's own pre-hooks have run: they are on the tape, or make its weights."""
        del module
        if self.leaf is not None:
            return
        call = self.leaf = self.stack[-1]
        if not call.sets_attributes():
            call.args, call.kwargs = args, kwargs
            call.before, call.macs = versions((args, kwargs)), self.counter.macs
            return
        self.tape.kept.add(call.path)
        if any(self.numbers.depends[call.first :]) or changed(call.before):
            raise NotCuttable(
                f"{call.path}: a forward pre-hook sets attributes of the module and reads its "
                "input; such a network cannot be cut"
            )

    def _done(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """What the module itself answers, before its own hooks see it."""
        del args, kwargs
        call = self.stack[-1]
        if self.leaf is not call:
            return
        self.leaf = None
        given, written = call.args, changed(call.before)
        refuse_packed((given, call.kwargs, output), call.path)
        nothing = isinstance(module, (nn.Identity, nn.modules.dropout._DropoutNd))
        if nothing and not written and given and output is given[0]:
            return
        if written and not (getattr(module, "inplace", False) and output is written[0]):
            raise NotCuttable(f"{call.path} writes into its input and has no flag against it")
        done = Call("call_module", call.path, given, call.kwargs, "")
        macs = self.counter.macs - call.macs
        call.step = self.write.add(done, output, macs, written, call.autocast, call.path)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        del args, kwargs
        call, path = self.stack.pop(), self.paths[module]
        self.write.where = self.stack[-1].path if self.stack else ""
        if self.leaf is not None:
            return
        number, self.calls[path] = self.calls[path], self.calls[path] + 1
        found = tensors(output)
        step = self.book.known(found[0], path) if len(found) == 1 else None
        if step is not None:
            self._tell_apart(call.step, step)
            self.tape.ends.append((path, number, step))

    def _tell_apart(self, own: int | None, end: int) -> None:
        """Where a module's hooks change its answer, the module's name is that of the change."""
        if own is None or own == end or self.tape.steps[own].call.label:
            return
        if any(own in refs(step.call.args) for step in self.tape.steps[own + 1 : end + 1]):
            step = self.tape.steps[own]
            self.tape.steps[own] = replace(step, name=f"{step.name}.forward")

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func is Tensor.__iter__ and self.leaf is None:
            return iter(self.__torch_function__(Tensor.unbind, (), (args[0], 0)))
        self._refuse_transform()
        refuse_gradient(func, self.write.where)
        marked_args, marked_kwargs = args, kwargs
        if has_batch((args, kwargs)):
            args, kwargs = map_leaves((args, kwargs), plain_number)
        read = tensors((args, kwargs))
        if self.leaf is None:
            refuse_packing(func, self.write.where)
            self.numbers.refuse_reading(func, self._steps(read), self.write.where)
        else:
            self.write.inside.check(read, self.leaf, (self.leaf.args, self.leaf.kwargs))
        macs, autocast = self.counter.macs, autocast_now()
        movable_args, movable_kwargs = self.book.movable((args, kwargs))
        used = tensors((movable_args, movable_kwargs))
        before = versions((read, used))
        with self.numbers.watched(self.write.where):
            result = self._run(func, movable_args, movable_kwargs)
        if self.leaf is not None:
            self.write.inside.made(result, self.leaf)
            return result
        # What was written to without its numbers was written to.
        touched = {id(tensor) for tensor in changed(before)}
        pairs = zip(read, used, strict=True)
        written = list({id(a): a for a, b in pairs if touched & {id(a), id(b)}}.values())
        self.refuse_kept(written)
        written = self.book.one_of(written, (kwargs.get("out"), *args[:1]))
        if len(written) > 1:
            raise NotCuttable(
                f"{self.write.where or 'the network'}: {func.__name__} writes into two tensors"
            )
        macs = self.counter.macs - macs
        if written:
            self.write.add_writing(func, marked_args, marked_kwargs, written[0], macs, autocast)
        elif tensors(result):
            self._refuse_dividing(func, args, kwargs)
            self.write.add_pure(func, marked_args, marked_kwargs, result, macs, autocast)
        elif reads_shape(func) and read:
            return self._sized(func, args, kwargs, result)
        return result

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """
        Raises:
            NotCuttable: the network has entered a mode that changes what operations do.
        """
        if torch._C._len_torch_dispatch_stack() > self.modes:
            raise NotCuttable(
                f"{self.write.where or 'the network'}: it enters a TorchDispatchMode, which a part "
                "would not enter; such a network cannot be cut"
            )
        if not torch.is_inference_mode_enabled():
            return func(*args, **kwargs)
        with torch.inference_mode(False), torch.no_grad():
            return func(*args, **kwargs)

    def _refuse_transform(self) -> None:
        """
        Raises:
            NotCuttable: the network is inside `torch.vmap` or another transform of torch.func.
        """
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise NotCuttable(
                f"{self.write.where or 'the network'}: it uses torch.vmap (or another transform of "
                "torch.func), and what is done inside cannot be followed; write it for a batch"
            )

    def _steps(self, read: list[Tensor]) -> list[int]:
        found = [self.book.step_of(tensor) for tensor in read]
        return [step for step in found if step is not None]

    def _sized(self, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
        step = self.book.step_of(args[0])
        if step is not None:
            self.numbers.refuse_ragged(step, self.write.where)
        factors = self.sizes.factors(step, args[0])
        if factors is None:
            return result
        return self.sizes.answer(func, args, kwargs, factors, self.write.where)

    def _refuse_dividing(self, func: Any, args: Any, kwargs: Any) -> None:
        if args and isinstance(args[0], Tensor):
            factors = self.sizes.factors(self.book.step_of(args[0]), args[0])
            if factors is not None:
                self.sizes.refuse_dividing(func, args, kwargs, factors, self.write.where)

    def refuse_kept(self, written: list[Tensor]) -> None:
        """
        Raises:
            NotCuttable: a parameter or buffer is among what was written to.
        """
        for tensor in written:
            name = self.book.attribute(tensor)
            if name is not None:
                self.write.refuse_kept(name)
