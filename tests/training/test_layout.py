"""Modules train channels last, save where torch would write past its memory."""

from __future__ import annotations

import torch
from torch import nn

from splitlab.training import State, TensorSource, fit
from splitlab.training.layout import channels_last, fragile


class Watched(nn.Conv2d):
    """A convolution that remembers how its last input and its weights lay."""

    last: tuple[bool, bool] = (False, False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last
        fed = given.is_contiguous(memory_format=layout) and not given.is_contiguous()
        held = self.weight.stride(3) > 1
        self.last = fed, held
        return super().forward(given)


def trained(*layers: nn.Module) -> None:
    net = nn.Sequential(*layers)
    state = State({"net": net}, {"net": torch.optim.SGD(net.parameters(), lr=1e-3)})
    images = torch.rand(8, 3, 8, 8)
    fit(
        lambda state, batch: {"net": state.modules["net"](batch.images).square().mean()},
        state,
        TensorSource((images,)),
        epochs=1,
        batch_size=4,
        seed=0,
        device="cpu",
    )
    assert all(p.is_contiguous() for p in net.parameters())


def test_convolutions_are_trained_channels_last():
    conv = Watched(3, 8, 3, stride=2)
    trained(conv)
    assert conv.last == (True, True)


def test_a_strided_point_convolution_of_few_channels_is_not():
    conv, point = Watched(3, 3, 3, padding=1), Watched(3, 8, 1, stride=2)
    trained(conv, nn.ReLU(), point)
    assert point.last == (False, False)
    assert point(torch.rand(1, 3, 4, 4).contiguous(memory_format=torch.channels_last)).ndim == 4
    assert point.last[0]  # the hook is gone


def test_what_is_fragile():
    kinds = {
        (3, 1, 2): True,
        (7, 1, 2): True,
        (8, 1, 2): False,
        (1, 1, 2): False,
        (3, 1, 1): False,
        (3, 3, 2): False,
    }
    for (channels, kernel, stride), wanted in kinds.items():
        assert bool(fragile(nn.Conv2d(channels, 4, kernel, stride))) is wanted


def test_the_layout_is_put_back_after_an_error():
    conv = nn.Conv2d(3, 8, 3)
    try:
        with channels_last([conv], torch.device("cpu")):
            assert not conv.weight.is_contiguous()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert conv.weight.is_contiguous()
