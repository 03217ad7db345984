"""The words all sides share: networks as data, defences, what is seen and estimated, metrics."""

from splitlab.contracts.arch import ArchSpec, InputSpec
from splitlab.contracts.defense import Defended, Defense, Protector
from splitlab.contracts.estimate import Estimate
from splitlab.contracts.feature import FeatureSpec, layout_of
from splitlab.contracts.kind import Kind
from splitlab.contracts.lesson import Lesson, Phase, Task, Trace, Trainer
from splitlab.contracts.metric import Metric
from splitlab.contracts.quantity import Digits, Quantity
from splitlab.contracts.registry import Registry
from splitlab.contracts.seen import Features, Gradients, Scores, Seen, Targets

__all__ = [
    "ArchSpec",
    "Defended",
    "Defense",
    "Digits",
    "Estimate",
    "FeatureSpec",
    "Features",
    "Gradients",
    "InputSpec",
    "Kind",
    "Lesson",
    "Metric",
    "Phase",
    "Protector",
    "Quantity",
    "Registry",
    "Scores",
    "Seen",
    "Targets",
    "Task",
    "Trace",
    "Trainer",
    "layout_of",
]
