"""From captured features to pictures in natural colours: each step where its answer is known."""

import pytest
import torch
from colour_worlds import AUX, VICTIMS, Knowing, mixed, rows, tinted, true_map, whitened

from adversary.inversion.aligned import colour_critic
from adversary.inversion.aligned.colour_critic import (
    rotations,
    small_rotations,
    train_critic,
    trained_critics,
)
from adversary.inversion.aligned.colour_map import ColourMap, candidates, distinct, judge, refine
from adversary.inversion.aligned.principal_images import Whitening, principal_images
from adversary.inversion.aligned.remembered import Remembered
from splitlab.randomness import generator

CPU = torch.device("cpu")


def test_principal_images_are_the_images_in_other_colours():
    white, pixels = whitened(), VICTIMS.floats()
    found, left = true_map(white, pixels)
    assert left < 1e-4
    assert torch.allclose(found(white), pixels, atol=1e-4)
    assert torch.allclose(found.inverse(pixels), white, atol=2e-3)


def test_principal_images_are_white():
    seen = rows(whitened()).double()
    assert seen.mean(0).abs().max() < 1e-4
    assert torch.allclose(seen.T @ seen / len(seen), torch.eye(3).double(), atol=1e-4)


def test_channels_that_never_change_are_left_out():
    maps = mixed(VICTIMS.floats())
    dead = torch.full_like(maps[:, :2], 0.7)
    both, alone = principal_images(torch.cat([maps, dead], 1)), principal_images(maps)
    assert torch.allclose(both, alone, atol=1e-4)


def test_whitening_goes_both_ways():
    pixels = VICTIMS.floats()
    colours = Whitening(pixels)
    assert torch.allclose(colours.white @ colours.colour, torch.eye(3), atol=1e-4)
    white = (rows(pixels) - colours.mean) @ colours.white.T
    assert torch.allclose(torch.cov(white.T), torch.eye(3), atol=1e-3)


def test_a_map_and_its_inverse():
    g = generator(4)
    one = ColourMap(torch.randn(3, 3, generator=g) + 2 * torch.eye(3), torch.randn(3, generator=g))
    pixels = VICTIMS.floats()
    assert torch.allclose(one.inverse(one(pixels)), pixels, atol=1e-4)
    assert torch.equal(ColourMap(torch.eye(3), torch.zeros(3))(pixels), pixels)
    doubled = ColourMap(2 * torch.eye(3)[[2, 0, 1]], torch.tensor([0.0, 1.0, 0.0]))(pixels)
    expected = torch.stack([2 * pixels[:, 2], 2 * pixels[:, 0] + 1, 2 * pixels[:, 1]], 1)
    assert torch.allclose(doubled, expected)


def test_rotations_are_orthogonal_and_half_of_them_mirror():
    turns = rotations(2000, generator(1))
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(2000, 3, 3), atol=1e-5)
    mirrored = (torch.linalg.det(turns) < 0).float().mean()
    assert mirrored == pytest.approx(0.5, abs=0.05)
    assert turns.mean(0).abs().max() < 0.05
    assert turns.square().mean(0).sub(1 / 3).abs().max() < 0.03


def test_small_rotations_do_not_mirror_and_stay_near():
    turns = small_rotations(2000, 0.1, generator(1))
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(2000, 3, 3), atol=1e-5)
    assert (torch.linalg.det(turns) > 0.9).all()
    # trace = 1 + 2 cos(angle); the angle is 0.1 times the length of three normal numbers.
    traces = turns.diagonal(dim1=1, dim2=2).sum(1)
    assert 3 - float(traces.mean()) == pytest.approx(3 * 0.1**2, rel=0.1)
    assert torch.equal(small_rotations(1, 0.0, generator(1))[0], torch.eye(3))


def critics_of(images, seed, epochs=1):
    return trained_critics(images, Whitening(images.float() / 255), epochs=epochs, seed=seed)


def weights(critics):
    return [value.clone() for critic in critics for value in critic.state_dict().values()]


@pytest.fixture
def forgotten(monkeypatch):
    """Call it, and nothing is remembered."""

    def forget():
        monkeypatch.setattr(colour_critic, "_critics", Remembered())

    forget()
    return forget


