"""Images: data sets cut into disjoint train, auxiliary, validation and victim partitions."""

from splitlab.data.image_set import ImageSet
from splitlab.data.load import DATASETS, load_splits
from splitlab.data.options import LoadOptions
from splitlab.data.output_names import aliases, places, read_label_map, read_output_names
from splitlab.data.pictures.decode import read_image, read_images
from splitlab.data.splits import PARTITIONS, Splits

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "ImageSet",
    "LoadOptions",
    "Splits",
    "aliases",
    "load_splits",
    "places",
    "read_image",
    "read_images",
    "read_label_map",
    "read_output_names",
]
