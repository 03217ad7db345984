"""Verdicts on directions: each rule has a case with a known answer."""

import pytest

from bench.reproduce.frame.claims import judge
from bench.reproduce.frame.columns import Value
from bench.reproduce.frame.experiment import Claim

FLOOR = {"psnr": 13.0, "ssim": 0.36}


def claim(relation, metric="psnr", margin=0.0, otherwise=""):
    than = None if relation == "at least" else "there"
    return Claim("a claim", metric, "here", relation, than, margin, otherwise)


def values(metric, *numbers, ceiling=None):
    return {seed: Value(number, FLOOR[metric], ceiling) for seed, number in enumerate(numbers)}


def test_below_holds_where_it_holds_in_every_seed():
    found = judge(claim("below"), values("psnr", 14, 15), values("psnr", 16, 15.3))
    assert (found.verdict, found.reason) == ("holds", "")
    assert [one["verdict"] for one in found.by_seed.values()] == ["holds", "holds"]


@pytest.mark.parametrize(
    ("metric", "least", "enough"), [("psnr", 0.19, 0.21), ("ssim", 0.009, 0.011)]
)
def test_a_small_difference_is_none_either_way(metric, least, enough):
    here = values(metric, 20 * FLOOR[metric])
    for relation, sign in (("below", 1), ("above", -1)):
        near, far = (values(metric, here[0].value + sign * by) for by in (least, enough))
        found = judge(claim(relation, metric), here, near)
        assert found.verdict == "does not hold"
        assert found.reason.startswith("seed 0: no difference, ")
        assert judge(claim(relation, metric), here, far).verdict == "holds"
        assert judge(claim(relation, metric), here, here).verdict == "does not hold"


def test_seeds_that_disagree_are_told_apart():
    found = judge(claim("below"), values("psnr", 14, 17), values("psnr", 16, 16))
    assert found.verdict == "holds in some seeds"
    assert found.reason.startswith("holds in 1 of 2 judged; seed 0")
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


def test_a_seed_that_cannot_be_judged_is_counted_and_a_claim_does_not_simply_hold():
    found = judge(claim("below"), values("psnr", 14, 12), values("psnr", 16, 13.1))
    assert found.verdict == "holds in some seeds"
    assert found.reason.startswith("holds in 1 of 1 judged, 1 not judged; seed 0")
    assert "seed 1: the attack is at the floor" in found.reason
    skipped = {0: Value(17, 13), 1: "skipped (no GPU)"}
    failing = judge(claim("below", otherwise="no"), skipped, values("psnr", 16, 16))
    assert failing.verdict == "does not hold"
    assert failing.reason.startswith("no: holds in 0 of 1 judged, 1 not judged: seed 0")


@pytest.mark.parametrize("relation", ["below", "above"])
def test_a_failed_attack_is_no_proof_of_protection_and_its_ceiling_is_named(relation):
    """Seed 0 fails on the side that leaks less, seed 1 does not."""
    more, less = values("psnr", 16, 16), values("psnr", 13.4, 14, ceiling=29.5)
    sides = (less, more) if relation == "below" else (more, less)
    found = judge(claim(relation), *sides)
    assert found.verdict == "holds"
    assert "failed on the side that leaks less (seed 0): at its floor" in found.reason
    assert found.reason.endswith(
        "no proof of protection; its ceiling, a decoder with queries, is 29.50 dB"
    )
    bare = judge(claim("below"), values("psnr", 12), values("psnr", 16))
    assert bare.reason.endswith("no ceiling was measured for it")


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
