"""RepVGG: both forms are one function; the networks of the paper have the paper's size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.errors import BadInput, Mismatch
from splitlab.models import build, load_checkpoint
from splitlab.models.normalised import Normalised
from splitlab.models.repvgg import RepVGGBlock, deployed
from splitlab.split import cut, split_points


def both_forms(name: str, size: int, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """One network with batch norms that have seen something, in both forms; merged in `dtype`."""
    given = InputSpec(size=size)
    trained = build(ArchSpec(name=name, classes=10, input=given), seed=0)
    draw = torch.Generator().manual_seed(1)
    for norm in trained.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=draw)
            for tensor in (norm.bias, norm.running_mean):
                tensor.data.normal_(0, 0.1, generator=draw)
    trained.to(dtype)
    arch = ArchSpec(name=name, classes=10, arguments={"form": "deploy"}, input=given)
    merged = build(arch, seed=3).to(dtype)
    merged.load_state_dict(deployed(trained.state_dict(), trained))
    return trained.eval(), merged.eval()


def outputs_and_gradient(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of their squares at the images."""
    images = images.clone().requires_grad_()
    answer = net(images)
    (slope,) = torch.autograd.grad(answer.square().sum(), images)
    return answer.detach(), slope


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("name", "size"), [("repvgg_mini", 32), ("repvgg_a0", 64)])
def test_both_forms_have_the_same_outputs_and_input_gradients(
    name: str, size: int, dtype: torch.dtype, most: float
) -> None:
    trained, merged = both_forms(name, size, dtype)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(dtype)
    one, slope = outputs_and_gradient(trained, images)
    other, again = outputs_and_gradient(merged, images)
    assert one.std() > 1e-3
    assert (one - other).abs().max() / one.abs().max() < most
    assert (slope - again).abs().max() / slope.abs().max() < most


def test_the_paper_s_network_has_its_size_in_both_forms() -> None:
    given = InputSpec(size=224)
    trained = build(ArchSpec(name="repvgg_a0", classes=1000, input=given), seed=0)
    assert sum(isinstance(m, RepVGGBlock) for m in trained.modules()) == 22
    arch = ArchSpec(name="repvgg_a0", classes=1000, arguments={"form": "deploy"}, input=given)
    merged = build(arch, seed=0)
    counts = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (trained, merged)]
    assert [round(count, 2) for count in counts] == [9.11, 8.31]  # as published


def test_each_block_ends_at_a_split_point() -> None:
    given = InputSpec(size=32)
    net = build(ArchSpec(name="repvgg_mini", classes=10, input=given), seed=0).eval()
    names = [point.name for point in split_points(net, given.shape)]
    blocks = [name for name, module in net.net.named_modules() if isinstance(module, RepVGGBlock)]
    assert len(blocks) == 8
    assert names[:8] == blocks
    part = cut(net, "stage2.1", None, given.shape).head
    assert part.output_shape == (32, 8, 8)


def test_it_can_be_trained_channels_last() -> None:
    arch = ArchSpec(name="repvgg_mini", classes=3)
    net = build(arch, seed=0).to(memory_format=torch.channels_last)
    images = torch.rand(32, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        net(images).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_network_without_blocks_cannot_be_merged() -> None:
    net = build(ArchSpec(name="tiny_cnn"), seed=0)
    with pytest.raises(BadInput, match="form=train"):
        deployed(net.state_dict(), net)
    with pytest.raises(BadInput, match="train or deploy"):
        build(ArchSpec(name="repvgg_mini", arguments={"form": "both"}), seed=0)


def test_a_checkpoint_of_the_train_form_is_taken_by_the_deploy_form(tmp_path: Path) -> None:
    trained, merged = both_forms("repvgg_mini", 32, torch.float32)
    assert isinstance(trained, Normalised)
    path = tmp_path / "trained.safetensors"
    save_file(trained.net.state_dict(), path)
    taken = build(ArchSpec.named("repvgg_mini:form=deploy"), seed=5)
    load_checkpoint(taken, path)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(taken.eval()(images), merged(images), atol=1e-5, rtol=1e-5)
    with pytest.raises(Mismatch, match=r"trained\.safetensors is of another network"):
        load_checkpoint(build(ArchSpec.named("repvgg_a0:form=deploy"), seed=5), path)
