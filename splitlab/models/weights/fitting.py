"""Names of somebody's state dict -> names of the network: prefixes off, companions left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from splitlab.errors import BadInput, foreign

_TRANSPARENT = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch puts between the names of a compiled or sharded network, anywhere in them."""
_WRAPPERS = {"module", "model", "net", "network", "backbone", "encoder", "classifier", "student"}
_COUNTED = ".num_batches_tracked"
_COMPANIONS = ("n_averaged", "total_ops", "total_params")
"""What tools keep in a state dict beside the weights: averaging, profilers."""
_AVERAGED = re.compile(r"(^|[._])\w*(ema|swa|teacher|momentum|shadow)\w*([._]|$)")


def fitted(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`tensors` under the network's names as far as they can be told, and notes.

    Prefixes ("module.", "model.", "_orig_mod.", any at all) come off where what is left is the
    network; of several that would do, one of a training script's own wrappers is taken. What lies
    outside of the prefix, and what tools leave beside weights, is left out with a note. Counters
    of batch norms that are missing are the network's own. Anything else stays, for the strict
    check that follows.

    Raises:
        BadInput: several copies of the network lie side by side and none is plain.
    """
    clear = _without_transparent(tensors, wanted)
    prefix, notes = _prefix(clear, wanted, source)
    inside = {k[len(prefix) :]: v for k, v in clear.items() if k.startswith(prefix)}
    outside = [k for k in clear if not k.startswith(prefix)]
    kept = {k: v for k, v in inside.items() if k in wanted or not _companion(k, v)}
    left = [*outside, *(prefix + k for k in inside if k not in kept)]
    if left:
        notes = (*notes, f"left out {_some(left)}, of no layer of this network")
    return kept, notes


def with_counters(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors`, and the network's own counters of batch norms where they are not there."""
    own = {k: v for k, v in wanted.items() if k.endswith(_COUNTED) and k not in tensors}
    return {**tensors, **own}


def _without_transparent(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    mine = {piece for key in wanted for piece in key.split(".")}
    gone = _TRANSPARENT - mine
    clear = {".".join(p for p in k.split(".") if p not in gone): v for k, v in tensors.items()}
    return clear if len(clear) == len(tensors) else dict(tensors)


def _prefix(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str
) -> tuple[str, tuple[str, ...]]:
    """The prefix under which most of the network lies, and a note where it is one of several."""
    needed = [key for key in wanted if not key.endswith(_COUNTED)]
    if not needed:
        return "", ()
    probes = {needed[i * (len(needed) - 1) // 6] for i in range(7)}
    offered = {k[: -len(p)] for k in tensors for p in probes if k == p or k.endswith(f".{p}")}
    counts = {prefix: sum(prefix + key in tensors for key in needed) for prefix in offered}
    most = max(counts.values(), default=0)
    best = sorted((p for p, count in counts.items() if count == most), key=len)
    if len(best) < 2 or most < len(needed):
        return (best[0] if best else _common(tensors)), ()
    plain = [p for p in best if not _AVERAGED.search(p)]
    own = [p for p in plain if set(p.split(".")[:-1]) <= _WRAPPERS]
    for few in (own, plain):
        if few[:1] == [""] or len(few) == 1:
            others = [p.removesuffix(".") for p in best if p != few[0]]
            said = f"took the tensors under {few[0]!r}, not those under {_some(others)}"
            return few[0], (f"{said}; --weights-key {others[0]} takes those",)
    shown = ", ".join(repr(p.removesuffix(".")) for p in best[:6])
    raise BadInput(
        f"checkpoint {source}: holds the network {len(best)} times ({foreign(shown, 300)}); name "
        "the one to take with --weights-key"
    )


def _common(tensors: Mapping[str, Tensor]) -> str:
    """The wrappers that all names share, for a network that is not this one."""
    prefix = ""
    while tensors:
        heads = {key[len(prefix) :].partition(".")[0] for key in tensors}
        if len(heads) != 1 or not heads <= _WRAPPERS:
            break
        prefix += f"{heads.pop()}."
    return prefix


def _companion(name: str, value: Tensor) -> bool:
    """Whether it is a counter or another single number that no layer is made of."""
    if name.rpartition(".")[2] in _COMPANIONS:
        return True
    if f".{name}".endswith(_COUNTED):  # a batch norm that this network has not is no companion
        return False
    return value.ndim == 0 and ("." not in name or not value.is_floating_point())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(foreign(name, 80) for name in names[:3]) + more
