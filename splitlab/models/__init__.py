"""Every network the lab can build from data: its own, torchvision's classifiers, timm's."""

from splitlab.models.build import MODELS, build, model_names, permit_typed
from splitlab.models.checkpoint import (
    checkpoint_outputs,
    load_checkpoint,
    load_exactly,
    read_checkpoint,
)
from splitlab.models.normalised import Normalised
from splitlab.models.own import fixed_outputs
from splitlab.models.weights import classifier_keys

__all__ = [
    "MODELS",
    "Normalised",
    "build",
    "checkpoint_outputs",
    "classifier_keys",
    "fixed_outputs",
    "load_checkpoint",
    "load_exactly",
    "model_names",
    "permit_typed",
    "read_checkpoint",
]
