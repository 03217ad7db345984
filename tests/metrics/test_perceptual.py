"""LPIPS: the same value as the package itself with the same weights; a reason without weights."""

import warnings

import lpips
import pytest
import torch
import torchvision

from splitlab.errors import Corrupt, UnknownName
from splitlab.metrics import METRICS, evaluate
from splitlab.metrics.image.perceptual import load_lpips

ROOM = {"alex": torchvision.models.alexnet, "squeeze": torchvision.models.squeezenet1_1}
FILE = {"alex": "alexnet-00000000.pth", "squeeze": "squeezenet1_1-00000000.pth"}


@pytest.mark.parametrize("backbone", ["alex", "squeeze"])
def test_equals_the_package(tmp_path, backbone):
    """Random backbone weights in torchvision's format; the linear layers are the package's own."""
    torch.manual_seed(0)
    net = ROOM[backbone](weights=None)
    state = {key: value for key, value in net.state_dict().items() if key.startswith("features")}
    torch.save(state, tmp_path / FILE[backbone])
    truth = torch.rand(3, 3, 64, 64)
    estimate = (truth + 0.2 * torch.randn_like(truth)).clamp(0, 1)
    name = f"lpips_{backbone}"
    ours = evaluate([name], truth, estimate, {"lpips_weights": tmp_path})[name].values

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    for key, value in theirs.net.state_dict().items():
        value.copy_(state["features." + key.split(".", 1)[1]])
    with torch.no_grad():
        wanted = theirs(truth, estimate, normalize=True).flatten()
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
    same = evaluate([name], truth, truth, {"lpips_weights": tmp_path})[name].values
    assert same.tolist() == [0, 0, 0]


def test_without_weights_the_column_says_why(tmp_path):
    images = torch.rand(2, 3, 32, 32)
    columns = evaluate(["psnr", "lpips_vgg"], images, images, {"lpips_weights": tmp_path})
    assert columns["psnr"].values is not None
    assert columns["lpips_vgg"].values is None
    assert "vgg" in columns["lpips_vgg"].why
    assert "--lpips-weights" in columns["lpips_vgg"].why


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "vgg16-12345678.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(Corrupt, match="vgg16-12345678"):
        load_lpips("vgg", tmp_path)


def test_every_metric_has_a_name_a_unit_and_one_function():
    for name in METRICS:
        metric = METRICS.load(name)
        assert metric.name == name
        assert metric.unit in ("1", "dB", "%")
        assert (metric.per_item is None) != (metric.per_set is None)
    with pytest.raises(UnknownName, match="psnr"):
        evaluate(["pnsr"], torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
