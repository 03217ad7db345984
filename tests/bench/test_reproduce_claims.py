"""Verdicts on directions: each rule has a case with a known answer."""

import pytest

from bench.reproduce.claims import Value, judge
from bench.reproduce.experiment import Claim

FLOOR = {"psnr": 13.0, "ssim": 0.36}


def claim(relation, metric="psnr", margin=0.0, otherwise=""):
    than = None if relation == "at least" else "there"
    return Claim("a claim", metric, "here", relation, than, margin, otherwise)


def values(metric, *numbers):
    return {seed: Value(number, FLOOR[metric]) for seed, number in enumerate(numbers)}


def test_below_holds_where_it_holds_in_every_seed():
    found = judge(claim("below"), values("psnr", 14, 15), values("psnr", 16, 15.1))
    assert found.verdict == "holds"
    assert [one["verdict"] for one in found.by_seed.values()] == ["holds", "holds"]


def test_equal_is_not_below():
    assert judge(claim("below"), values("psnr", 16), values("psnr", 16)).verdict == "does not hold"


def test_seeds_that_disagree_are_told_apart():
    found = judge(claim("below"), values("psnr", 14, 17), values("psnr", 16, 16))
    assert found.verdict == "holds in some seeds"
    assert "seed 1: 17.00 dB against 16.00 dB (floor 13.00 dB)" in found.reason


def test_a_claim_that_fails_says_what_it_means_with_the_numbers():
    found = judge(
        claim("above", "ssim", otherwise="secrecy buys nothing"),
        values("ssim", 0.5),
        values("ssim", 0.6),
    )
    assert found.verdict == "does not hold"
    assert found.reason.startswith("secrecy buys nothing: seed 0: 0.500 against 0.600")


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_nothing_is_concluded_from_an_attack_at_the_floor(metric):
    at_floor = values(metric, FLOOR[metric] + 0.01)
    higher = values(metric, FLOOR[metric] * 1.5)
    below = judge(claim("below", metric), values(metric, FLOOR[metric] / 2), at_floor)
    above = judge(claim("above", metric), at_floor, values(metric, FLOOR[metric] / 2))
    assert below.verdict == above.verdict == "cannot be judged"
    assert "the attack is at the floor" in below.reason
    # The side that is said to leak less may fail: that is what a defence is for.
    assert judge(claim("below", metric), at_floor, higher).verdict == "holds"


def test_a_seed_at_the_floor_does_not_decide_for_the_others():
    found = judge(claim("below"), values("psnr", 14, 12), values("psnr", 16, 13.1))
    assert found.verdict == "holds"
    assert "seed 1: the attack is at the floor" in found.reason


@pytest.mark.parametrize(("number", "verdict"), [(-3.0, "holds"), (-3.01, "does not hold")])
def test_at_least_compares_with_its_margin_alone(number, verdict):
    found = judge(claim("at least", "accuracy_change", -3.0), {0: Value(number)}, None)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("number", "verdict"), [(0.55, "holds"), (0.45, "holds"), (0.56, "does not hold")]
)
def test_near_allows_its_margin_either_way(number, verdict):
    found = judge(claim("near", "ssim", 0.0501), values("ssim", number), values("ssim", 0.5))
    assert found.verdict == verdict


def test_a_side_that_was_skipped_cannot_be_judged_and_says_why():
    found = judge(claim("below"), {0: "skipped (no GPU)"}, values("psnr", 16))
    assert (found.verdict, found.reason) == ("cannot be judged", "skipped (no GPU)")
