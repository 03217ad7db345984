"""Weights from files: what loads, and what is refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput, Corrupt, Mismatch
from splitlab.models import Normalised, build, load_checkpoint


def tiny(seed: int = 0, classes: int = 10) -> Normalised:
    return build(ArchSpec(name="tiny_cnn", classes=classes), seed=seed)


def same(one: Normalised, two: Normalised) -> bool:
    other = two.net.state_dict()
    return all(torch.equal(value, other[key]) for key, value in one.net.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "net."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_plain_wrapped_and_parallel_state_dicts_load(
    tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    source, target = tiny(1), tiny(2)
    state = {prefix + key: value for key, value in source.net.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "net.pth")
    assert not same(source, target)
    load_checkpoint(target, tmp_path / "net.pth")
    assert same(source, target)


def test_safetensors_load(tmp_path: Path) -> None:
    source, target = tiny(1), tiny(2)
    save_file(source.net.state_dict(), tmp_path / "net.safetensors")
    load_checkpoint(target, tmp_path / "net.safetensors")
    assert same(source, target)


def test_another_network_is_refused_by_key_and_by_shape(tmp_path: Path) -> None:
    torch.save(build(ArchSpec(name="resnet20")).net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(Mismatch, match=r"block1.0.weight.* missing.*conv1.weight.* unexpected"):
        load_checkpoint(tiny(), tmp_path / "net.pth")
    torch.save(tiny(classes=5).net.state_dict(), tmp_path / "five.pth")
    target, before = tiny(2), tiny(2)
    with pytest.raises(Mismatch, match=r"fc.weight is \(5, 32\), wanted \(10, 32\)"):
        load_checkpoint(target, tmp_path / "five.pth")
    assert same(target, before)


class Stranger:
    """A class whose pickle would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("unpickled",))


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Stranger()}, tmp_path / "net.pth")
    with pytest.raises(Corrupt, match="plain weights"):
        load_checkpoint(tiny(), tmp_path / "net.pth")
    assert "unpickled" not in capsys.readouterr().out


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_checkpoint(tiny(), tmp_path / "net.pth")
    torch.save(tiny().net.state_dict(), tmp_path / "whole.pth")
    cut_short = (tmp_path / "whole.pth").read_bytes()[:-200]
    for name in ("short.pth", "short.safetensors"):
        (tmp_path / name).write_bytes(cut_short)
        with pytest.raises(Corrupt, match="short"):
            load_checkpoint(tiny(), tmp_path / name)
    (tmp_path / "net.onnx").write_bytes(b"?")
    with pytest.raises(BadInput, match="unknown ending"):
        load_checkpoint(tiny(), tmp_path / "net.onnx")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(Corrupt, match="no state dict"):
        load_checkpoint(tiny(), tmp_path / "list.pth")
    torch.save({"lr": 0.1}, tmp_path / "number.pth")
    with pytest.raises(Corrupt, match="'lr' is no tensor"):
        load_checkpoint(tiny(), tmp_path / "number.pth")


def test_of_moco_the_query_encoder_is_taken_and_no_classifier(tmp_path: Path) -> None:
    arch = ArchSpec(name="resnet18", classes=5)
    source, target = build(arch, seed=1), build(arch, seed=2)
    untrained = target.net.fc.weight.clone()
    state = {f"module.encoder_q.{k}": v for k, v in source.net.state_dict().items()}
    state |= {f"module.encoder_k.{k}": v + 1 for k, v in source.net.state_dict().items()}
    state["module.encoder_q.fc.weight"] = torch.zeros(128, 512)
    state["module.queue"] = torch.zeros(128, 4)
    torch.save({"state_dict": state, "arch": "resnet18"}, tmp_path / "moco.pth.tar.pth")
    load_checkpoint(target, tmp_path / "moco.pth.tar.pth")
    assert torch.equal(target.net.layer4[1].conv2.weight, source.net.layer4[1].conv2.weight)
    assert torch.equal(target.net.fc.weight, untrained)
