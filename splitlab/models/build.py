"""`ArchSpec` -> module: the lab's own networks, then torchvision, then timm; or a user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from splitlab import entry_points
from splitlab.contracts import ArchSpec, Registry
from splitlab.contracts.arch import is_own
from splitlab.errors import BadInput, UnknownName
from splitlab.models import library
from splitlab.models.argument_kinds import check_arguments, check_weights
from splitlab.models.arguments import refuse_reserved
from splitlab.models.normalised import Normalised
from splitlab.models.own import make_own, permit_model, require_outputs
from splitlab.models.variants import varied

MODELS = Registry(
    "model",
    {
        "resnet8": "splitlab.models.cifar_resnet:resnet8",
        "resnet20": "splitlab.models.cifar_resnet:resnet20",
        "resnet56": "splitlab.models.cifar_resnet:resnet56",
        "resnet18_cifar": "splitlab.models.resnet18_cifar:resnet18_cifar",
        "vgg11_cifar": "splitlab.models.cifar_vgg:vgg11_cifar",
        "vgg16_cifar": "splitlab.models.cifar_vgg:vgg16_cifar",
        "conv6": "splitlab.models.conv6:conv6",
        "repvgg_a0": "splitlab.models.repvgg:repvgg_a0",
        "repvgg_mini": "splitlab.models.repvgg:repvgg_mini",
        "tiny_cnn": "splitlab.models.tiny:tiny_cnn",
        "tiny_vit": "splitlab.models.tiny:tiny_vit",
    },
    group=entry_points.MODEL_GROUP,
)
"""An installed package's name stands for its "package.module:factory", a network like one's own."""


def model_names() -> list[str]:
    """Every name that `build` accepts: own, packages', "torchvision/...", then "timm/..."."""
    return [
        *MODELS,
        *(f"torchvision/{name}" for name in library.torchvision_names()),
        *(f"timm/{name}" for name in library.timm_names()),
    ]


def permit_typed(text: str) -> str:
    """Import the module of a network that the operator has typed, where it is a user's own.

    Returns the text; a name that an installed package brings is written out in it, as
    "package.module:factory".

    Raises:
        BadInput: no such module, or one that fails while it is imported; a package's name that is
            somebody else's too.
    """
    text = _written_out(text)
    permit_model(text, lambda name: name in MODELS or name in map(_bare, model_names()))
    return text


def _written_out(text: str) -> str:
    """ "name:width=8" -> "package.module:factory:width=8" where a package brings that name.

    Raises:
        BadInput: it is the lab's, torchvision's or timm's already; no name shadows another.
    """
    name, colon, fields = text.strip().partition(":")
    entry = MODELS.foreign(name)
    if entry is None:
        return text
    for home, names in (
        ("torchvision", library.torchvision_names()),
        ("timm", library.timm_names()),
    ):
        if name in names:
            raise BadInput(
                f"model {name!r} is brought by {home} and by {entry.origin}; say {home}/{name} or "
                f"{entry.place}"
            )
    return f"{entry.place}{colon}{fields}"


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


@torch.inference_mode(False)
def build(arch: ArchSpec, seed: int | None = None) -> Normalised:
    """The network that `arch` describes, in train mode, on the CPU, with random weights.

    Args:
        arch: name, classes, arguments, variants and input.
        seed: public seed of the weights; None draws one. The global generator is left untouched.

    Raises:
        UnknownName: neither the lab, torchvision nor timm has this network; lists the nearest.
        BadInput: an argument, variant or input that the network does not accept.
        NotImported: it is a user's own, and the operator has not named its module.
        Mismatch: a user's own tells another number of classes apart.
    """
    if arch.input.kind != "image":
        raise BadInput(
            f"input.kind={arch.input.kind!r}: every network here takes images; use kind='image'"
        )
    for name in ("mean", "std"):
        values = getattr(arch.input, name)
        if len(values) != arch.input.channels:
            raise BadInput(
                f"input.{name} has {len(values)} values for {arch.input.channels} channels; "
                "give one a channel"
            )
    if not is_own(arch.name):
        arch = arch.model_copy(update={"name": _written_out(arch.name)})
    own = is_own(arch.name)
    if not own:
        refuse_reserved(arch)
    make = _maker(arch)
    with _own_weights(seed):
        net = varied(make(), _afterwards(arch))
        whole = Normalised(net, arch.input.mean, arch.input.std)
        if own:
            require_outputs(whole, arch)
    if not own:
        check_arguments(arch.name, arch.arguments, type(net).__init__)
    check_weights(arch.name, arch.arguments, net)
    return whole


def _maker(arch: ArchSpec) -> Callable[[], nn.Module]:
    """What builds `arch`; names are resolved here, so that an unknown one costs no weights."""
    home, _, bare = arch.name.rpartition("/")
    if home == "" and bare in MODELS.ours:
        function = MODELS.load(bare)
        given = {**arch.arguments, **_at_construction(function, arch)}
        _check_accepted(function, given, arch.name)
        check_arguments(arch.name, arch.arguments, function)
        return lambda: library.called(
            arch.name, function, classes=arch.classes, spec=arch.input, **given
        )
    if is_own(arch.name):
        return lambda: make_own(arch)
    if home in ("", "torchvision") and bare in library.torchvision_names():
        return lambda: library.build_torchvision(bare, arch)
    if home in ("", "timm") and bare in library.timm_names():
        return lambda: library.build_timm(bare, arch)
    known = model_names()
    if not home:
        known += [name.rpartition("/")[2] for name in known]
    raise UnknownName("model", arch.name, dict.fromkeys(known))


def _at_construction(function: Callable[..., nn.Module], arch: ArchSpec) -> dict[str, Any]:
    """Variants that one of the lab's own networks is built with: lists, one factor a stage."""
    accepted = inspect.signature(function).parameters
    return {
        name: value
        for name, value in arch.variants.items()
        if name in accepted and not isinstance(value, Mapping)
    }


def _afterwards(arch: ArchSpec) -> dict[str, Any]:
    """Variants that change the network when it is built."""
    if arch.name not in MODELS.ours:
        return arch.variants
    built_with = _at_construction(MODELS.load(arch.name), arch)
    return {name: value for name, value in arch.variants.items() if name not in built_with}


def _check_accepted(function: Callable[..., nn.Module], given: dict[str, Any], name: str) -> None:
    accepted = [key for key in inspect.signature(function).parameters if key not in _OURS]
    for key in given:
        if key not in accepted:
            raise BadInput(
                f"{name!r} takes no argument or variant {key!r}; "
                f"it takes {', '.join(accepted) or 'none'}"
            )


_OURS = ("classes", "spec")


@contextmanager
def _own_weights(seed: int | None) -> Iterator[None]:
    """Draw weights under `seed` and put the global CPU generator back as it was."""
    before = torch.random.get_rng_state()
    try:
        if seed is None:
            torch.default_generator.seed()
        else:
            torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.random.set_rng_state(before)
