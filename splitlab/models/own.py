"""A user's own network: `package.module:factory`, any callable that returns an `nn.Module`."""

from __future__ import annotations

import inspect
import json
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from splitlab.contracts import ArchSpec, own_code
from splitlab.contracts.own_code import aside, failed, own_object
from splitlab.errors import BadInput, Mismatch, foreign
from splitlab.models.argument_kinds import check_kinds
from splitlab.models.normalised import Normalised

CLASSES = ("num_classes", "classes")
"""Arguments by which a factory may be told the number of classes; the first that it has."""
_made: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_answered: dict[str, int] = {}  # arch as JSON, without its classes where they are not told


def permit_model(text: str, library: Callable[[str], bool]) -> None:
    """Permit the module of a network that the operator has typed; other networks pass.

    Args:
        text: such as "package.module:factory:width=32".
        library: whether a name is a network of the lab or of a library, whose argument has no "=".

    Raises:
        BadInput: no such module, or one that fails while it is imported.
    """
    own = own_code.parted(":".join(text.strip().split(":")[:2]))
    if own is None:
        if ".py:" in text and "=" not in text.partition(".py:")[0]:
            folder, _, file = text.partition(".py:")[0].rpartition("/")
            where = f", started in the folder {folder}" if folder else ""
            raise BadInput(
                f"--model {text}: wanted module:factory and no file, such as "
                f"{file}:{text.partition('.py:')[2]}{where}"
            )
        return
    module, _ = own
    if "." in module or own_code.there(module) or not library(module):
        own_code.permit(module)


def make_own(arch: ArchSpec) -> nn.Module:
    """What the factory makes of the arguments as JSON has them, so that every side gives the same.

    Raises:
        NotImported, UnknownName, BadInput: see `own_object`; arguments that it does not take, or
            what it makes is no new module.
    """
    factory = own_object(arch.name)
    if not callable(factory):
        raise BadInput(f"{arch.name} is a {type(factory).__name__}; wanted is a callable")
    given = json.loads(json.dumps(arch.arguments))
    told = told_by(factory)
    if told in given:
        raise BadInput(
            f"{told}={given[told]} of model {arch.name!r}: the number of classes is that of the "
            "data set; leave it out; for weights with other outputs give --classes FILE or "
            "--new-classifier"
        )
    if told is not None:
        given[told] = arch.classes
    _check_taken(arch.name, factory, given, told)
    try:
        with aside():
            net = factory(**given)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{key}={value}" for key, value in given.items())
        raise BadInput(failed(f"{arch.name}({foreign(shown, 200)})", error)) from error
    if not isinstance(net, nn.Module):
        raise BadInput(
            f"{arch.name} returned {_kind(net)}; wanted is a torch.nn.Module, the network itself"
        )
    if net in _made:
        raise BadInput(
            f"{arch.name} returned the same network as before; let it make a new one in each call"
        )
    _made.add(net)
    return net.to("cpu").train()


def told_by(factory: Callable[..., Any]) -> str | None:
    """The argument by which a factory is told the number of classes; None where it has none."""
    named = _named(_parameters(factory) or {})
    return next((name for name in CLASSES if name in named), None)


def fixed_outputs(arch: ArchSpec) -> int | None:
    """How many outputs an own network has whatever it is told; None for one that is told.

    Raises:
        BadInput: as `make_own`, or it does not run on images of this size.
    """
    if own_code.parted(arch.name) is None or told_by(own_object(arch.name)) is not None:
        return None
    key = arch.model_copy(update={"classes": 1}).model_dump_json()
    if key not in _answered:
        with torch.random.fork_rng(devices=[]):
            net = Normalised(make_own(arch), arch.input.mean, arch.input.std)
            _answered[key] = _outputs(net, arch)
    return _answered[key]


def require_outputs(net: Normalised, arch: ArchSpec) -> None:
    """Have a new network answer one image, which gives lazy layers their weights.

    Raises:
        BadInput: it does not run on images of this size, or answers with no logits.
        Mismatch: it tells another number of classes apart.
    """
    lazy = any(map(is_lazy, (*net.parameters(), *net.buffers())))
    key = arch.model_dump_json()
    if lazy or key not in _answered:
        _answered[key] = _outputs(net, arch)
    if (found := _answered[key]) == arch.classes:
        return
    told = told_by(own_object(arch.name))
    remedy = (
        f"use its argument {told}, which was {arch.classes}, for the last layer"
        if told
        else "let the factory take num_classes, give its arguments, or use all its outputs with "
        "--weights FILE and --classes FILE or --label-map FILE"
    )
    raise Mismatch(
        f"{arch.name} tells {found} classes apart and {arch.classes} are wanted; {remedy}"
    )


@torch.no_grad()
def _outputs(net: Normalised, arch: ArchSpec) -> int:
    modes = {module: module.training for module in net.modules()}
    images = torch.full((2, *arch.input.shape), 0.5)
    size = f"images of {arch.input.size}x{arch.input.size} pixels"
    try:
        answer = net.eval()(images)
    except (Exception, SystemExit) as error:
        raise BadInput(failed(f"running {arch.name} on {size}", error)) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != len(images):
        raise BadInput(
            f"{arch.name} answers 2 {size} with {_kind(answer)}; wanted are logits [2, classes], "
            "one tensor"
        )
    return answer.shape[1]


def _kind(value: Any) -> str:
    """What it is, for an error."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):  # of C, which does not say
        return None


def _named(parameters: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    """Those that can be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {key: one for key, one in parameters.items() if one.kind in kinds}


def _check_taken(
    name: str, factory: Callable[..., Any], given: Mapping[str, Any], told: str | None
) -> None:
    """
    Raises:
        BadInput: an argument that the factory has not, one that it needs, or one of a wrong kind.
    """
    parameters = _parameters(factory)
    if parameters is None:
        return
    kinds, named = inspect.Parameter, _named(parameters)
    shown = ", ".join(key for key in named if key != told) or "none"
    takes_all = any(one.kind is kinds.VAR_KEYWORD for one in parameters.values())
    for key in () if takes_all else given:
        if key not in named:
            raise BadInput(f"{name!r} takes no argument {key!r}; it takes {shown}")
    lacking = [
        key
        for key, one in parameters.items()
        if one.default is one.empty
        and key not in given
        and one.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    if lacking and lacking[0] in named:
        raise BadInput(
            f"{name!r} needs {', '.join(lacking)}: give --model {name}:{lacking[0]}=VALUE; it "
            f"takes {shown}"
        )
    if lacking:
        raise BadInput(f"{name!r} takes {lacking[0]} by position alone; let it have a default")
    check_kinds(name, given, factory)
