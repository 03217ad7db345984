"""Layers whose weights are made of other tensors: pruned, normed, parametrised networks."""

from __future__ import annotations

from collections.abc import Collection

_REMEDIES = {
    "a pruned network": "torch.nn.utils.prune.remove(layer, 'weight')",
    "a weight norm": "torch.nn.utils.remove_weight_norm(layer)",
    "a spectral norm": "torch.nn.utils.remove_spectral_norm(layer)",
    "a parametrised network": (
        "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
    ),
}


def made_of(names: Collection[str], wanted: Collection[str]) -> str | None:
    """What tells that weights lie in `names` as the tensors that they are made of, and a remedy.

    Args:
        names: of the file's tensors.
        wanted: the network's own.

    Returns:
        "NAME, as ... keeps it; remedy", or None.
    """
    for name in names:
        kind = None if name in wanted else _kind(name, names)
        if kind is not None:
            return (
                f"{name}, as {kind} keeps it, in place of plain weights; call "
                f"{_REMEDIES[kind]} on each such layer, which leaves the same network, and save "
                "its state dict again"
            )
    return None


def _kind(name: str, names: Collection[str]) -> str | None:
    if ".parametrizations." in f".{name}":
        return "a parametrised network"
    if name.endswith("_orig"):
        normed = any(f"{name[:-5]}{end}" in names for end in ("_u", "_v"))
        return "a spectral norm" if normed else "a pruned network"
    if name.endswith("_g") and f"{name[:-2]}_v" in names:
        return "a weight norm"
    return None
