"""Maps of colours are turned until bodies and critics agree, and the best of them is chosen."""

import pytest
import torch
from colour_worlds import AUX, VICTIMS, Knowing, mixed, true_map, whitened
from torch import nn
from worlds import INPUT

from adversary.inversion.aligned.body_agreement import answers
from adversary.inversion.aligned.body_alignment import Alignment, Standard, align, distance
from adversary.inversion.aligned.colour_choice import Jury, choose
from adversary.inversion.aligned.colour_map import ColourMap
from adversary.inversion.aligned.principal_images import Whitening
from splitlab.contracts import ArchSpec
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut

ARCH = ArchSpec(name="tiny_cnn", classes=4, input=INPUT)


class TrueHead(nn.Module):
    """White pictures of the victims -> what the client's head answers."""

    def __init__(self, true):
        super().__init__()
        self.true = true

    def forward(self, white):
        return mixed(self.true(white))


@pytest.fixture(scope="module")
def world():
    """The true map, the scene around it, and the bodies' answers to the captures."""
    white, pixels = whitened(), VICTIMS.floats()
    true, left = true_map(white, pixels)
    assert left < 1e-3
    body = cut(build(ARCH, seed=1), "block1", "pool", INPUT.shape).body.eval()
    body.requires_grad_(False)
    replies = [answers(body, mixed(pixels))]
    scene = Alignment(
        TrueHead(true),
        white,
        None,
        [body],
        [Standard.of(reply) for reply in replies],
        AUX.images.images,
        Whitening(AUX.images.floats()),
        [Knowing()],
    )
    own = AUX.images
    return true, scene, Jury(scene, replies, own.floats(), own.labels)


def turned(true, degrees):
    angle = torch.tensor(degrees).deg2rad()
    turn = torch.eye(3)
    turn[0, 0] = turn[1, 1] = angle.cos()
    turn[0, 1], turn[1, 0] = -angle.sin(), angle.sin()
    return ColourMap(true.matrix @ turn, true.offset)


def wrong(found, scene):
    """Mean squared error of the victims' pixels."""
    return float((found(scene.white) - VICTIMS.floats()).square().mean())


def test_distance_is_the_formula_and_none_between_equal_sets():
    rows = torch.randn(200, 5, generator=generator(1))
    assert float(distance(rows, rows)) == 0
    moved = rows + torch.tensor([3.0, 4.0, 0, 0, 0])
    assert float(distance(rows, moved)) == pytest.approx(25, rel=1e-4)
    wide = torch.cov((2 * rows).T) - torch.cov(rows.T)
    centred = rows - rows.mean(0)
    assert float(distance(centred, 2 * centred)) == pytest.approx(
        float(wide.square().sum()) / 4, rel=1e-3
    )


def test_a_turned_map_is_brought_back(world):
    true, scene, _ = world
    start = turned(true, 25.0)
    found = align(start, scene, generator(2), steps=60)
    assert wrong(found, scene) < 0.3 * wrong(start, scene)
    assert not found.matrix.requires_grad
    same = align(start, scene, generator(2), steps=0)
    assert torch.allclose(same.matrix, start.matrix, atol=1e-5)
    assert torch.allclose(same.offset, start.offset, atol=1e-5)


def test_the_true_map_is_chosen_among_others(world):
    true, scene, jury = world
    order = [ColourMap(true.matrix[rows], true.offset[rows]) for rows in ([1, 2, 0], [2, 1, 0])]
    maps = [*order, turned(true, 10.0), ColourMap(-true.matrix, 1 - true.offset)]
    found = choose(maps, jury, scene, aligned=3, steps=20, seed=1)
    assert [one.worth for one in found] == sorted(one.worth for one in found)
    errors = [wrong(one.colours, scene) for one in found]
    assert errors[0] == min(errors)
    assert errors[0] < 0.2 * min(errors[1:])


def test_maps_that_are_the_same_are_aligned_once(world):
    true, scene, jury = world
    maps = [turned(true, 5.0), turned(true, -5.0), turned(true, 2.0)]
    assert len(choose(maps, jury, scene, aligned=3, steps=2, seed=1)) == 1
