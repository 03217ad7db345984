"""Each defence has the statistics it states, and draws when it says it draws."""

import math

import pytest
import torch
from scipy import stats

from defenses import parse, protect
from splitlab.randomness import FreeDraw, KeyedDraw, Secret, generator

SHAPE = (4, 16, 16)
SECRET = Secret.new(secret_seed=5)


def noise_of(spec: str, rows: int = 64) -> torch.Tensor:
    """What the defence adds to a feature of zeros."""
    made = parse(spec).protectors(SHAPE, SECRET)
    return protect(made, torch.zeros(rows, *SHAPE), FreeDraw(generator(0, spec)))


def test_gaussian_is_normal_with_the_stated_deviation():
    values = noise_of("gaussian:level=0.3").flatten().numpy()
    assert stats.kstest(values / 0.3, "norm").pvalue > 0.01


def test_laplace_has_scale_level_over_root_two():
    values = noise_of("laplace:level=0.3").flatten().numpy()
    assert values.std() == pytest.approx(0.3, rel=0.02)
    assert stats.kstest(values / (0.3 / math.sqrt(2)), "laplace").pvalue > 0.01


def test_laplace_of_the_extreme_draws_is_finite():
    class Edges:
        def uniform(self, like, purpose):  # noqa: ARG002
            return torch.tensor([0.0, 0.5, 1 - 2**-24]).reshape(like.shape)

    made = parse("laplace:level=1").protectors((3,), SECRET)
    values = protect(made, torch.zeros(1, 3), Edges())
    assert values.isfinite().all()
    assert values[0, 1] == 0
    assert values[0, 0] < -10


def test_dropout_zeroes_the_stated_share_and_keeps_the_rest_as_it_is():
    made = parse("dropout:level=0.3").protectors(SHAPE, SECRET)
    feature = 2 + torch.rand(64, *SHAPE)
    protected = protect(made, feature, FreeDraw(generator(1)))
    kept = protected != 0
    assert 1 - kept.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(protected[kept], feature[kept])


@pytest.mark.parametrize("name", ["gaussian", "laplace", "dropout"])
def test_fixed_noise_is_one_for_all_rows_and_requests(name):
    made = parse(f"{name}:draw=fixed").protectors(SHAPE, SECRET)
    feature = torch.rand(3, *SHAPE) + 1
    first = protect(made, feature, KeyedDraw(SECRET, "a"))
    assert torch.equal(first, protect(made, feature, KeyedDraw(SECRET, "b")))
    again = parse(f"{name}:draw=fixed").protectors(SHAPE, SECRET)
    assert torch.equal(first, protect(again, feature, KeyedDraw(SECRET, "a")))
    other = parse(f"{name}:draw=fixed").protectors(SHAPE, Secret.new(secret_seed=6))
    assert not torch.equal(first, protect(other, feature, KeyedDraw(SECRET, "a")))
    alike = protect(made, torch.ones(2, *SHAPE), KeyedDraw(SECRET, "a"))
    assert torch.equal(alike[0], alike[1])


@pytest.mark.parametrize("name", ["gaussian", "laplace", "dropout"])
def test_fresh_noise_follows_secret_request_and_row_whatever_the_batching(name):
    made = parse(f"{name}+{name}").protectors(SHAPE, SECRET)
    feature = torch.rand(4, *SHAPE) + 1
    whole = protect(made, feature, KeyedDraw(SECRET, "a"))
    halves = [
        protect(made, feature[:2], KeyedDraw(SECRET, "a", 0)),
        protect(made, feature[2:], KeyedDraw(SECRET, "a", 2)),
    ]
    assert torch.equal(whole, torch.cat(halves))
    assert not torch.equal(whole, protect(made, feature, KeyedDraw(SECRET, "b")))
    alike = protect(made, torch.ones(2, *SHAPE), KeyedDraw(SECRET, "a"))
    assert not torch.equal(alike[0], alike[1])


def test_two_layers_of_one_kind_draw_apart():
    """Were the two draws equal, the sum would have twice the deviation instead of root two."""
    for draw in ("fresh", "fixed"):
        values = noise_of(f"gaussian:level=1,draw={draw}+gaussian:level=1,draw={draw}")
        assert values.std().item() == pytest.approx(math.sqrt(2), rel=0.05)


def test_the_feature_is_never_written_into():
    made = parse("gaussian+laplace:draw=fixed+dropout").protectors(SHAPE, SECRET)
    feature = torch.rand(2, *SHAPE)
    before = feature.clone()
    protect(made, feature, FreeDraw(generator(2)))
    assert torch.equal(feature, before)


def test_fixed_noise_survives_the_disk():
    """A client half is rebuilt under a blank secret and given the tensors that were saved."""
    stack = parse("laplace:draw=fixed+dropout:draw=fixed+gaussian")
    made, blank = stack.protectors(SHAPE, SECRET), stack.protectors(SHAPE, Secret(bytes(32)))
    assert sorted(made.state_dict()) == ["0.noise", "1.noise"]
    blank.load_state_dict(made.state_dict())
    feature = torch.rand(2, *SHAPE)
    draw = KeyedDraw(SECRET, "a")
    assert torch.equal(protect(made, feature, draw), protect(blank, feature, draw))
