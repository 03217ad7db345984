"""What each part of DCI (Dong et al.) does: its losses, its second phase, blocks one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.point.setup import Scale
from bench.reproduce.dci.notes import NOTES, OWN, setting_notes
from bench.reproduce.dci.setup import (
    OPTIONS,
    SETUP,
    SOURCE,
    ceiling,
    data_free,
    grouping,
    moved,
    spot,
)
from bench.reproduce.frame.experiment import Claim, Experiment, ExperimentRow
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.run import Framed

DEPTH: Mapping[Scale, int] = {"quick": 5, "paper": 21}
WHOLE = "as it is, the cycle's loss to the feature"
# Settings and not presets: those of the scale stand beside them and would win.
VARIANTS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("short-cycle", "the cycle's loss to block k alone", {"cycle_to": "k"}),
    ("no-cycle", "no cycle loss", {"cycle": 0.0}),
    ("no-layer", "no loss of a layer", {"layer": 0.0}),
    ("no-image", "no loss of the image", {"image": 0.0}),
    ("greedy", "phase A alone, as many steps", {"tune_epochs": 0}),
    ("end-to-end", "all blocks at once, as many steps", {"divided": False}),
)


def _ablations(scale: Scale, target: Target = OWN) -> Experiment:
    """DCI as it is, and without each of its parts.

    Raises:
        UnknownName, NotCuttable, BadInput: a network or split point that is none, or a head of one
            block, of which there are no parts to leave out.
    """
    setup = moved(SETUP[scale], target)
    depth, _, place = spot(scale, setup, target, DEPTH[scale], least=2)
    usual = {"cycle_to": "L", **grouping(setup)}
    whole = data_free(scale, place, "dci", name="whole", options=usual)
    without = [
        data_free(scale, place, "dci", name=name, options={**usual, **_longer(scale, own, depth)})
        for name, _, own in VARIANTS
    ]
    bound = ceiling(scale, place)
    lines = [
        (WHOLE, whole),
        *((label, m) for (_, label, _), m in zip(VARIANTS, without, strict=True)),
    ]
    return Experiment(
        name="dci-ablations",
        title="DCI: what each part of it does",
        source=f"{SOURCE}; ablations that it leaves out",
        scale=scale,
        setup=setup,
        measurements=(whole, *without, bound),
        rows=(
            *(ExperimentRow(m.key, label, "DCI", (m.key,)) for label, m in lines),
            ExperimentRow(bound.key, "ceiling", "queries", (bound.key,)),
        ),
        claims=tuple(
            Claim(
                f"DCI as it is beats DCI with {label}",
                "psnr",
                whole.key,
                "above",
                measured.key,
                otherwise="this part of the method adds nothing here",
            )
            for label, measured in lines[1:]
        ),
        notes=(*NOTES, *setting_notes(scale, target)),
        baseline=place.name,
        timed=True,
    )


ablations = Framed(_ablations, _ablations)


def _longer(scale: Scale, own: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
    """Without phase B, phase A lasts as long as both did, or a little longer."""
    if own.get("tune_epochs") != 0:
        return own
    whole = OPTIONS[scale]["dci"]
    epochs = depth * whole["epochs"] + (depth - 1) * whole["tune_epochs"]
    return {**own, "epochs": math.ceil(epochs / depth)}
