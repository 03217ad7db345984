"""Small pictures that differ from each other, so that none is a copy of another."""

import itertools

import numpy as np
from PIL import Image

_seeds = itertools.count(10_000)


def picture(size=(8, 8), mode="RGB"):
    """A PIL image of random pixels."""
    rng = np.random.default_rng(next(_seeds))
    noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def paint(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture().save(path, **options)


def fill(folder, tops, count=12, ending="png"):
    for top in tops:
        for row in range(count):
            paint(folder / top / f"{top.replace('/', '_')}_{row:02d}.{ending}")


def sizes(splits):
    return [len(part) for part in splits.partitions.values()]


def total(splits):
    return sum(sizes(splits))
