"""Settings of published code for `drag`, and a quick one of the lab's.

The published numbers are for CLIP and DINOv2 heads and priors of 256 pixels by path.
"""

from __future__ import annotations

from typing import Any

from adversary.contract.attack import Preset

CODE = "ntuaislab/DRAG, config/run_drag_dm.yaml"
PUBLISHED: dict[str, Any] = {
    "steps": 250,
    "recurrence": 16,
    "inner": 0,
    "guidance": 0.2,
    "clip": 0.02,
    "tv": 0.1,
    "l2": 0.01,
    "distance": "cosine",
    "samples": 1,
}
PRESETS = {
    "quick": Preset(
        {"steps": 25, "inner": 5, "samples": 2, "train_steps": 500},
        "the lab's own: an eighth of the default's sampling, a third of its training",
    ),
    "paper": Preset({**PUBLISHED, "start": "noise"}, CODE),
    "paper++": Preset(
        {**PUBLISHED, "start": "decoder", "strength": 0.3},
        f"{CODE}; the start of run.sh, section 5.2, with the lab's decoder",
    ),
}