def test_critics_follow_from_their_arguments_alone(forgotten):
    small = tinted(64, 5).images
    torch.manual_seed(1)
    first = critics_of(small, 3)
    assert critics_of(small, 3) is first
    kept = weights(first)
    forgotten()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = critics_of(small, 3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert again is not first
    assert all(map(torch.equal, kept, weights(again)))
    for other in (critics_of(small, 4), critics_of(tinted(64, 6).images, 3)):
        assert not all(map(torch.equal, kept, weights(other)))
    one, two = first
    assert not all(map(torch.equal, weights([one]), weights([two])))


def test_only_the_last_few_results_are_remembered():
    made = []

    def make(key):
        made.append(key)
        return key

    kept = Remembered(most=2)
    asked = ["a", "b", "a", "c", "b", "a", "c"]
    assert [kept.get(key, lambda key=key: make(key)) for key in asked] == asked
    assert made == ["a", "b", "c", "a"]


def test_a_critic_learns_what_goes_wrong_with_colours():
    """On images that it has not seen: true colours before swapped, inverted and tinted ones."""
    own = AUX.images.images
    critic = train_critic(own, Whitening(own.float() / 255), epochs=12, seed=0)
    pixels = VICTIMS.floats()
    wrong = [pixels[:, [1, 0, 2]], pixels[:, [2, 1, 0]], 1 - pixels]
    wrong.append(pixels + torch.tensor([0.3, 0, -0.3]).view(1, 3, 1, 1))
    with torch.no_grad():
        true, *others = [float(judge([critic], images)) for images in (pixels, *wrong)]
    assert true < min(others) - 0.5


def test_a_critic_that_knows_leads_to_the_true_colours():
    white, pixels = whitened(), VICTIMS.floats()
    colours, rng = Whitening(AUX.images.floats()), generator(1)
    best = candidates([Knowing()], white, colours, rng, tried=500, kept=1)[0]
    found = refine([Knowing()], best, white, colours, rng, steps=60)
    coarse, fine = (float((one(white) - pixels).square().mean()) for one in (best, found))
    assert fine < coarse
    assert fine < 0.02 * float(pixels.var())


def test_candidates_are_unlike_each_other_and_best_first():
    white, colours = whitened(), Whitening(AUX.images.floats())
    found = candidates([Knowing()], white, colours, generator(1), tried=60, kept=5)
    turns = [colours.white @ one.matrix for one in found]
    assert len(found) == 5
    assert all(torch.allclose(t @ t.T, torch.eye(3), atol=1e-3) for t in turns)
    likeness = [float((a * b).sum()) for i, a in enumerate(turns) for b in turns[:i]]
    assert max(likeness) < 2.0 + 1e-3
    told = [float(Knowing()(one(white))) for one in found]
    assert told == sorted(told)
    assert len(candidates([Knowing()], white, colours, generator(1), tried=3, kept=9)) <= 3


def test_without_a_step_a_map_stays_as_it_is():
    white, colours = whitened(), Whitening(AUX.images.floats())
    start = candidates([Knowing()], white, colours, generator(1), tried=1, kept=1)[0]
    start = ColourMap(start.matrix, start.offset + torch.tensor([0.1, -0.2, 0.05]))
    same = refine([Knowing()], start, white, colours, generator(1), steps=0)
    assert torch.allclose(same.matrix, start.matrix, atol=1e-5)
    assert torch.allclose(same.offset, start.offset, atol=1e-5)
    assert not same.matrix.requires_grad


def turned(degrees, axis=0, offset=0.0):
    """White to white: a rotation about one axis."""
    angle = torch.tensor(degrees).deg2rad()
    matrix = torch.eye(3)
    rows = [i for i in range(3) if i != axis]
    matrix[rows[0], rows[0]] = matrix[rows[1], rows[1]] = angle.cos()
    matrix[rows[0], rows[1]], matrix[rows[1], rows[0]] = -angle.sin(), angle.sin()
    return ColourMap(matrix, torch.full((3,), offset))


def test_maps_within_a_small_angle_are_one_map():
    colours = Whitening(principal_images(torch.randn(50, 8, 16, 16, generator=generator(4))))
    plain = turned(0.0)
    other = ColourMap(-torch.eye(3), torch.zeros(3))
    maps = [plain, turned(15.0), turned(60.0), turned(60.0, offset=0.2), other, turned(60.0, 1)]
    assert distinct(maps, colours, 9) == [maps[0], maps[2], maps[4], maps[5]]
    assert distinct(maps, colours, 2) == [maps[0], maps[2]]
