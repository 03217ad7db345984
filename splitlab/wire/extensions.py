"""Extensions of the protocol that a request may ask for as parameters, and what becomes of each.

An answer that leaves out what was asked for looks like the right one, so that whatever would change
it is refused. Left alone, since the answer is the same without: `priority` (turns go by host),
`timeout` (the call's own deadline and the server's `--max-wait` hold), `binary_data*` and
`headers_*` (of HTTP), names that no extension has, and all of these where they say no (0, false).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitlab.errors import BadInput, foreign

_MEMORY = "shared memory is not served: it would have to be this machine's; send and take raw bytes"
_STATE = "the model keeps no state between requests, each is answered for itself; leave it out"
OF_REQUESTS = {
    "sequence_id": _STATE,
    "sequence_start": _STATE,
    "sequence_end": _STATE,
    "triton_enable_empty_final_response": "each request has one answer and no empty one after it; "
    "leave it out",
}
OF_TENSORS = {
    "shared_memory_region": _MEMORY,
    "shared_memory_byte_size": _MEMORY,
    "shared_memory_offset": _MEMORY,
}
OF_OUTPUTS = {
    **OF_TENSORS,
    "classification": "the classification extension (class_count) is not served, outputs are the "
    "bodies' own values; leave it out and take the largest yourself",
}


def require_plain(message: Any) -> None:
    """A ModelInferRequest asks for nothing that would change its answer and is not served.

    Raises:
        BadInput: it does; names the parameter, and the tensor where it is a tensor's.
    """
    _require(message.parameters, OF_REQUESTS, "")
    for tensor in message.inputs:
        _require(tensor.parameters, OF_TENSORS, f" of input {foreign(tensor.name, 60)!r}")
    for tensor in message.outputs:
        _require(tensor.parameters, OF_OUTPUTS, f" of output {foreign(tensor.name, 60)!r}")


def _require(given: Mapping[str, Any], refused: Mapping[str, str], whose: str) -> None:
    for name, why in refused.items():
        if name not in given:  # to look it up would put it there
            continue
        which = given[name].WhichOneof("parameter_choice")
        value = None if which is None else getattr(given[name], which)
        if value:
            shown = foreign(str(value), 60)
            raise BadInput(f"parameter {name} = {shown}{whose}: {why}")
