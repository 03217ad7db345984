"""Which device work runs on."""

from __future__ import annotations

import torch

from splitlab.errors import BadInput


def choose_device(device: torch.device | str = "auto") -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU.

    Raises:
        BadInput: CUDA was asked for and is not there, or a name that is no device.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise BadInput(f"--device {device}: wanted auto, cpu or cuda") from error
    if chosen.type not in ("cpu", "cuda"):
        raise BadInput(f"--device {device}: wanted auto, cpu or cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(f"--device {device}: torch finds no CUDA device here; use --device cpu")
    return chosen
