"""Spectra: coordinates in which every frequency and colour of a difference varies alike."""

import pytest
import torch

from adversary.parts.spectrum import Spectrum, cosines, learned_spectrum, natural_spectrum
from splitlab.randomness import generator


def drawn(spectrum, count, seed=0):
    """Differences whose coordinates are standard normal."""
    shape = (count, *spectrum.deviations.shape)
    return spectrum.difference(torch.randn(shape, generator=generator(seed, "coordinates")))


def back(spectrum, differences):
    """The coordinates of differences."""
    basis = cosines(differences.shape[-1])
    turned = torch.einsum("dc,bdhw->bchw", spectrum.axes, differences)
    return (basis @ turned @ basis.T) / spectrum.deviations


@pytest.mark.parametrize("size", [4, 32, 33])
def test_the_cosine_transform_is_orthonormal_and_its_first_row_is_the_mean(size):
    basis = cosines(size)
    torch.testing.assert_close(basis @ basis.T, torch.eye(size), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis[0], torch.full((size,), size**-0.5))
    crossings = (basis.sign().diff(dim=1) != 0).sum(1)
    assert crossings.tolist() == list(range(size))  # a frequency a row, in order


def test_coordinates_and_differences_are_the_same_thing_twice():
    spectrum = natural_spectrum(16)
    given = torch.randn((3, 3, 16, 16), generator=generator(1))
    torch.testing.assert_close(
        spectrum.difference(back(spectrum, given)), given, atol=1e-4, rtol=1e-3
    )


def test_a_learned_spectrum_gives_back_the_one_that_was_drawn_from():
    true = natural_spectrum(16)
    found = learned_spectrum(drawn(true, 600))
    order = found.deviations.square().sum((1, 2)).argsort(descending=True)
    agree = (found.axes[:, order] * true.axes).sum(0).abs()
    assert (agree > 0.99).all()
    # Away from the mean, whose neighbours are far weaker, smoothing changes little.
    far = found.deviations[order][:, 4:, 4:] / true.deviations[:, 4:, 4:]
    assert (far.log().abs() < 0.2).all()


def test_colour_axes_are_those_of_the_differences():
    axes = torch.linalg.qr(torch.randn((3, 3), generator=generator(2)))[0]
    true = Spectrum(axes, natural_spectrum(8).deviations)
    found = learned_spectrum(drawn(true, 400))
    order = found.deviations.square().sum((1, 2)).argsort(descending=True)
    assert ((found.axes[:, order] * axes).sum(0).abs() > 0.98).all()


def test_neighbours_help_where_there_are_few_images():
    true = natural_spectrum(16)
    few = drawn(true, 4)
    found = learned_spectrum(few)
    basis = cosines(16)
    own = basis @ torch.einsum("dc,bdhw->bchw", found.axes, few) @ basis.T
    rough = own.square().mean(0).sqrt()
    order = found.deviations.square().sum((1, 2)).argsort(descending=True)
    errors = [
        float((one[order][:, 4:, 4:] / true.deviations[:, 4:, 4:]).log().abs().mean())
        for one in (found.deviations, rough)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_in_its_own_coordinates_every_frequency_varies_alike():
    true = natural_spectrum(16)
    spectrum = learned_spectrum(drawn(true, 600))
    spread = back(spectrum, drawn(true, 600, seed=1)).square().mean(0).sqrt()
    assert (spread[:, 4:, 4:] - 1).abs().max() < 0.3
    plain = drawn(true, 600, seed=1)
    basis = cosines(16)
    power = (basis @ plain @ basis.T).square().mean(0).sqrt()
    assert power.max() / power.min() > 20  # what it takes away


@pytest.mark.parametrize("size", [8, 32, 224])
def test_natural_images_vary_most_in_brightness_and_at_low_frequencies(size):
    spectrum = natural_spectrum(size)
    bright = spectrum.deviations[0]
    assert (bright[:-1] >= bright[1:]).all()
    assert (bright[:, :-1] >= bright[:, 1:]).all()
    assert (spectrum.deviations[0] > spectrum.deviations[1]).all()
    assert (spectrum.deviations[1] > spectrum.deviations[2]).all()
    pixels = drawn(spectrum, 64)
    assert float(pixels.square().mean().sqrt()) == pytest.approx(0.25, rel=0.15)
    torch.testing.assert_close(spectrum.axes.T @ spectrum.axes, torch.eye(3), atol=1e-6, rtol=0)


def test_no_frequency_is_left_out_even_where_nothing_varied():
    flat = learned_spectrum(torch.ones(4, 3, 8, 8))
    assert flat.deviations.isfinite().all()
    assert (flat.deviations > 0).all()
    assert (learned_spectrum(torch.zeros(4, 3, 8, 8)).deviations > 0).all()


def test_one_image_is_enough_for_a_spectrum():
    assert learned_spectrum(torch.rand(1, 3, 8, 8)).deviations.isfinite().all()
