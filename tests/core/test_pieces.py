"""Rows a piece at a time are what they are at once."""

import torch

from splitlab.pieces import in_pieces


def test_pieces_are_as_large_as_asked_and_come_back_in_order():
    rows, sizes = torch.arange(10.0)[:, None], []

    def doubled(part):
        sizes.append(len(part))
        return 2 * part

    assert torch.equal(in_pieces(doubled, rows, 4), 2 * rows)
    assert sizes == [4, 4, 2]


def test_a_piece_is_run_where_it_is_told_and_comes_back():
    seen = []

    def run(part):
        seen.append(part.device.type)
        return torch.zeros(len(part), 3)

    found = in_pieces(run, torch.zeros(3, 2), 2, "meta")
    assert seen == ["meta", "meta"]
    assert found.device.type == "cpu"
    assert found.shape == (3, 3)
