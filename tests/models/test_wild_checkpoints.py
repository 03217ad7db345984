"""Checkpoints as other people save them: what loads, and what is refused by name."""

import argparse
import gzip
import os
import pathlib
import tarfile
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput, Corrupt, Mismatch, SplitLabError
from splitlab.models import build, load_checkpoint, read_checkpoint

ARCH = ArchSpec(name="tiny_cnn")


def weights(seed=1, shift=0.0):
    state = build(ARCH, seed=seed).net.state_dict()
    return {k: v + shift if v.is_floating_point() else v for k, v in state.items()}


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def loaded(path, content, key=None, **options):
    """The notes of a load that gave the weights of seed 1, exactly."""
    torch.save(content, path, **options)
    net = build(ARCH, seed=2)
    notes = load_checkpoint(net, path, key)
    taken = net.net.state_dict()
    assert all(torch.equal(value, taken[name]) for name, value in weights().items())
    return " ".join(notes)


def refused(path, content, kind=SplitLabError, key=None, **options):
    torch.save(content, path, **options)
    return refusal(path, kind, key)


def refusal(path, kind=SplitLabError, key=None):
    """The one line of a refusal, which leaves the network as it was."""
    net = build(ARCH, seed=2)
    with pytest.raises(kind) as caught:
        load_checkpoint(net, path, key)
    before = build(ARCH, seed=2).net.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in net.net.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "model.",
        "net.",
        "backbone.",
        "encoder.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.module.",
        "model.net._orig_mod.",
        "_fsdp_wrapped_module.",
        "student.backbone.",
        "my_own_classifier.",
    ],
)
@pytest.mark.parametrize("wrapper", [None, "model_state", "state_dict"])
def test_prefixes_come_off(tmp_path, prefix, wrapper):
    state = prefixed(prefix, weights())
    loaded(tmp_path / "net.pth", {wrapper: state, "epoch": 3} if wrapper else state)


def test_a_compiled_block_is_found_in_the_middle_of_a_name(tmp_path):
    state = {name.replace("block1.", "block1._orig_mod."): v for name, v in weights().items()}
    loaded(tmp_path / "net.pth", state)


