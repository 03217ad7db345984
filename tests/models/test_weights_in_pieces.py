"""Checkpoints of networks that were pruned, normed or parametrised: each has its own remedy."""

import pytest
from test_wild_checkpoints import prefixed, refused, weights

from splitlab.errors import Mismatch


def made_of(state, name, *ends):
    """`state` with one weight in pieces, whose names these ends make."""
    stem = name.removesuffix("weight")
    pieces = {f"{stem}{end}": state[name].clone() for end in ends}
    return {k: v for k, v in state.items() if k != name} | pieces


PIECES = [
    (("weight_orig", "weight_mask"), "prune.remove"),
    (("weight_orig",), "prune.remove"),
    (("weight_orig", "weight_u", "weight_v"), "remove_spectral_norm"),
    (("weight_g", "weight_v"), "remove_weight_norm"),
    (("parametrizations.weight.original0",), "remove_parametrizations"),
]


@pytest.mark.parametrize("name", ["block1.0.weight", "fc.weight"])
@pytest.mark.parametrize(("ends", "remedy"), PIECES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_in_pieces_get_a_remedy_of_their_own(tmp_path, name, ends, remedy, prefix):
    words = refused(
        tmp_path / "net.pth", prefixed(prefix, made_of(weights(), name, *ends)), Mismatch
    )
    assert remedy in words
    assert "--new-classifier" not in words
