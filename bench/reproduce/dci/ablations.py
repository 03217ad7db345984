"""What each part of DCI (Dong et al.) does: its losses, its second phase, blocks one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.point.setup import Scale
from bench.reproduce.dci.setup import METHOD_OPTIONS, SOURCE
from bench.reproduce.dci.study import DciStudy, movable
from bench.reproduce.frame.experiment import Claim, Experiment, Line

DEPTH: Mapping[Scale, int] = {"quick": 5, "paper": 21}
# Settings and not presets: those of the scale stand beside them and would win.
VARIANTS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("whole", "as it is, the cycle's loss to the feature", {}),
    ("short-cycle", "the cycle's loss to block k alone", {"cycle_to": "k"}),
    ("no-cycle", "no cycle loss", {"cycle": 0.0}),
    ("no-layer", "no loss of a layer", {"layer": 0.0}),
    ("no-image", "no loss of the image", {"image": 0.0}),
    ("greedy", "phase A alone, as many steps", {"tune_epochs": 0}),
    ("end-to-end", "all blocks at once, as many steps", {"divided": False}),
)


@movable
def ablations(study: DciStudy) -> Experiment:
    """DCI as it is, and without each of its parts.

    Raises:
        BadInput: a head of one block, of which there are no parts to leave out.
    """
    depth, _, place = study.spot(DEPTH[study.scale], least=2)
    without = [
        study.data_free(
            place, "dci", name=name, options={"cycle_to": "L", **_longer(study.scale, own, depth)}
        )
        for name, _, own in VARIANTS
    ]
    lines = [Line(told[1], "DCI", (m,)) for told, m in zip(VARIANTS, without, strict=True)]
    return study.experiment(
        "ablations",
        ": what each part of it does",
        (*lines, Line("ceiling", "queries", (study.ceiling(place),))),
        source=f"{SOURCE}; ablations that it leaves out",
        notes=study.told(),
        claims=tuple(
            Claim(
                f"DCI as it is beats DCI with {line.label}",
                "psnr",
                lines[0].key,
                "above",
                line.key,
                otherwise="this part of the method adds nothing here",
            )
            for line in lines[1:]
        ),
        baseline=place.name,
        timed=True,
    )


def _longer(scale: Scale, own: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
    """Without phase B, phase A lasts as long as both did, or a little longer."""
    if own.get("tune_epochs") != 0:
        return own
    whole = METHOD_OPTIONS[scale]["dci"]
    epochs = depth * whole["epochs"] + (depth - 1) * whole["tune_epochs"]
    return {**own, "epochs": math.ceil(epochs / depth)}
