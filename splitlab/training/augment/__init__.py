"""Random changes of a batch of images, and of their labels where images are mixed."""

from splitlab.training.augment.augment import Augment
from splitlab.training.augment.colour import Jitter
from splitlab.training.augment.mix import Mix, Mixed

__all__ = ["Augment", "Jitter", "Mix", "Mixed"]
