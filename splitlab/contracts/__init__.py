"""The words all sides share: networks as data, defences, metrics, registries, ranges."""

from splitlab.contracts.arch import ArchSpec, InputSpec
from splitlab.contracts.defense import Defended, Defense, Phase, Protector, Task
from splitlab.contracts.feature import FeatureSpec, layout_of
from splitlab.contracts.metric import Metric
from splitlab.contracts.registry import Registry

__all__ = [
    "ArchSpec",
    "Defended",
    "Defense",
    "FeatureSpec",
    "InputSpec",
    "Metric",
    "Phase",
    "Protector",
    "Registry",
    "Task",
    "layout_of",
]
