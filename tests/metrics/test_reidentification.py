"""Re-identification where the nearest victim is known."""

import pytest
import torch

from splitlab.errors import BadInput
from splitlab.metrics import evaluate
from splitlab.metrics.image.reidentification import reidentified


def gallery(n: int = 20) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_true_images_are_found_and_swapped_ones_are_not():
    places = gallery().flatten(1)
    index = torch.arange(20)
    near = places + 0.01
    assert reidentified(near, places, index).mean().item() == 100
    assert reidentified(near.roll(1, 0), places, index).mean().item() == 0


def test_a_constant_answer_scores_chance():
    """One image for all is nearest to exactly one victim; equal distances share the hit."""
    places = gallery().flatten(1)
    constant = places.mean(0, keepdim=True).expand_as(places)
    assert reidentified(constant, places, torch.arange(20)).mean().item() == pytest.approx(5)
    twins = places[:1].expand(20, -1)
    assert reidentified(twins, twins, torch.arange(20)).mean().item() == pytest.approx(5)


def test_subset_of_victims_is_searched_among_all():
    images = gallery()
    truths, context = images[5:8], {"gallery": images, "truth_index": torch.arange(5, 8)}
    columns = evaluate(["reidentified_by_pixels"], truths, truths, context)
    assert columns["reidentified_by_pixels"].values.tolist() == [100, 100, 100]
    with pytest.raises(BadInput, match="truth_index"):
        evaluate(["reidentified_by_pixels"], truths, truths, {"gallery": images})


def test_features_of_an_independent_network():
    """In a feature that only sees the mean colour, an image of the same colour is the same."""
    images = gallery()
    flat = images.mean((2, 3), keepdim=True).expand_as(images)
    context = {"embed": lambda x: x.mean((2, 3))}
    names = ["reidentified_by_features"]
    assert evaluate(names, images, flat, context)[names[0]].values.mean().item() == 100
    column = evaluate(names, images, flat)[names[0]]
    assert column.values is None
    assert column.why == "no independent network was given to compare features in"


def test_indices_outside_the_gallery_are_refused():
    places = gallery().flatten(1)
    with pytest.raises(BadInput, match="outside"):
        reidentified(places, places[:10], torch.arange(20))
    with pytest.raises(BadInput, match="do not fit"):
        reidentified(places, places[:, :5], torch.arange(20))
