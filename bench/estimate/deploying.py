"""What it takes to write a deployment, and to read it back wherever that is done."""

from __future__ import annotations

from splitlab.deployment.equality import FEWEST

PREPARED = 2
"""Cuts of `defenses.parts.prepare`: for the shape of the feature, and of the trained network."""
CHECKED = 1
"""Cut of `check_equality`, which makes the network anew."""
WHOLE_ANSWERS, PART_ANSWERS, READ_BACK = 2, 1, 2
"""Answers to each batch of `check_equality`, and of its parts read back to the last batch."""
UNDEFENDED = 2
"""Halves that `bench.point.deploy.undefended` reads."""
GRANTED_HALVES = 1
"""Halves that are read for a grant; a second where bodies are granted."""
SERVED = 2
"""Halves that a server and a client read."""


def written_seconds(cut: float, image: float, validation: int) -> float:
    """Of `prepare` where nothing is trained, its accuracy, `check_equality` and the files.

    Args:
        cut: seconds of cutting the network.
        image: seconds of an image through all of it.
        validation: images on which the accuracy is measured.
    """
    checked = (WHOLE_ANSWERS + PART_ANSWERS) * sum(FEWEST) + READ_BACK * max(FEWEST)
    return (PREPARED + CHECKED) * cut + (validation + checked) * image


def undefended_seconds(cut: float, image: float, victims: int) -> float:
    """Of the victims' logits with no wire in between."""
    return UNDEFENDED * cut + victims * image
