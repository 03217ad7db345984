"""Images: data sets cut into disjoint train, auxiliary, validation and victim partitions."""

from splitlab.data.decode import read_image
from splitlab.data.image_set import ImageSet
from splitlab.data.load import DATASETS, load_splits
from splitlab.data.options import LoadOptions
from splitlab.data.splits import PARTITIONS, Splits

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "ImageSet",
    "LoadOptions",
    "Splits",
    "load_splits",
    "read_image",
]
