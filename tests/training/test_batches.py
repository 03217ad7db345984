"""How rows become batches: none of a single row, where there is another to join."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from splitlab.training import State, TensorSource, batch_count, fit
from splitlab.training.source import in_batches


@pytest.mark.parametrize(
    ("rows", "size", "wanted"),
    [
        (17, 16, [17]),
        (33, 16, [16, 17]),
        (18, 16, [16, 2]),
        (32, 16, [16, 16]),
        (1, 16, [1]),
        (3, 1, [1, 1, 1]),
        (5, 2, [2, 3]),
    ],
)
def test_a_single_row_that_is_left_joins_the_batch_before_it(rows, size, wanted):
    parts = in_batches(torch.arange(rows), size)
    assert [len(part) for part in parts] == wanted
    assert torch.equal(torch.cat(parts), torch.arange(rows))
    assert batch_count(rows, size) == len(wanted)


def test_a_network_with_batch_norms_learns_from_any_number_of_rows():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    rows, seen = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)), []

    def step(state, batch):
        seen.append(len(batch.indices))
        (values,) = batch.tensors
        return {"net": F.mse_loss(state.modules["net"](values), values[:, :1])}

    state = State({"net": net.train()}, {"net": torch.optim.Adam(net.parameters())})
    history = fit(step, state, TensorSource((rows,)), epochs=2, batch_size=4, seed=0, device="cpu")
    assert seen == [4, 5] * 2
    assert history.images == 18
