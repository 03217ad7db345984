"""What the peers' decoders ask of a feature: a square map that doubles to the image's side."""

from __future__ import annotations

from splitlab.errors import BadInput


def doublings(shape: tuple[int, ...], size: int, split: str = "") -> int:
    """How often the side of a map is doubled until it is the image's.

    Args:
        shape: of one feature.
        size: side of an image in pixels.
        split: its split point's name, for the message.

    Raises:
        BadInput: no square map, or one whose side does not double to the image's.
    """
    if len(shape) == 3 and shape[1] == shape[2] and shape[1] <= size:
        count = (size // shape[1]).bit_length() - 1
        if shape[1] << count == size:
            return count
    where = f"split point {split!r} has" if split else "there is"
    raise BadInput(
        f"{where} a feature of shape {shape}; the peers read square maps whose side doubles to "
        f"the image's {size} pixels: choose other --splits"
    )
