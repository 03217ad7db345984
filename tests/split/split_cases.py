"""What the tests of splitting share: weights that hide nothing, and the one comparison."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.models import Normalised, build
from splitlab.split import Parts, cut, split_points


def stirred(arch: ArchSpec, seed: int = 0) -> Normalised:
    """`arch` in eval mode with statistics and scales that are not those of a fresh network.

    Without this a forgotten running mean of zero or a layer scale of 1e-6 would go unnoticed.
    """
    net = build(arch, seed=seed).eval()
    stir(net, seed)
    return net


def stir(net: nn.Module, seed: int = 0) -> None:
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0.0, 0.1, generator=source)
                module.running_var.uniform_(0.5, 1.5, generator=source)
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=source)
            parameter += 0.02 * (parameter.abs().mean() + 0.1) * noise


def through(parts: Parts, images: Tensor) -> Tensor:
    """Head, body and tail in turn; none may write into what it is given."""
    tensor = images
    with torch.inference_mode():
        for part in parts:
            before = tensor.clone()
            after = part(tensor)
            assert torch.equal(before, tensor)
            assert tuple(after.shape[1:]) == part.output_shape
            tensor = after
    return tensor


def error(parts: Parts, net: nn.Module, images: Tensor) -> float:
    """max |delta| / max |y| of the parts against the whole; answers must differ by image."""
    with torch.inference_mode():
        whole = net(images)
    assert torch.isfinite(whole).all()
    assert all(not torch.equal(one, two) for one, two in pairwise(whole))
    return ((through(parts, images) - whole).abs().max() / whole.abs().max()).item()


def check_network(name: str, size: int, **arguments: object) -> None:
    """The parts equal the whole at an early and a late cut, for two batch sizes.

    The first pair lies at ends of named blocks, the second at operations inside blocks if there
    are any, and has no tail.
    """
    net = stirred(ArchSpec(name=name, arguments=arguments, input=InputSpec(size=size)))
    shape = (3, size, size)
    every = split_points(net, shape, "operation")
    blocks = [point for point in every if point.kind == "block"]
    inner = [point for point in every if point.kind == "operation"] or blocks
    source = torch.Generator().manual_seed(1)
    for count, first, last in ((2, blocks[0], blocks[-1]), (3, inner[len(inner) // 2], None)):
        parts = cut(net, first.name, last.name if last else None, shape)
        images = torch.rand((count, *shape), generator=source)
        assert error(parts, net, images) <= 1e-5, (first.name, last)
