"""Networks of torchvision and timm, built for any number of classes and any image size."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput, foreign

_OURS = ("weights", "pretrained", "num_classes", "in_chans", "classes", "spec")


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
        return called(name, builder, weights=None, num_classes=arch.classes, **arguments)


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

    given = {
        "pretrained": False,
        "num_classes": arch.classes,
        "in_chans": arch.input.channels,
        **arch.arguments,
    }
    if "img_size" not in arch.arguments:
        try:
            return timm.create_model(name, img_size=arch.input.size, **given)
        except TypeError as error:
            if "img_size" not in str(error):
                raise BadInput(refusal(name, error, given)) from error
        except Exception as error:
            raise BadInput(refusal(name, error, given)) from error
    return called(name, timm.create_model, name, **given)


def called(name: str, builder: Callable[..., nn.Module], *values: Any, **given: Any) -> nn.Module:
    """What `builder` makes.

    Raises:
        BadInput: whatever it raises, since a wrong argument may surface as anything.
    """
    try:
        return builder(*values, **given)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(refusal(name, error, given)) from error


def refusal(name: str, error: Exception, given: Mapping[str, Any]) -> str:
    """One line on why `name` was not built with what it was given; never without a reason."""
    words = " ".join(str(error).split())
    kind = type(error).__name__
    why = f"{kind}: {foreign(words, 300)}" if words else kind
    shown = [f"{key}={value}" for key, value in given.items() if key not in _OURS]
    told = f" ({foreign(', '.join(shown), 200)})" if shown else ""
    return (
        f"{name} cannot be built so{told}: {why}; change its arguments or the image size "
        "(--size, arch.input.size)"
    )
