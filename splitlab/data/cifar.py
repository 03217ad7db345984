"""CIFAR-10 and CIFAR-100 through torchvision (Krizhevsky 2009): train side 50,000, victims 10,000.

Half of the training images train the victim's network, 40 % are the adversary's, 10 % validate.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import datasets

from splitlab.data.image_set import ImageSet
from splitlab.data.options import LoadOptions
from splitlab.data.partition import assemble, of_arrays
from splitlab.data.splits import Splits
from splitlab.errors import BadInput


def load_cifar10(argument: str, options: LoadOptions) -> Splits:
    """Ten classes."""
    return _load("cifar10", datasets.CIFAR10, argument, options)


def load_cifar100(argument: str, options: LoadOptions) -> Splits:
    """A hundred classes."""
    return _load("cifar100", datasets.CIFAR100, argument, options)


def _load(name: str, dataset: Any, argument: str, options: LoadOptions) -> Splits:
    if argument:
        raise BadInput(f"{name} takes no argument, got {argument!r}; write `{name}`")
    train, test = (_read(name, dataset, options, train) for train in (True, False))
    return assemble(name, options.seed, train, test)


def _read(name: str, dataset: Any, options: LoadOptions, train: bool) -> ImageSet:
    """One side as torchvision reads it, after it has checked its files' MD5.

    Raises:
        BadInput: not there or damaged, and not fetched.
    """
    try:
        with warnings.catch_warnings():
            # The files were pickled by numpy 1; what that warns of is none of a user's business.
            warnings.simplefilter("ignore")
            read = dataset(str(options.root), train=train, download=options.download)
    except (RuntimeError, OSError) as error:
        # what torchvision says without a download is advice on its own Python
        asked = (
            f"the download failed: {error}" if options.download else "nothing is fetched unasked"
        )
        raise BadInput(
            f"{name} is not whole under {options.root} ({asked}); fetch it with "
            "--download where there is a network, or put torchvision's files there"
        ) from error
    pixels = torch.from_numpy(read.data).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor(read.targets, dtype=torch.int64)
    side = "train" if train else "test"
    return of_arrays(scaled(pixels, options.size), labels, tuple(read.classes), f"{name}/{side}")


def scaled(pixels: Tensor, size: int) -> Tensor:
    """uint8 [N, 3, H, W] -> uint8 [N, 3, size, size], bicubic and antialiased, in small batches."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    resized = [
        F.interpolate(part, (size, size), mode="bicubic", antialias=True, align_corners=False)
        for part in pixels.split(1_000)
    ]
    return torch.cat(resized)
