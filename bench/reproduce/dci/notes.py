"""What a reader of DCI's tables and figures must know of them."""

from __future__ import annotations

from bench.point.setup import Scale
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.study import OWN

NOTES = (
    "Data-free: whatever learns does so on images made of the network's batch norms (equation 4), "
    "the same ones for every row of a seed. No row but those that say so sees a real image, and "
    "none chooses its settings by the capture: they are those of the scale.",
    "Floor: the mean of real auxiliary images. Ceiling: a decoder on real images of the same "
    "distribution with chosen-input queries, which the threat model forbids.",
)
NATURAL_NOTE = (
    "Natural noise is the lab's: as smooth and as nearly grey as photographs in general; the "
    "published synthesis starts from white noise. How much its mean varies was set by hand after a "
    "look at auxiliary images of photo-patches; no data-free row is granted those."
)
NETWORK_NOTE = (
    "Quick scale: a RepVGG of eight blocks on photo-patches. The paper's numbers are RepVGG-A0's "
    "on ImageNet at its block 21; they stand here for the directions, not for the values."
)
SETTINGS_NOTE = (
    "Quick scale: 512 synthetic images. Settings were chosen on real validation images of the "
    "scale's own network, a RepVGG of eight blocks on photo-patches, which are not scored: rMSE's "
    "rate and TV weight are level with the best of 13 pairs (`bench search`, with 5,000 steps; it "
    "has 10,000 here, as 5,000 cut it short); those of DCI, PSiM and the decoder were chosen "
    "before such trials were kept: the decoder stops where more epochs "
    "made it worse, the other two where time ended. (Trials on synthetic images led rMSE astray: "
    "those want far less smoothing than real ones.) Those of GMI, DI and DDream were not "
    "searched. The cycle's loss ends at block k, not at the feature as in equation 3."
)
MOVED_NOTE = (
    "This run is of a network that was named. Whatever of its settings was chosen was chosen on "
    "another network's validation images; nothing was searched for this one."
)
PAPER_SCALE_NOTE = (
    "Paper scale: rMSE's rate and TV weight and the weight of PSiM's discriminator are the quick "
    "scale's, chosen on another network's validation images, which are real ones."
)


def setting_notes(scale: Scale, target: Target = OWN) -> tuple[str, ...]:
    """What a reader must know of where the settings come from, wherever they are used.

    Args:
        target: what is told of the scale's own network is left out where another place is named.
    """
    told = {
        NETWORK_NOTE: scale == "quick" and not target,
        SETTINGS_NOTE: scale == "quick",
        MOVED_NOTE: target.model is not None,
    }
    return tuple(note for note, holds in told.items() if holds)
