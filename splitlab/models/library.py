"""Networks of torchvision and timm, built for any number of classes and any image size."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from typing import Any

from torch import nn

from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """Every image classifier that torchvision registers, without its quantised twins."""
    from torchvision import models

    return tuple(models.list_models(module=models))


@functools.cache
def timm_names() -> tuple[str, ...]:
    """Every network that timm registers."""
    import timm

    return tuple(timm.list_models())


def build_torchvision(name: str, arch: ArchSpec) -> nn.Module:
    """torchvision's `name` with random weights, for `arch.classes` and `arch.input.size`."""
    from torchvision import models

    if arch.input.channels != 3:
        raise BadInput(
            f"input.channels={arch.input.channels}: torchvision's {name} takes 3; "
            "timm's networks take any number"
        )
    builder = models.get_model_builder(name)
    arguments = {**_size_argument(builder, arch.input.size), **arch.arguments}
    with warnings.catch_warnings():
        # GoogLeNet and Inception announce a later default of their initialisation.
        warnings.simplefilter("ignore", FutureWarning)
        return _call(name, builder, weights=None, num_classes=arch.classes, **arguments)


def _size_argument(builder: Any, size: int) -> dict[str, Any]:
    """The keyword by which the networks of `builder`'s file learn the image size, if they do."""
    home = sys.modules[inspect.unwrap(builder).__module__]
    for _, member in inspect.getmembers(home, inspect.isclass):
        if not issubclass(member, nn.Module) or member.__module__ != home.__name__:
            continue
        accepted = inspect.signature(member).parameters
        if "num_classes" in accepted and "image_size" in accepted:
            return {"image_size": size}
        if "num_classes" in accepted and "input_size" in accepted:
            return {"input_size": (size, size)}
    return {}


def build_timm(name: str, arch: ArchSpec) -> nn.Module:
    """timm's `name` with random weights; told the image size where it wants to know."""
    import timm

    make = functools.partial(
        timm.create_model,
        name,
        pretrained=False,
        num_classes=arch.classes,
        in_chans=arch.input.channels,
        **arch.arguments,
    )
    if "img_size" not in arch.arguments:
        try:
            return make(img_size=arch.input.size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise BadInput(_refusal(name, error)) from error
        except (ValueError, AssertionError, RuntimeError) as error:
            raise BadInput(_refusal(name, error)) from error
    return _call(name, make)


def _call(name: str, builder: Any, **arguments: Any) -> nn.Module:
    try:
        return builder(**arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BadInput(_refusal(name, error)) from error


def _refusal(name: str, error: Exception) -> str:
    why = str(error) or type(error).__name__
    return f"{name} cannot be built so: {why}; change arch.arguments or arch.input.size"
