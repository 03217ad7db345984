"""Arguments of a network that the lab gives itself, and how to say what was meant by them."""

from __future__ import annotations

from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput

_CLASSES = (
    "the number of classes is that of the data set (`bench splits`: --classes N); leave it out; "
    "for weights with other outputs give --classes FILE or --new-classifier"
)
_CHANNELS = "images have 3 channels (arch.input.channels); leave it out"
_WEIGHTS = "no weights are fetched or loaded here; leave it out and give --weights FILE"
_RESERVED = {
    "num_classes": _CLASSES,
    "n_classes": _CLASSES,
    "classes": _CLASSES,
    "in_chans": _CHANNELS,
    "in_channels": _CHANNELS,
    "channels": _CHANNELS,
    "spec": "it is the lab's own; leave it out",
    "pretrained": _WEIGHTS,
    "pretrained_backbone": _WEIGHTS,
    "pretrained_cfg": _WEIGHTS,
    "pretrained_cfg_overlay": _WEIGHTS,
    "weights": _WEIGHTS,
    "weights_backbone": _WEIGHTS,
    "checkpoint_path": _WEIGHTS,
    "cache_dir": _WEIGHTS,
    "features_only": "a classifier is wanted, not its features; leave it out",
}
_SIZES = ("image_size", "img_size", "input_size")


def refuse_reserved(arch: ArchSpec) -> None:
    """
    Raises:
        BadInput: an argument that the lab gives itself, so that it cannot contradict data, size or
            weights; none of them can have a library fetch anything.
    """
    for key, value in arch.arguments.items():
        if key in _RESERVED:
            raise BadInput(f"{key}={value} of model {arch.name!r}: {_RESERVED[key]}")
        size = arch.input.size
        if key in _SIZES and value not in (size, [size, size], (size, size)):
            raise BadInput(
                f"{key}={value} of model {arch.name!r}: images are {size} px; leave it out, --size "
                "is their side"
            )
