"""Settings of published code for `rmle`, by depth; TV and l2 weigh an absolute feature loss.

The 2019 code recommends one setting for each depth of its six-layer CIFAR network; take the one of
the nearest depth. Learning rates and weights of other code are not comparable: TV and feature loss
are defined in many ways (here as in `adversary.inversion.rmle.matching`).
"""

from __future__ import annotations

from typing import Any

from adversary.contract.attack import Preset

HE2019 = "zechenghe/Inverse_Collaborative_Inference, inverse_whitebox_CIFAR.py, header"


def _preset(steps: int, rate: float, tv: float, l2: float, source: str) -> Preset:
    fields: dict[str, Any] = {"steps": steps, "learning_rate": rate, "tv": tv, "l2": l2}
    return Preset(
        {**fields, "start": "mean", "spectral": False, "box": False, "relative": False}, source
    )


PRESETS = {
    "he2019-conv11": _preset(5000, 1e-2, 0.0, 0.0, HE2019),
    "he2019-relu22": _preset(5000, 1e-2, 1e1, 0.0, HE2019),
    "he2019-relu32": _preset(5000, 1e-2, 1e3, 0.0, HE2019),
    "he2019-fc1": _preset(5000, 1e-3, 1e4, 0.0, HE2019),
    "he2019-fc2": _preset(500, 1e-1, 5e2, 1e2, HE2019),
    "ressfl": _preset(3000, 0.8, 0.0, 0.0, "zlijingtao/ResSFL, MIA_torch.py, MIA_mf"),
    "glass": _preset(20_000, 1e-2, 1.0, 0.0, "GLASS, celeba/config_onlyX.yaml (here from zeros)"),
}
