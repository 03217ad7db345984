"""An attack on a new kind of estimate, all in its own file: how bright each victim's image is.

A number an image: less than the image, and more than a deployment should tell. The brightness is
read from the channels' means of the feature, by least squares on the adversary's own images.
"""

import torch

from adversary.contract.attack import Attack
from adversary.contract.workplace import ALONE
from splitlab.contracts import Digits, Estimate, Features, Kind, Metric
from splitlab.storage import write_bytes


def true_brightness(items, context):
    del context
    return items.floats("cpu").flatten(1).mean(1)


def wrong_brightness(values, rows, given):
    del given
    return "" if tuple(values.shape) == (rows,) else f"answered {tuple(values.shape)}"


def mean_brightness(own):
    """The floor: the mean of the adversary's images."""
    return true_brightness(own, {}).mean()


def correlation(rows):
    truth, estimate = (one.double() - one.double().mean() for one in rows)
    return float((truth * estimate).sum() / (truth.norm() * estimate.norm()).clamp_min(1e-12))


def bars(path, truth, values):
    told = ", ".join(f"{a:.2f}/{b:.2f}" for a, b in zip(truth, values, strict=True))
    write_bytes(path, f"<svg xmlns='http://www.w3.org/2000/svg'><!-- {told} --></svg>".encode())


ERROR = Metric(
    "brightness_error",
    "1",
    "falls",
    title="brightness error",
    digits=Digits(table=4, brief=4),
    margin=0.001,
    bounds=(0.0, 1.0),
    per_item=lambda truth, estimate, _: (truth - estimate).abs(),
)
CORRELATION = Metric(
    "brightness_correlation",
    "1",
    "rises",
    title="brightness correlation",
    bounds=(-1.0, 1.0),
    prepare=lambda truth, estimate, _: (truth, estimate),
    per_set=correlation,
    resamples=200,
)
BRIGHTNESS = Kind(
    name="brightness",
    truth=true_brightness,
    check=wrong_brightness,
    metrics=("brightness_attack:ERROR", "brightness_attack:CORRELATION"),
    floor="brightness_attack:mean_brightness",
    floor_is="the mean brightness",
    view="brightness_attack:bars",
    suffix=".svg",
)


class Brightness(Attack):
    """Linear regression from channel means to brightness."""

    name = "brightness"
    source = "a test"
    sees = (Features,)
    estimates = BRIGHTNESS
    asks = {"undefended": frozenset({"head"})}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        del rng, work
        own = threat.need("aux", self.name).images
        with torch.no_grad():
            known = self._inputs(threat.need("head", self.name)(own.floats("cpu")))
        weights = torch.linalg.lstsq(known, true_brightness(own, {})[:, None]).solution

        def read(seen):
            return Estimate((self._inputs(seen.features) @ weights).squeeze(1).clamp(0, 1))

        return read

    @staticmethod
    def _inputs(features):
        means = features.float().flatten(2).mean(2)
        return torch.cat([means, torch.ones(len(means), 1)], 1)
