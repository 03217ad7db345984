"""Weights from a file into a network: .pth without unpickling code, or .safetensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from splitlab.errors import BadInput, Corrupt, Mismatch
from splitlab.models.normalised import Normalised
from splitlab.storage import read_tensors

MOCO, PROJECTION = "module.encoder_q.", "fc."
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def load_checkpoint(net: Normalised, path: Path | str) -> None:
    """Load `path` into `net.net`, every key and shape; see `read_checkpoint`.

    Self-supervised weights (MoCo) have no classifier: the network's own, untrained, stays. A RepVGG
    in deploy form takes a checkpoint of either form.

    Raises:
        BadInput, Corrupt: as of `read_checkpoint`.
        Mismatch: keys or shapes of another network; names the first ones.
    """
    tensors, supervised = _named(path)
    if not supervised:
        own = net.net.state_dict()
        tensors = {**{k: v for k, v in own.items() if k.startswith(PROJECTION)}, **tensors}
    own_form = getattr(net.net, "own_form", None)
    if own_form is not None:
        tensors = own_form(tensors, str(path))
    load_exactly(net.net, tensors, str(path))


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of a file.

    A state dict may lie under "state_dict" (or "model", "net") and its keys may begin with
    "module." (DataParallel) or "net." (saved from `Normalised`). Of a MoCo checkpoint the query
    encoder is taken, without the projection in place of its classifier.

    Raises:
        BadInput: no such file, or an unknown ending.
        Corrupt: not readable, or holds something else than named tensors.
    """
    return _named(path)[0]


def _named(path: Path | str) -> tuple[dict[str, Tensor], bool]:
    """What `read_checkpoint` gives, and whether a classifier was learned with it."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"checkpoint {path}: there is no such file; give a .pth or .safetensors")
    if path.suffix == ".safetensors":
        tensors = read_tensors(path, "fetch it again")
    elif path.suffix in (".pth", ".pt", ".th", ".bin"):
        tensors = _read_pth(path)
    else:
        raise BadInput(f"checkpoint {path}: unknown ending; give .pth, .pt or .safetensors")
    if any(key.startswith(MOCO) for key in tensors):
        query = {k.removeprefix(MOCO): v for k, v in tensors.items() if k.startswith(MOCO)}
        return {k: v for k, v in query.items() if not k.startswith(PROJECTION)}, False
    for prefix in ("module.", "net."):
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors, True


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Corrupt(path, f"not loadable as plain weights ({why})", "fetch it again") from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise Corrupt(path, f"holds a {type(content).__name__}, no state dict", "give another")
    strangers = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise Corrupt(path, f"{strangers[0]!r} is no tensor", "save a plain state dict")
    return {str(key): value for key, value in content.items()}


def load_exactly(net: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load `tensors` into `net` strictly, with an error that names what does not fit.

    Raises:
        Mismatch: missing or unexpected keys, or another shape; `net` is then unchanged.
    """
    wanted = net.state_dict()
    missing = [key for key in wanted if key not in tensors]
    unexpected = [key for key in tensors if key not in wanted]
    if missing or unexpected:
        raise Mismatch(
            f"{source} is of another network: {_some(missing)} missing, "
            f"{_some(unexpected)} unexpected; check name, classes and arguments"
        )
    for key, value in wanted.items():
        if tensors[key].shape != value.shape:
            raise Mismatch(
                f"{source} is of another network: {key} is {tuple(tensors[key].shape)}, wanted "
                f"{tuple(value.shape)}; check classes and arguments"
            )
    net.load_state_dict(dict(tensors))


def _some(keys: list[str]) -> str:
    if not keys:
        return "nothing"
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
