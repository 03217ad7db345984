"""One training loop, and what is trained with it: classifiers here, attacks' networks elsewhere."""

from splitlab.training.accuracy import accuracy, require_numbers
from splitlab.training.augment import Augment
from splitlab.training.bars import RichProgress, showing
from splitlab.training.classifier import train_classifier
from splitlab.training.device import choose_device
from splitlab.training.fit import History, Loss, Step, fit
from splitlab.training.hooks import Protection
from splitlab.training.objective import objective
from splitlab.training.progress import Progress, Silent, Work
from splitlab.training.recipe import LONG, TrainRecipe
from splitlab.training.rehearsal import Enough, Loop, OutOfTime, Rehearsal, goes_on
from splitlab.training.source import Batch, TensorSource, batch_count
from splitlab.training.state import State

__all__ = [
    "LONG",
    "Augment",
    "Batch",
    "Enough",
    "History",
    "Loop",
    "Loss",
    "OutOfTime",
    "Progress",
    "Protection",
    "Rehearsal",
    "RichProgress",
    "Silent",
    "State",
    "Step",
    "TensorSource",
    "TrainRecipe",
    "Work",
    "accuracy",
    "batch_count",
    "choose_device",
    "fit",
    "goes_on",
    "objective",
    "require_numbers",
    "showing",
    "train_classifier",
]
