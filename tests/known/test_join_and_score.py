"""Join and score by hand: grey images, whose MSE, PSNR and SSIM anyone can work out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tables import SIZE, distinct, flat
from torch import Tensor

from bench.point.score import Scored, read_join, score
from splitlab.contracts.kinds import IMAGE
from splitlab.errors import Corrupt, Mismatch

GREYS = [0, 51, 102, 153, 204, 255]  # 0, 0.2, 0.4, 0.6, 0.8, 1
JOIN = {"q/0": 4, "r/3": 1, "q/1": 0, "s#2/0": 3, "r/0": 5, "r/1": 2}
IDS = ("r/3", "q/0", "s#2/0", "q/1")  # victims 1, 4, 3, 0: neither all nor in order
DELTAS = (0.08, -0.05, 0.02, 0.04)


def greys(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE)


def context(folder: Path, **changes: Any) -> dict[str, Any]:
    """The judge sees the mean colour; no LPIPS weights lie in `folder`."""
    return {"embed": lambda x: x.mean((2, 3)), "lpips_weights": folder, **changes}


def scored(folder: Path, deltas: Any = DELTAS, floor: float = 0.5, **changes: Any) -> Scored:
    """Answers that miss the true grey by `deltas`, in the order of the ids."""
    ids = changes.pop("ids", IDS)
    victims = changes.pop("victims", flat(GREYS, groups=[0, 1, 2, 3, 3, 5]))
    truth = torch.tensor([GREYS[JOIN[key]] / 255 for key in ids])
    answers = greys(truth + torch.tensor(deltas))
    mean = greys([floor])[0]
    return score(ids, answers, JOIN, victims, mean, context(folder), changes.pop("seed", 0))


def test_each_reconstruction_is_scored_against_the_victim_that_its_id_names(tmp_path: Path) -> None:
    """MSE is delta^2 and PSNR -20 log10 |delta|; of any other pairing it is 0.04 or more."""
    found = scored(tmp_path).leakage
    assert found["mse"].mean == pytest.approx(sum(d * d for d in DELTAS) / 4, rel=1e-4)
    wanted = sum(-20 * math.log10(abs(d)) for d in DELTAS) / 4
    assert found["psnr"].mean == pytest.approx(wanted, abs=1e-3)
    assert found["reidentified_by_pixels"].mean == 100
    assert found["reidentified_by_features"].mean == 100


def test_ssim_of_grey_on_grey_is_its_luminance_term(tmp_path: Path) -> None:
    """Without variance SSIM is (2ab + C1) / (a^2 + b^2 + C1), C1 = 1e-4."""
    pairs = [(GREYS[JOIN[key]] / 255, d) for key, d in zip(IDS, DELTAS, strict=True)]
    terms = [(2 * a * (a + d) + 1e-4) / (a * a + (a + d) ** 2 + 1e-4) for a, d in pairs]
    assert scored(tmp_path).leakage["ssim"].mean == pytest.approx(sum(terms) / 4, abs=1e-4)


def test_the_floor_is_the_mean_image_on_the_same_victims(tmp_path: Path) -> None:
    found = scored(tmp_path, floor=0.5)
    truths = [0.2, 0.8, 0.6, 0.0]
    assert found.floor["mse"].mean == pytest.approx(
        sum((t - 0.5) ** 2 for t in truths) / 4, rel=1e-4
    )
    near = scored(tmp_path, floor=0.21)  # nearest to victim 1, who is one of the four
    assert near.floor["reidentified_by_pixels"].mean == 25
    assert near.leakage == found.leakage
    nobody = scored(tmp_path, floor=0.41)  # nearest to victim 2, who was not attacked
    assert nobody.floor["reidentified_by_pixels"].mean == 0


def test_the_truth_comes_back_in_the_order_of_the_ids(tmp_path: Path) -> None:
    found = scored(tmp_path)
    assert torch.equal(found.truth, flat(GREYS).floats()[[1, 4, 3, 0]])
    assert found.items == 4
    turned = scored(tmp_path, deltas=DELTAS[::-1], ids=IDS[::-1])
    assert torch.equal(turned.truth, found.truth.flip(0))
    assert turned.leakage["mse"].mean == pytest.approx(found.leakage["mse"].mean, rel=1e-6)


def test_each_victim_s_own_numbers_come_with_its_row_and_group(tmp_path: Path) -> None:
    found = scored(tmp_path)
    assert found.index.tolist() == [1, 4, 3, 0]
    assert found.groups.tolist() == [1, 3, 3, 0]
    named = [metric.name for metric in IMAGE.load_metrics()]
    there = [name for name in named if not name.startswith("lpips")]  # it has no weights here
    assert list(found.values) == list(found.floor_values) == there
    assert found.values["mse"].tolist() == pytest.approx([d * d for d in DELTAS], rel=1e-3)
    assert found.values["reidentified_by_pixels"].tolist() == [100] * 4
    floor = [(truth - 0.5) ** 2 for truth in (0.2, 0.8, 0.6, 0.0)]
    assert found.floor_values["mse"].tolist() == pytest.approx(floor, rel=1e-3)


def test_every_victim_is_in_the_gallery_whichever_were_attacked(tmp_path: Path) -> None:
    """An answer nearest to a victim that was not attacked is no hit."""
    ids = ("r/3",)  # grey 0.2; 0.35 is nearer to 0.4, which nobody attacked
    found = scored(tmp_path, deltas=(0.15,), ids=ids).leakage
    assert found["reidentified_by_pixels"].mean == 0
    assert found["reidentified_by_features"].mean == 0


def test_noise_images_are_found_through_a_shuffled_table_and_lost_when_shifted(
    tmp_path: Path,
) -> None:
    victims = distinct(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2)).tolist()
    ids = [f"{row}/0" for row in range(9)]
    join = dict(zip(ids, order, strict=True))
    true = victims.floats()[order]
    mean = torch.full((3, SIZE, SIZE), 0.5)
    right = score(ids, true, join, victims, mean, context(tmp_path), 0).leakage
    assert (right["mse"].mean, right["psnr"].mean) == (0, 100)
    assert right["ssim"].mean == pytest.approx(1)
    wrong = score(ids, true.roll(1, 0), join, victims, mean, context(tmp_path), 0).leakage
    assert wrong["reidentified_by_pixels"].mean == 0
    by_hand = (true.roll(1, 0) - true).double().square().mean()
    assert wrong["mse"].mean == pytest.approx(float(by_hand), rel=1e-5)


def test_intervals_rest_on_the_groups_of_the_victims_scored(tmp_path: Path) -> None:
    """Victims 4 and 3 are of one group. Of two groups a resample holds one, the other or both:
    the ends are the means of the groups themselves."""
    found = scored(tmp_path).leakage["mse"]
    assert (found.items, found.groups) == (4, 3)
    ids, deltas = ("q/0", "s#2/0", "r/3"), (0.1, 0.1, 0.3)
    two = scored(tmp_path, ids=ids, deltas=deltas).leakage["mse"]
    assert (two.items, two.groups) == (3, 2)
    assert two.mean == pytest.approx((0.01 + 0.01 + 0.09) / 3, rel=1e-4)
    assert two.low == pytest.approx(0.01, rel=1e-4)
    assert two.high == pytest.approx(0.09, rel=1e-4)
    one = scored(tmp_path, ids=ids[:2], deltas=deltas[:2]).leakage["mse"]
    assert (one.low, one.high, one.groups) == (None, None, 1)


def test_the_seed_is_the_bootstrap_s(tmp_path: Path) -> None:
    victims = flat(list(range(0, 250, 25)))
    ids = [str(row) for row in range(10)]
    join = {key: int(key) for key in ids}
    answers = (victims.floats() + torch.linspace(0, 0.3, 10).view(-1, 1, 1, 1)).clamp(0, 1)
    mean = torch.zeros(3, SIZE, SIZE)

    def mse(seed: int) -> Any:
        return score(ids, answers, join, victims, mean, context(tmp_path), seed).leakage["mse"]

    answers_of_nothing = victims.floats()[:1].expand_as(victims.floats())
    nothing = score(ids, answers_of_nothing, join, victims, mean, context(tmp_path), 3)
    assert nothing.leakage == nothing.floor  # the mean image itself, drawn alike
    assert mse(1) == mse(1)
    assert (mse(1).low, mse(1).high) != (mse(2).low, mse(2).high)
    assert mse(1).mean == mse(2).mean


def test_every_metric_has_its_unit_and_direction_and_says_what_it_lacks(tmp_path: Path) -> None:
    found = scored(tmp_path)
    told = {name: (value.unit, value.leakage) for name, value in found.leakage.items()}
    lpips = {f"lpips_{net}": ("1", "falls") for net in ("alex", "vgg", "squeeze")}
    assert told == {
        "mse": ("1", "falls"),
        "psnr": ("dB", "rises"),
        "ssim": ("1", "rises"),
        **lpips,
        "reidentified_by_pixels": ("%", "rises"),
        "reidentified_by_features": ("%", "rises"),
    }
    assert tuple(found.leakage) == tuple(found.floor)
    for name in lpips:
        for value in (found.leakage[name], found.floor[name]):
            assert value.mean is None
            assert "weights" in value.why
    unjudged = score(
        IDS, greys([0, 0, 0, 0]), JOIN, flat(GREYS), greys([0])[0], {"lpips_weights": tmp_path}, 0
    )
    assert unjudged.leakage["reidentified_by_features"].mean is None
    assert unjudged.leakage["reidentified_by_pixels"].mean is not None


def test_an_id_that_the_client_never_sent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r"1 captured ids .*first: z/0"):
        score(("r/3", "z/0"), greys([0, 0]), JOIN, flat(GREYS), greys([0])[0], context(tmp_path), 0)


def test_the_join_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "join.json"
    path.write_text(json.dumps({"rows": {"b/1": 0, "a/0": 7, "c/2": "3"}}))
    assert read_join(path) == {"b/1": 0, "a/0": 7, "c/2": 3}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rows": [1]}', '{"rows": {"a": "x"}}', '{"rows": {"a": null}}', "3"]
)
def test_a_damaged_join_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "join.json"
    path.write_text(text)
    with pytest.raises(Corrupt) as raised:
        read_join(path)
    assert raised.value.path == path
    with pytest.raises(Corrupt):
        read_join(tmp_path / "absent.json")
