"""What is made under inference mode is made to last: ordinary tensors that can be trained."""

import pytest
import torch
from deployments import deploy
from torch import nn

from bench.point.deploy import undefended
from defenses import parse
from splitlab.contracts import ArchSpec
from splitlab.data import ImageSet
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import cut, widen
from splitlab.split.folding import fold_batch_norm


def ordinary(module):
    tensors = [*module.parameters(), *module.buffers()]
    return not any(tensor.is_inference() for tensor in tensors)


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [
        ("tiny_cnn", "block1", None),
        ("tiny_cnn", "block1", "block2"),
        ("tiny_vit", "layers.0", None),
    ],
)
def test_networks_and_their_parts(name, head, tail):
    arch = ArchSpec(name=name, classes=5)
    with torch.inference_mode():
        net = build(arch, seed=0)
        parts = cut(net, head, tail, arch.input.shape)
        wide = widen(parts.tail, 3)
        folded = fold_batch_norm(cut(net, head, tail, arch.input.shape).body)
    assert all(map(ordinary, (net, *parts, wide, folded)))
    output = torch.rand(2, *wide.input_shape)
    wide(output).sum().backward()
    assert all(p.grad is not None for p in wide.parameters())
    with torch.no_grad():
        outside = widen(cut(build(arch, seed=0), head, tail, arch.input.shape).tail, 3)
        torch.testing.assert_close(wide(output), outside(output), rtol=0, atol=0)


def test_protectors():
    with torch.inference_mode():
        made = parse("gaussian:level=0.1,draw=fixed+dropout:level=0.2").protectors(
            (4, 8, 8), Secret.new(1)
        )
    assert ordinary(made)


def test_halves_that_are_read(tmp_path):
    deploy(tmp_path, bodies=3, chosen=(2, 0))
    with torch.inference_mode():
        client = ClientHalf.load(tmp_path / "client", parse)
        server = ServerHalf.load(tmp_path / "server")
    assert all(map(ordinary, (client.head, client.tail, client.protectors, server.bodies)))
    assert isinstance(server.bodies, nn.ModuleList)


def test_undefended_answers_of_a_deployment_with_an_adapter(tmp_path):
    """No tail on the client: the selector's outputs meet an identity, so an adapter is there."""
    from splitlab.deployment import Halves, Selector, write_deployment

    arch = ArchSpec(name="tiny_cnn", classes=2)
    parts = [cut(build(arch, seed=n).eval(), "block1.2", None, arch.input.shape) for n in (0, 1)]
    defended, secret = parse("none"), Secret.new(3)
    halves = Halves(
        arch=arch,
        head_end="block1.2",
        tail_start=None,
        head=parts[0].head,
        bodies=tuple(part.body for part in parts),
        tail=widen(parts[0].tail, 2),
        protectors=defended.protectors((8, 32, 32), secret),
        selector=Selector(2, (0, 1)),
    )
    write_deployment(
        tmp_path, halves, defended=defended, secret=secret, classes=("a", "b"), wire="FP32"
    )
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    images = ImageSet(pixels, torch.zeros(4, dtype=torch.int64), ("a", "b"), torch.arange(4))
    feature = parts[0].head(pixels.float() / 255)
    wanted = torch.stack([part.body(feature) for part in parts]).mean(0)
    torch.testing.assert_close(undefended(tmp_path, images), wanted, rtol=1e-4, atol=1e-5)
