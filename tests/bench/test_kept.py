"""Kept reconstructions let a stranger recompute what a record says, and notice a false tensor."""

import ast
import json
import sys

import pytest
import torch
from recomputed import SCRIPT, falsify, recompute
from records import record
from safetensors.torch import load_file

from bench.point.kept import BUDGET, keep, kept_by_default
from bench.point.measure import plans, point_of
from bench.point.recipe import SweepConfig, validated
from bench.point.score import score
from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.record import RecordStore

VICTIMS = 6


def run_of(folder, limit=100, size=16):
    """A run with one record of an attack that answers with the victims and a little noise.

    Its error is far below what eight bits resolve, so that pictures could not tell it.
    """
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(256, (VICTIMS + 1, 3, size, size), generator=rng, dtype=torch.uint8)
    labels = torch.zeros(VICTIMS + 1, dtype=torch.int64)
    victims = ImageSet(images, labels, ("one",), torch.arange(VICTIMS + 1) // 2)
    rows = [4, 0, 2, 6, 5, 1]
    join = {f"r/{place}": row for place, row in enumerate(rows)}
    noise = 1e-4 * torch.randn(VICTIMS, 3, size, size, generator=rng)
    estimate = (victims.floats("cpu")[rows] + noise).clamp(0, 1)
    floor = victims.floats("cpu").mean(0)
    scores = score([*join], estimate, join, victims, floor, {}, 0)
    one = record()
    kept = keep(folder / "images", one.hash, [*join], estimate, floor, scores, limit)
    made = {"leakage": scores.leakage, "floor": scores.floor, "kept": kept}
    one = one.model_copy(update=made)
    RecordStore(folder).write(one)
    return one


def test_every_figure_is_met_from_the_folder_alone(tmp_path):
    one = run_of(tmp_path)
    assert one.leakage["psnr"].mean > 70
    code, text = recompute(tmp_path)
    assert code == 0, text
    assert "conv1, decoder, undefended: met" in text
    assert "6 of 6 victims" in text
    assert "1 of 1 records met" in text


def test_the_script_needs_nothing_of_the_lab():
    """numpy, safetensors and scikit-image, beside what Python brings."""
    found = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    assert found - sys.stdlib_module_names == {"numpy", "safetensors", "skimage"}


def test_a_falsified_tensor_is_noticed(tmp_path):
    run_of(tmp_path)
    falsify(tmp_path, lambda tensors: tensors["estimate"][3, 1, 5].add_(1e-4))
    code, text = recompute(tmp_path)
    assert code == 1
    assert "NOT MET" in text
    assert "mse of victim 6" in text


@pytest.mark.parametrize("name", ["mse", "psnr", "ssim", "floor_ssim"])
def test_a_falsified_number_of_a_victim_without_image_is_noticed(tmp_path, name):
    """Its image is not there, yet the record's mean is over it."""
    run_of(tmp_path, limit=2)
    falsify(tmp_path, lambda tensors: tensors[name][5].mul_(1.01))
    code, text = recompute(tmp_path)
    assert code == 1
    assert f"{name}: mean" in text


def test_victims_in_another_order_are_noticed(tmp_path):
    run_of(tmp_path)
    falsify(tmp_path, lambda tensors: tensors["truth"].copy_(tensors["truth"].roll(1, 0)))
    assert recompute(tmp_path)[0] == 1


def test_a_record_of_another_figure_is_noticed(tmp_path):
    one = run_of(tmp_path)
    path = RecordStore(tmp_path).path(one.hash)
    content = json.loads(path.read_text())
    content["leakage"]["psnr"]["mean"] += 0.01
    path.write_text(json.dumps(content))
    assert "the record has" in recompute(tmp_path)[1]


def test_what_is_bounded_is_said_and_still_met(tmp_path):
    one = run_of(tmp_path, limit=2)
    assert (one.kept.victims, one.kept.of) == (2, VICTIMS)
    tensors = load_file(tmp_path / "images" / one.kept.file)
    assert tensors["truth"].shape == tensors["estimate"].shape == (2, 3, 16, 16)
    assert tensors["truth"].dtype == tensors["estimate"].dtype == torch.float32
    assert tensors["victim"].tolist() == [4, 0, 2, 6, 5, 1]
    code, text = recompute(tmp_path)
    assert code == 0
    assert "2 of 6 victims" in text


def test_images_of_eight_pixels_have_no_ssim_of_scikit_image(tmp_path):
    run_of(tmp_path, size=8)
    assert recompute(tmp_path)[0] == 0


def test_without_tensors_there_is_nothing_to_compare(tmp_path):
    RecordStore(tmp_path).write(record())
    code, text = recompute(tmp_path)
    assert code == 2
    assert "no tensors are kept" in text
    assert recompute(tmp_path / "absent")[0] == 2


def test_how_many_are_kept_by_default():
    """All of a sweep's 128 small victims, and megabytes at 224 pixels."""
    assert kept_by_default(3 * 32 * 32) > 128
    assert 8 <= kept_by_default(3 * 224**2) * 1.0 <= BUDGET / (24 * 224**2)
    assert kept_by_default(3 * 1024**2) == 8


def test_keeping_changes_no_point_and_may_change_between_sittings():
    plain, bounded = SweepConfig(), validated(keep_images=3)
    for one in plans(plain):
        assert point_of(plain, "conv1", one) == point_of(bounded, "conv1", one)
    with pytest.raises(BadInput, match="--keep-images -1"):
        validated(keep_images=-1)
