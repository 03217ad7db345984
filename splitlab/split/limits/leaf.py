"""A module that counts as one operation runs as it is, so it may only use what it is given."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from splitlab.errors import NotCuttable
from splitlab.split.limits.contexts import Autocast
from splitlab.split.trace.tensor_book import Versions, versions
from splitlab.split.trace.tree import tensors


@dataclass
class OpenCall:
    """A call of a module that is open.

    Args:
        args, kwargs: before its own hooks saw them.
        before: versions of what it is given.
        macs: the counter's, at its start.
        first: the step that is written next.
        made: ids of what its attributes hold.
        autocast: what is on where it is called.
        step: the one it became; None while it is open, or where it did nothing.
    """

    module: nn.Module
    path: str
    args: Any
    kwargs: Any
    before: Versions
    macs: int
    first: int
    made: dict[str, int]
    autocast: Autocast
    step: int | None = None

    def sets_attributes(self) -> bool:
        """Whether a pre-hook has given the module other attributes, as a weight norm does."""
        return self.made != attributes(self.module)


def open_call(
    module: nn.Module, path: str, args: Any, kwargs: Any, macs: int, first: int, autocast: Autocast
) -> OpenCall:
    """The call before any hook of the module has run."""
    given = versions((args, kwargs))
    made = attributes(module)
    return OpenCall(module, path, args, kwargs, given, macs, first, made, autocast)


def attributes(module: nn.Module) -> dict[str, int]:
    """Which tensors and parameters a module holds, by identity."""
    held = {**vars(module), **module._parameters, **module._buffers}
    return {name: id(value) for name, value in held.items() if isinstance(value, Tensor)}


class Inside:
    """What was made inside modules that count as one operation.

    Args:
        step_of: tensor -> the step that it is known by, and whether that depends on the image.
        name_of: tensor -> the name of the parameter or buffer that it is.
    """

    def __init__(
        self,
        step_of: Callable[[Tensor], tuple[int, bool] | None],
        name_of: Callable[[Tensor], str | None],
    ) -> None:
        self._step_of, self._name_of = step_of, name_of
        self._made: dict[int, tuple[weakref.ref[Tensor], OpenCall]] = {}

    def made(self, result: Any, call: OpenCall) -> None:
        """`result` came to be inside `call`."""
        for tensor in tensors(result):
            self._made.setdefault(id(tensor), (weakref.ref(tensor), call))

    def maker(self, tensor: Tensor) -> OpenCall | None:
        """The call inside which `tensor` was made, if there is one."""
        found = self._made.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def check(self, read: list[Tensor], call: OpenCall, given: Any) -> None:
        """
        Raises:
            NotCuttable: `call` reads something of the network that is neither its own nor given.
        """
        for tensor in read:
            maker = self.maker(tensor)
            if maker is call or any(tensor is one for one in tensors(given)):
                continue
            known = self._step_of(tensor)
            if maker is not None and known is None:
                raise NotCuttable(hidden(call.path, maker.path))
            if known is not None and known[1]:
                raise NotCuttable(
                    f"{call.path or 'the network'}: reads a tensor that is not handed to it; hand "
                    "it over as an argument, or let the outer forward do this"
                )
            self._refuse_borrowed(tensor, call)

    def _refuse_borrowed(self, tensor: Tensor, call: OpenCall) -> None:
        name = self._name_of(tensor)
        if name is None or name.startswith(f"{call.path}."):
            return
        own = (*call.module.parameters(), *call.module.buffers())
        if not any(tensor is one for one in own):
            raise NotCuttable(
                f"{call.path}: reads {name} of another module, which it does not hold itself; "
                "make it a parameter of this one too, or let the outer forward do this"
            )


def refuse_packing(func: Any, where: str) -> None:
    """
    Raises:
        NotCuttable: `func` packs a padded sequence, or pads a packed one.
    """
    if func.__name__ in ("_pack_padded_sequence", "_pad_packed_sequence"):
        raise _packed(where)


def refuse_packed(value: Any, where: str) -> None:
    """
    Raises:
        NotCuttable: a packed sequence is in `value`, what a module was given or answers.
    """
    if isinstance(value, PackedSequence):
        raise _packed(where)
    parts = value if isinstance(value, (tuple, list)) else ()
    for part in value.values() if isinstance(value, dict) else parts:
        refuse_packed(part, where)


def _packed(where: str) -> NotCuttable:
    return NotCuttable(
        f"{where or 'the network'}: it uses a packed sequence (pack_padded_sequence), which "
        "follows the batch size; give the layer the padded tensor itself, since all images of a "
        "batch are of one size"
    )


def hidden(where: str, maker: str) -> str:
    """The message about a tensor that left a module by another way than its answer."""
    return (
        f"{where or 'the network'}: uses a tensor that {maker} made inside and did not return (an "
        "attribute or a hook keeps it); let it return it"
    )
