"""A file of torch.save whose bytes are not those that were written is refused by its own sums."""

import zipfile

import pytest
import torch

from splitlab.errors import Corrupt
from splitlab.models.weights.read import read_content


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"a.weight": torch.full((16, 16), 0.5), "a.bias": torch.zeros(16)}, path)
    return path


def flipped(path, bit):
    """One bit of the first tensor's bytes."""
    data = bytearray(path.read_bytes())
    place = data.index(torch.full((4,), 0.5).numpy().tobytes()) + bit // 8
    data[place] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("bit", [0, 5, 30, 100])
def test_a_flipped_bit_is_damage(saved, bit):
    assert read_content(saved)["a.weight"].unique().tolist() == [0.5]
    flipped(saved, bit)
    assert torch.load(saved)["a.weight"].unique().numel() == 2, "torch takes it"
    with pytest.raises(Corrupt, match=r"damaged: net/data/0 in it is not what was written"):
        read_content(saved)


def test_a_file_that_was_written_without_sums_is_read(tmp_path):
    path = tmp_path / "net.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a.weight": torch.full((16, 16), 0.5)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is not None
    assert read_content(path)["a.weight"].unique().tolist() == [0.5]


def test_the_old_format_has_no_sums(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert read_content(path)["a"].tolist() == [1, 1, 1]
