"""Weights from a file into a network: what torch.save or safetensors wrote, never unpickled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from splitlab.errors import Mismatch, foreign
from splitlab.models.normalised import Normalised
from splitlab.models.weights import (
    check_finite,
    check_plain,
    fitted,
    outputs_of,
    read_content,
    state_dict_in,
)
from splitlab.models.weights.fitting import with_counters
from splitlab.models.weights.made_of import made_of

MOCO, PROJECTION = "module.encoder_q.", "fc."


def load_checkpoint(
    net: Normalised, path: Path | str, key: str | None = None, *, fresh: Collection[str] = ()
) -> tuple[str, ...]:
    """Load `path` into `net.net`, every key and shape; returns notes on what was chosen.

    Self-supervised weights (MoCo) have no classifier: the network's own, untrained, stays. A RepVGG
    in deploy form takes a checkpoint of either form. The network is unchanged by a refusal.

    Args:
        key: which of several state dicts in the file; see `state_dict_in`.
        fresh: names of the network's tensors that stay its own, e.g. those of a new classifier.

    Raises:
        BadInput, Corrupt: as of `read_checkpoint`, or weights that are NaN or infinite.
        Mismatch: keys or shapes of another network; names the first ones.
    """
    wanted = net.net.state_dict()
    tensors, notes, supervised = _named(path, key)
    if not supervised:
        fresh = {*fresh, *(name for name in wanted if name.startswith(PROJECTION))}
        notes = (*notes, "took the query encoder of a MoCo checkpoint; its classifier is untrained")
    tensors, more = fitted(tensors, wanted, str(path))
    check_plain(tensors, wanted, path)
    tensors = {name: value for name, value in tensors.items() if name not in fresh}
    tensors |= {name: wanted[name] for name in fresh}
    own_form = getattr(net.net, "own_form", None)
    if own_form is not None:
        tensors = own_form(tensors, str(path))
    tensors = with_counters(tensors, wanted)
    _require_fit(wanted, tensors, str(path))
    with torch.no_grad():
        cast = {name: tensors[name].to(value.dtype) for name, value in wanted.items()}
    check_finite(cast, path)
    net.net.load_state_dict(cast)
    return (*notes, *more)


def checkpoint_outputs(net: Normalised, path: Path | str, key: str | None = None) -> int | None:
    """How many classes the weights in `path` tell apart, where `net` differs in that alone.

    Raises:
        BadInput, Corrupt: as of `read_checkpoint`.
    """
    wanted = net.net.state_dict()
    tensors, _, _ = _named(path, key)
    return outputs_of(fitted(tensors, wanted, str(path))[0], wanted)


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of a file.

    A state dict may lie under "state_dict" (or "model", "net") and its keys may begin with
    "module." (DataParallel) or "net." (saved from `Normalised`). Of a MoCo checkpoint the query
    encoder is taken, without the projection in place of its classifier.

    Raises:
        BadInput: no such file, or an unknown ending.
        Corrupt: not readable, or holds something else than named tensors.
    """
    tensors, _, _ = _named(path, None)
    clear = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    for prefix in ("module.", "net."):
        if clear and all(key.startswith(prefix) for key in clear):
            clear = {key.removeprefix(prefix): value for key, value in clear.items()}
    check_plain(clear, {}, path)
    return clear


def _named(path: Path | str, key: str | None) -> tuple[dict[str, Tensor], tuple[str, ...], bool]:
    """The tensors of a file, notes, and whether a classifier was learned with them."""
    tensors, _, notes = state_dict_in(read_content(path), path, key)
    if any(name.startswith(MOCO) for name in tensors):
        query = {k.removeprefix(MOCO): v for k, v in tensors.items() if k.startswith(MOCO)}
        return {k: v for k, v in query.items() if not k.startswith(PROJECTION)}, notes, False
    return tensors, notes, True


def load_exactly(net: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load `tensors` into `net` strictly, with an error that names what does not fit.

    Raises:
        Mismatch: missing or unexpected keys, or another shape; `net` is then unchanged.
    """
    _require_fit(net.state_dict(), tensors, source)
    net.load_state_dict(dict(tensors))


def _require_fit(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    missing = [key for key in wanted if key not in tensors]
    unexpected = [key for key in tensors if key not in wanted]
    if missing or unexpected:
        made = made_of(tensors, wanted)
        if made is not None:
            raise Mismatch(f"{source} holds {foreign(made, 500)}")
        hint = "; for a new last layer give --new-classifier" if _is_last(missing, wanted) else ""
        raise Mismatch(
            f"{source} is of another network: {_some(missing)} missing, "
            f"{_some(unexpected)} unexpected; check name, classes and arguments{hint}"
        )
    shapes = [
        f"{key} is {tuple(tensors[key].shape)}, wanted {tuple(value.shape)}"
        for key, value in wanted.items()
        if tensors[key].shape != value.shape
    ]
    outputs = outputs_of(tensors, wanted)
    if outputs is not None:
        own = next(v.shape[0] for k, v in wanted.items() if tensors[k].shape != v.shape)
        raise Mismatch(
            f"{source} tells {outputs} classes apart and {own} are wanted ({_some(shapes)}); use "
            f"all its outputs with --classes FILE (their {outputs} names in order, one a line), or "
            "keep all but the last layer and train a new one with --new-classifier"
        )
    if shapes:
        raise Mismatch(f"{source} is of another network: {_some(shapes)}; check name and arguments")


def _is_last(missing: list[str], wanted: Mapping[str, Tensor]) -> bool:
    """Whether it is all of the last layer, and nothing else, that is missing."""
    layer = next(reversed(list(wanted)), "").rpartition(".")[0]
    return bool(missing) and missing == [k for k in wanted if k.rpartition(".")[0] == layer]


def _some(words: list[str]) -> str:
    if not words:
        return "nothing"
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(foreign(word, 120) for word in words[:3]) + more
