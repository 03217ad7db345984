"""The one state dict in the content of a file: under a known name, or named by the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from splitlab.errors import BadInput, Corrupt, foreign

PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""Names under which training scripts keep the weights themselves, the usual ones first."""
_FURTHER = ("params", "model_weights", "module", "classifier", "backbone", "encoder")
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)([._]|\d|$)|^ema|ema$")
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|rng|callback|loops|hyper|^args|^opt$|config|grad")
_DEPTH = 3
_QUANTISED = "save the state dict of the network before it was quantised"


class StateDict(NamedTuple):
    """Args:
    tensors: by name, as they stand in the file.
    place: name under which they stood, "" for the file's own content.
    notes: what a user should know of the choice, one sentence each.
    """

    tensors: dict[str, Tensor]
    place: str
    notes: tuple[str, ...]


def state_dict_in(content: Any, path: Path | str, key: str | None = None) -> StateDict:
    """The named tensors in `content`.

    Weights that were averaged (EMA) are taken where they are alone; beside plain ones the plain
    ones are taken, and a note says so.

    Args:
        key: the name to take, as "model_ema"; dots lead further down.

    Raises:
        BadInput: `key` names nothing, or several state dicts lie side by side and none is named.
        Corrupt: there is no state dict, or it is quantised.
    """
    if not isinstance(content, Mapping) or not content:
        what = "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise Corrupt(path, f"holds {what}, no state dict", "save net.state_dict() alone")
    found = dict(_candidates(content))
    if not found:
        lone = next(iter(content))
        raise Corrupt(
            path, f"no state dict: {foreign(repr(lone), 80)} is no tensor", "save a plain one"
        )
    if key is not None:
        return _plain(_named(found, key, path), key, path, ())
    place, notes = _chosen(found, path)
    return _plain(found[place], place, path, notes)


def _candidates(content: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, mapping) of every mapping that holds weights, without those of optimisers."""
    if any(isinstance(v, Tensor) and v.ndim for v in content.values()) or _packed(content):
        yield place, content
    for name, value in content.items():
        inner = f"{place}.{name}" if place else str(name)
        if (
            isinstance(name, str)
            and isinstance(value, Mapping)
            and inner.count(".") < _DEPTH
            and not _NO_WEIGHTS.search(name.lower())
        ):
            yield from _candidates(value, inner)


def _packed(content: Mapping[Any, Any]) -> bool:
    return any("_packed_params" in str(name) for name in content)


def _chosen(found: Mapping[str, Any], path: Path | str) -> tuple[str, tuple[str, ...]]:
    """The place to take, and what to say of it."""
    if len(found) == 1:
        place = next(iter(found))
        said = f"took the averaged weights {place!r}, there are no others"
        return place, ((said,) if _AVERAGED.search(place.lower()) else ())
    averaged = [place for place in found if _AVERAGED.search(place.lower())]
    plain = [place for place in found if place not in averaged]
    for names in (PLAIN, _FURTHER):
        for name in names:
            for place in plain:
                if place == name or place.startswith(f"{name}."):
                    return place, _beside(place, [p for p in found if p != place])
    if len(plain) == 1:
        return plain[0], _beside(plain[0], averaged)
    shown = ", ".join(repr(place or "the file itself") for place in list(found)[:6])
    raise BadInput(
        f"checkpoint {path}: holds {len(found)} state dicts ({foreign(shown, 300)}); name the one "
        "to take with --weights-key"
    )


def _beside(place: str, others: list[str]) -> tuple[str, ...]:
    named = [foreign(other, 60) for other in others if other]
    if not named:
        return ()
    return (
        f"took {place or 'the tensors in the file itself'!r} and not {', '.join(named)}; "
        f"--weights-key {named[0]} takes that instead",
    )


def _named(found: Mapping[str, Any], key: str, path: Path | str) -> Mapping[str, Any]:
    """The mapping at `key`: a place, or a prefix of names in the first that has it."""
    if key in found:
        return found[key]
    prefix = key.removesuffix(".") + "."
    for content in found.values():
        under = {str(k)[len(prefix) :]: v for k, v in content.items() if str(k).startswith(prefix)}
        if under:
            return under
    shown = ", ".join(repr(place) for place in found if place) or "no names, only tensors"
    raise BadInput(
        f"--weights-key {key}: {path} holds no weights of that name; it has {foreign(shown, 300)}"
    )


def _plain(
    content: Mapping[Any, Any], place: str, path: Path | str, notes: tuple[str, ...]
) -> StateDict:
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    strangers = [str(k) for k, v in content.items() if not isinstance(v, Tensor | Mapping)]
    odd = [k for k, v in content.items() if isinstance(v, torch.dtype | tuple)]
    if _packed(content) or odd:
        name = str(odd[0]) if odd else next(str(k) for k in content if "_packed_params" in str(k))
        raise Corrupt(path, f"{foreign(name, 80)!r} is of a quantised network", _QUANTISED)
    if strangers and not place and any(isinstance(v, Mapping) for v in content.values()):
        strangers = []  # what a training script keeps beside its weights
    if strangers:
        shown = ", ".join(foreign(name, 60) for name in strangers[:3])
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        notes = (*notes, f"left out what is no tensor: {shown}{more}")
    return StateDict(tensors, place, notes)
