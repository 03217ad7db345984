"""`rmle` in the coordinates of a spectrum: how far it gets, what is learned and what is refused."""

from dataclasses import replace

import pytest
import torch
from worlds import AUX, INPUT, VICTIMS, capture, outcome, threat, tiny_head

from adversary.contract.threat import AuxImages
from adversary.contract.workplace import Workplace
from adversary.inversion.rmle.attack import RMLE
from adversary.inversion.rmle.choice import SPECTRAL, options_of
from adversary.inversion.rmle.matching import MatchingSettings, Spectra, match_features
from adversary.inversion.rmle.start import ENOUGH, MOST, spectra_of, starting
from adversary.parts.spectrum import cosines, learned_spectrum, natural_spectrum
from splitlab.errors import BadInput
from splitlab.metrics import psnr
from splitlab.randomness import generator

HEAD = tiny_head("block2")
FEATURES = capture(HEAD)
SPECTRA = Spectra(natural_spectrum(INPUT.size), natural_spectrum(INPUT.size))
PLAIN = MatchingSettings(40, None, 0.0, 0.0, True)
WHITE = replace(PLAIN, spectral=True)
MEAN = torch.tensor(INPUT.mean).view(-1, 1, 1)


def match(settings, head=HEAD, features=FEATURES, start=None, spectra=SPECTRA):
    rows = [settings] * len(features) if isinstance(settings, MatchingSettings) else settings
    return match_features(
        head, features, rows, INPUT, generator(0), start=start, spectra=spectra, unit=1.0
    )


