"""From a file of anybody's making to named tensors of one network, with no code unpickled."""

from splitlab.models.weights.fitting import fitted
from splitlab.models.weights.outputs import classifier_keys, outputs_of
from splitlab.models.weights.read import read_content
from splitlab.models.weights.state import StateDict, state_dict_in
from splitlab.models.weights.values import check_finite, check_plain

__all__ = [
    "StateDict",
    "check_finite",
    "check_plain",
    "classifier_keys",
    "fitted",
    "outputs_of",
    "read_content",
    "state_dict_in",
]