@pytest.mark.parametrize(
    "name", ["model_best.pth.tar", "epoch=3-step=5.ckpt", "pytorch_model.bin", "net.pt", "weights"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_bytes_and_not_the_ending_say_what_a_file_is(tmp_path, name, zipped):
    content = {"state_dict": weights(), "best": torch.tensor(1.0), "optimizer": {"state": {}}}
    loaded(tmp_path / name, content, _use_new_zipfile_serialization=zipped)


def test_safetensors_under_another_ending(tmp_path):
    save_file(weights(), tmp_path / "net.bin")
    load_checkpoint(build(ARCH), tmp_path / "net.bin")


def test_a_lightning_checkpoint_with_its_loss(tmp_path):
    state = {**prefixed("model.", weights()), "criterion.weight": torch.ones(10)}
    content = {"pytorch-lightning_version": "2.1", "state_dict": state, "hyper_parameters": {}}
    content |= {"optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}], "loops": {}}
    assert "left out criterion.weight" in loaded(tmp_path / "last.ckpt", content)


def test_one_key_more_is_left_out_and_named(tmp_path):
    swa = {"n_averaged": torch.tensor(3), **prefixed("module.", weights())}
    assert "left out n_averaged" in loaded(tmp_path / "swa.pth", swa)
    profiled = {"total_ops": torch.zeros(1), "block1.total_params": torch.zeros(1), **weights()}
    assert "block1.total_params" in loaded(tmp_path / "thop.pth", profiled)
    assert "epoch" in loaded(tmp_path / "epoch.pth", {"epoch": 3, **weights()})


def test_a_key_more_that_may_be_a_layer_is_refused(tmp_path):
    words = refused(tmp_path / "n.pth", {**weights(), "block4.0.weight": torch.ones(4)}, Mismatch)
    assert "block4.0.weight unexpected" in words
    deeper = build(ArchSpec(name="resnet56"), seed=0).net.state_dict()
    torch.save(deeper, tmp_path / "deep.pth")
    with pytest.raises(Mismatch, match=r"layer1\.3.* unexpected"):
        load_checkpoint(build(ArchSpec(name="resnet20")), tmp_path / "deep.pth")


def test_counters_of_batch_norms_may_be_missing_and_nothing_else(tmp_path):
    state = {k: v for k, v in weights().items() if "num_batches" not in k}
    loaded(tmp_path / "net.pth", prefixed("module.", state))
    del state["block2.1.running_mean"]
    assert "block2.1.running_mean missing" in refused(tmp_path / "net.pth", state, Mismatch)


EMA = ["ema", "state_dict_ema", "model_ema", "ema_state_dict", "ema_model"]


@pytest.mark.parametrize("name", EMA)
def test_of_plain_and_averaged_weights_the_plain_are_taken_and_it_is_said(tmp_path, name):
    content = {name: weights(shift=1.0), "state_dict": weights()}
    notes = loaded(tmp_path / "both.pth", content)
    assert f"took 'state_dict' and not {name}" in notes
    assert f"--weights-key {name}" in notes
    swapped = {name: weights(), "state_dict": weights(shift=1.0)}
    loaded(tmp_path / "named.pth", swapped, key=name)
    assert f"averaged weights '{name}'" in loaded(tmp_path / "alone.pth", {name: weights()})


def test_averaged_weights_within_one_state_dict(tmp_path):
    state = {**prefixed("ema_model.", weights(shift=1.0)), **prefixed("model.", weights())}
    assert "--weights-key ema_model" in loaded(tmp_path / "net.ckpt", {"state_dict": state})
    other = {**prefixed("ema_model.", weights()), **prefixed("model.", weights(shift=1.0))}
    loaded(tmp_path / "net.ckpt", {"state_dict": other}, key="ema_model")


def test_of_teacher_and_student_the_student_is_taken_and_it_is_said(tmp_path):
    state = {**prefixed("teacher.", weights(shift=1.0)), **prefixed("student.", weights())}
    notes = loaded(tmp_path / "net.pth", state)
    assert "took the tensors under 'student.', not those under teacher" in notes
    assert "--weights-key teacher" in notes


def test_a_device_is_no_file_of_weights():
    words = refusal(pathlib.Path(os.devnull), BadInput)
    assert f"{os.devnull}: is no regular file; give a .pth or .safetensors" in words


def test_what_is_ambiguous_is_asked_for(tmp_path):
    content = {"netA": weights(), "netB": weights(3)}
    words = refused(tmp_path / "two.pth", content, BadInput)
    assert "'netA', 'netB'" in words
    assert "--weights-key" in words
    loaded(tmp_path / "two.pth", content, key="netA")
    assert "netC" in refused(tmp_path / "two.pth", content, BadInput, key="netC")
    twins = {**prefixed("left.", weights()), **prefixed("right.", weights(3))}
    assert "'left', 'right'" in refused(tmp_path / "twins.pth", twins, BadInput)
    loaded(tmp_path / "twins.pth", twins, key="left")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load(tmp_path, kind):
    state = {k: v.to(kind) if v.is_floating_point() else v for k, v in weights().items()}
    torch.save(state, tmp_path / "net.pth")
    net = build(ARCH, seed=2)
    load_checkpoint(net, tmp_path / "net.pth")
    assert net.net.state_dict()["fc.weight"].dtype == torch.float32
    assert torch.equal(net.net.state_dict()["fc.weight"], state["fc.weight"].float())


def each(change):
    return {k: change(v) if v.ndim > 1 else v for k, v in weights().items()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (each(lambda v: v.to(torch.int8)), "block1.0.weight, .*int8.*before it was quantised"),
        (each(lambda v: v.to(torch.float8_e4m3fn)), "float8"),
        (each(lambda v: v.to_sparse()), r"block1.0.weight.*sparse.*to_dense"),
        (each(lambda v: v.to("meta")), "without values"),
        (each(lambda v: v.to(torch.complex64)), "complex"),
        ({"fc._packed_params.dtype": torch.qint8, **weights()}, "quantised network"),
        ({}, "nothing, no state dict"),
        ({"state_dict": {}}, "'state_dict' is no tensor"),
        (3, "holds a int"),
        (torch.ones(3), "holds a Tensor"),
    ],
)
def test_what_holds_no_float_weights(tmp_path, content, says):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(Corrupt, match=says):
        load_checkpoint(build(ARCH), tmp_path / "net.pth")


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_tensor_is_called_so(tmp_path):
    state = each(lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8))
    assert "INT8 (qint8)" in refused(tmp_path / "net.pth", state, Corrupt)
    with pytest.raises(Corrupt, match="INT8"):
        read_checkpoint(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (np.float64(91.2), "multiarray.scalar"),
        (np.ones(2), "multiarray._reconstruct"),
        (defaultdict(dict), "collections.defaultdict"),
        (pathlib.PurePosixPath("run"), "pathlib.PurePosixPath"),
        (nn.Linear(2, 2), "whole pickled network"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_classes_beside_the_weights_are_named_and_not_unpickled(tmp_path, beside, named, zipped):
    content = {"model": weights(), "args": beside}
    words = refused(tmp_path / "net.pth", content, Corrupt, _use_new_zipfile_serialization=zipped)
    assert named in words
    assert "save" in words
    assert "alone" in words


def plain(folder):
    torch.save(weights(), folder / "plain.pth")
    return (folder / "plain.pth").read_bytes()


STRANGERS = [
    (b"", "is empty"),
    (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    (b"\xef\xbb\xbf\n<html>", "web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
    (b'{"error": "not found"}', "is JSON"),
    (b'{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}', "index .* 2 files"),
    (b"404: Not Found", r"text \('404: Not Found'\)"),
    (gzip.compress(b"weights"), "gzip"),
    (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    (b"\x93NUMPY\x01\x00" + bytes(64), "numpy"),
    (b"\x80\x04\x95\x10" + bytes(64), "no file of torch.save$|no file of torch.save; "),
    (b"\x00\x01\x02\xfe" * 64, "no file of torch.save"),
]


@pytest.mark.parametrize(
    ("data", "says"),
    STRANGERS,
    ids=[says for _, says in STRANGERS],
)
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.ckpt"])
def test_what_a_file_is_in_place_of_weights(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    told = says if name != "net.safetensors" or "torch" not in says else "whole safetensors"
    with pytest.raises(Corrupt, match=told):
        load_checkpoint(build(ARCH), tmp_path / name)


def test_archives_are_named_with_what_to_do(tmp_path):
    data = plain(tmp_path)
    for short in (len(data) - 200, len(data) // 2, 30):
        (tmp_path / "short.pth").write_bytes(data[:short])
        assert "cut short" in refusal(tmp_path / "short.pth", Corrupt)
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("plain.pth", data)
    assert "zip archive of 'plain.pth'; unpack" in refusal(tmp_path / "zip.pth", Corrupt)
    with tarfile.open(tmp_path / "net.pth.tar", "w") as archive:
        archive.add(tmp_path / "plain.pth", "plain.pth")
    assert "tar archive" in refusal(tmp_path / "net.pth.tar", Corrupt)
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:  # as torch.jit.save lays it out
        for name in ("script/data.pkl", "script/constants.pkl", "script/code/net.py"):
            archive.writestr(name, b"?")
    assert "TorchScript" in refusal(tmp_path / "script.pt", Corrupt)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.safetensors").touch()
    assert "folder; name the file, e.g. model.s" in refusal(tmp_path / "folder", BadInput)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, bad):
    state = weights()
    state["block2.0.weight"][0, 0, 0, :2] = bad
    words = refused(tmp_path / "net.pth", state, Corrupt)
    assert "NaN or infinite weights: block2.0.weight (2 of 1152)" in words


def test_numbers_too_large_and_variances_below_zero(tmp_path):
    large = {k: v.double() if v.is_floating_point() else v for k, v in weights().items()}
    large["fc.bias"][0] = 1e300
    assert "fc.bias (1 of 10)" in refused(tmp_path / "net.pth", large, Corrupt)
    state = weights()
    state["block1.1.running_var"][0] = -1.0
    assert "below zero" in refused(tmp_path / "net.pth", state, Corrupt)
    assert "block1.1.running_var" in refused(tmp_path / "net.pth", state, Corrupt)


def test_shapes_are_told_in_pairs_and_another_number_of_classes_says_what_to_do(tmp_path):
    state = weights()
    state["block1.0.weight"] = torch.ones(8, 1, 3, 3)
    state["block2.0.weight"] = torch.ones(2, 2)
    words = refused(tmp_path / "net.pth", state, Mismatch)
    assert "block1.0.weight is (8, 1, 3, 3), wanted (8, 3, 3, 3)" in words
    assert "block2.0.weight is (2, 2), wanted (16, 8, 3, 3)" in words
    other = build(ArchSpec(name="tiny_cnn", classes=1000), seed=0).net.state_dict()
    words = refused(tmp_path / "net.pth", other, Mismatch)
    assert "tells 1000 classes apart and 10 are wanted" in words
    assert "--classes FILE" in words
    assert "--new-classifier" in words
    headless = {k: v for k, v in weights().items() if not k.startswith("fc.")}
    assert "--new-classifier" in refused(tmp_path / "net.pth", headless, Mismatch)


def test_a_new_last_layer_is_the_remedy_where_the_last_layer_is_missing_alone(tmp_path):
    for gone, told in (
        (("fc.weight", "fc.bias"), True),
        (("fc.weight",), False),
        (("block1.0.weight",), False),
        (("block1.0.weight", "fc.weight", "fc.bias"), False),
    ):
        state = {k: v for k, v in weights().items() if k not in gone}
        words = refused(tmp_path / "net.pth", state, Mismatch)
        assert ("--new-classifier" in words) is told
        assert gone[0] in words