def narrow(images):
    """A head that keeps a quarter of what there is, each pixel as much as the others."""
    rows = torch.randn((3 * INPUT.size**2 // 4, 3 * INPUT.size**2), generator=generator(9))
    return images.flatten(1) @ rows.T / rows.shape[1] ** 0.5


def test_where_the_feature_says_nothing_the_start_stays():
    """Without a slope from the features the prior's most likely image is where it began."""
    dark = match(replace(WHITE, near=0.1), lambda x: 0 * x.flatten(1), torch.zeros(8, 768))
    torch.testing.assert_close(dark.images, MEAN.expand_as(dark.images), atol=0.01, rtol=0)
    start = 0.5 * VICTIMS
    own = replace(WHITE, near=0.1, started=True)
    kept = match(own, lambda x: 0 * x.flatten(1), torch.zeros(8, 768), start)
    torch.testing.assert_close(kept.images, start, atol=1e-4, rtol=0)


def test_no_steps_give_the_start_back():
    start = 0.5 * VICTIMS
    still = match(replace(WHITE, steps=0, started=True), start=start)
    torch.testing.assert_close(still.images, start, atol=1e-5, rtol=0)


def test_the_answer_is_the_gaussian_posterior_of_a_linear_head():
    """near is noise over signal: what a head shows so many times shrinks by its share."""
    truth = (MEAN + 0.2 * (VICTIMS - 0.5)).clamp(0, 1)
    for near, times in ((0.01, 1), (0.3, 1), (0.3, 3)):
        shown = truth.repeat(1, times, 1, 1)
        own = replace(WHITE, steps=150, near=near)
        found = match(own, lambda x, n=times: x.repeat(1, n, 1, 1), shown).images
        spectrum = SPECTRA.blank
        way, turned = cosines(16), torch.einsum("dc,bdhw->bchw", spectrum.axes, truth - MEAN)
        kept = spectrum.deviations.square() / (spectrum.deviations.square() + near / times)
        wanted = way.T @ ((way @ turned @ way.T) * kept) @ way
        wanted = MEAN + torch.einsum("dc,bchw->bdhw", spectrum.axes, wanted)
        torch.testing.assert_close(found, wanted.clamp(0, 1), atol=0.02, rtol=0)


def test_rows_of_every_kind_stand_in_one_batch():
    start = 0.5 * VICTIMS[:4]
    rows = [
        replace(PLAIN, steps=12, spectral=spectral, started=started, near=0.1 * spectral)
        for spectral in (False, True)
        for started in (False, True)
    ]
    together = match(rows, features=FEATURES[:4], start=start)
    for row, own in enumerate(rows):
        one = slice(row, row + 1)
        alone = match([own], features=FEATURES[one], start=start[one])
        torch.testing.assert_close(together.images[row], alone.images[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spectra", [None, Spectra(natural_spectrum(16))])
def test_a_row_without_its_spectrum_is_an_error(spectra):
    with pytest.raises(ValueError, match="the spectrum of where it begins"):
        match(replace(WHITE, started=True), start=VICTIMS, spectra=spectra)


def test_both_coordinates_are_tried_unless_one_is_given():
    every = options_of(PLAIN, None, None, None, started=True)
    assert {(one.started, one.spectral) for one in every} == {
        (a, b) for a in (False, True) for b in (False, True)
    }
    assert {one.near for one in every if one.spectral} == set(SPECTRAL.nears)
    for given in (False, True):
        own = options_of(PLAIN, None, None, given, started=True)
        assert own == [one for one in every if one.spectral == given]
    adam = replace(PLAIN, learning_rate=0.1)
    assert not any(one.spectral for one in options_of(adam, None, None, None, started=True))
    near = options_of(PLAIN, None, 0.07, True, started=False)
    assert {one.near for one in near} == {0.07}


def test_it_learns_what_its_own_images_differ_by_from_both_starts():
    model = threat(HEAD, known="unaware")
    begin = starting("decoder", model, Workplace())
    own = AuxImages(AUX.images, AUX.images.subset(range(ENOUGH)), AUX.kind)
    found = spectra_of(replace(model, aux=own), HEAD, begin, torch.device("cpu"), generator(0))
    total = [float(one.deviations.square().sum()) for one in found]
    pixels = own.validation.floats()
    with torch.no_grad():
        error = pixels - begin(HEAD(pixels))
    count = len(pixels)
    # The squares of orthonormal coordinates are those of the pixels, but for smoothing.
    assert total[0] == pytest.approx(float((pixels - MEAN).square().sum()) / count, rel=0.4)
    assert total[1] == pytest.approx(float(error.square().sum()) / count, rel=0.4)
    assert total[1] < total[0]


def test_a_spectrum_of_the_start_knows_the_defence():
    """What another attack gets wrong of spoilt features, and not of clean ones."""
    begin = starting("decoder", threat(HEAD, known="unaware"), Workplace())
    own = AuxImages(AUX.images, AUX.images.subset(range(ENOUGH)), AUX.kind)
    found = []
    for known in ("unaware", "adaptive"):
        model = replace(threat(HEAD, "gaussian:level=3", known=known), aux=own)
        one = spectra_of(model, HEAD, begin, torch.device("cpu"), generator(0)).start
        found.append(float(one.deviations.square().sum()))
    assert found[1] > 1.5 * found[0]


def test_its_own_images_are_those_that_nobody_learned_from_and_never_synthetic_ones():
    dark, light = AUX.images.subset(range(ENOUGH)), AUX.images
    dark = replace(dark, images=(dark.images // 8))
    plain = spectra_of(
        replace(threat(HEAD, known="unaware"), aux=AuxImages(light, dark, AUX.kind)),
        HEAD,
        None,
        torch.device("cpu"),
        generator(0),
    )
    wanted = learned_spectrum(dark.floats() - MEAN).deviations
    torch.testing.assert_close(plain.blank.deviations, wanted)
    made = replace(threat(HEAD, known="unaware"), aux=AuxImages(light, dark, "synthetic"))
    natural = spectra_of(made, HEAD, None, torch.device("cpu"), generator(0)).blank
    assert torch.equal(natural.deviations, natural_spectrum(INPUT.size).deviations)


def test_of_a_start_that_became_no_number_there_is_no_spectrum():
    model = threat(HEAD, known="unaware")
    own = AuxImages(AUX.images, AUX.images.subset(range(ENOUGH)), AUX.kind)
    broken = spectra_of(
        replace(model, aux=own),
        HEAD,
        lambda z: torch.full((len(z), *INPUT.shape), torch.nan),
        torch.device("cpu"),
        generator(0),
    )
    assert torch.equal(broken.start.deviations, natural_spectrum(INPUT.size).deviations)


def test_without_images_it_takes_natural_images_for_its_prior():
    model = replace(threat(HEAD, known="unaware"), aux=None)
    found = spectra_of(model, HEAD, None, torch.device("cpu"), generator(0))
    assert torch.equal(found.blank.deviations, natural_spectrum(INPUT.size).deviations)
    assert found.start is None
    done = outcome(RMLE(steps=8), model, FEATURES)
    assert done.estimate.extra["spectral"] is True
    few = AuxImages(AUX.images.subset(range(ENOUGH - 1)), AUX.images.subset([]), AUX.kind)
    scarce = spectra_of(replace(model, aux=few), HEAD, None, torch.device("cpu"), generator(0))
    assert torch.equal(scarce.blank.deviations, found.blank.deviations)


def test_adam_descends_on_plain_pixels():
    with pytest.raises(BadInput, match="Adam descends on plain pixels"):
        RMLE.configured({"spectral": True, "learning_rate": 0.1})
    model = replace(threat(HEAD, known="unaware"), aux=None)
    done = outcome(RMLE(steps=3, learning_rate=0.1), model, FEATURES)
    assert done.estimate.extra["spectral"] is False
    for name in RMLE.presets:
        assert RMLE.configured({"preset": name}).spectral is False


def test_the_spectrum_reaches_further_in_the_same_steps():
    """Natural images behind a head that keeps too little: the likelier image is the nearer one."""
    images = (
        MEAN + natural_spectrum(16).difference(torch.randn(8, 3, 16, 16, generator=generator(3)))
    ).clamp(0, 1)
    features = narrow(images)
    white = match(replace(WHITE, steps=30, near=1e-4), narrow, features).images
    plain = match(replace(PLAIN, steps=30), narrow, features).images
    smooth = match(replace(PLAIN, steps=30, tv=0.003), narrow, features).images
    reached = [float(psnr(images, found).mean()) for found in (white, plain, smooth)]
    assert reached[0] > max(reached[1:]) + 1


def test_of_large_images_a_spectrum_is_learned_from_fewer():
    asked = []

    class Watched(type(AUX.images)):
        def take(self, count, seed=0):
            asked.append(count)
            return super().take(min(count, 2), seed)

    own = AUX.images
    watched = Watched(own.images, own.labels, own.classes, own.groups)
    for size in (INPUT.size, 224):
        model = replace(
            threat(HEAD, known="unaware"),
            aux=AuxImages(own, watched, AUX.kind),
            input=INPUT.model_copy(update={"size": size}),
        )
        spectra_of(model, HEAD, None, torch.device("cpu"), generator(0))
    assert asked == [MOST, MOST * 64**2 // 224**2]
    assert asked[1] >= ENOUGH
