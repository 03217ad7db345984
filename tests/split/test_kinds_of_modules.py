"""Modules and tensors of kinds that cannot be followed: each is refused for its own reason."""
# ruff: noqa: ARG002

from collections.abc import Callable
from typing import Any

import pytest
import torch
from split_cases import error
from torch import Tensor, nn

from splitlab.errors import NotCuttable
from splitlab.split import cut, split_points

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SHAPE = (3, 8, 8)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


def network(middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 3, 3, padding=1), middle, nn.Flatten(), nn.Linear(192, 5))
    return nn.Sequential(*layers)


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(network(Inner()), {nn.Linear})


class Rescaled(Tensor):
    """A tensor with rules of its own, as a library of quantised weights has."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C._DisableTorchDispatch():
            made = func(*args, **(kwargs or {}))
        return made.as_subclass(cls) if isinstance(made, Tensor) else made


def with_weight(change: Callable[[Tensor], Tensor]) -> nn.Module:
    net = network(Inner())
    weight = change(net.get_parameter("3.weight").detach())
    net.get_submodule("3").weight = nn.Parameter(weight, requires_grad=False)
    return net


class Stubborn(nn.Sequential):
    """Never leaves train mode, so that its dropout stays on."""

    def train(self, mode: bool = True) -> "Stubborn":
        return super().train(True)


class Counting(nn.BatchNorm2d):
    """Learns its statistics in eval mode too."""

    def forward(self, input: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        return nn.functional.batch_norm(input, mean, variance, self.weight, self.bias, True)


class Borrowing(nn.Linear):
    """Uses another layer's weight that is not its own."""

    def __init__(self, other: nn.Linear) -> None:
        super().__init__(192, 192)
        self.others = [other]

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.others[0].weight)


def borrowing() -> nn.Module:
    other = nn.Linear(192, 192)
    return nn.Sequential(nn.Flatten(), other, Borrowing(other), nn.Linear(192, 5))


def script() -> nn.Module:
    return network(torch.jit.script(Inner()))


def trace() -> nn.Module:
    return network(torch.jit.trace(Inner().eval(), IMAGES))


def compiled() -> nn.Module:
    return network(torch.compile(Inner()))  # type: ignore[arg-type]


def exported() -> nn.Module:
    return network(torch.export.export(Inner(), (IMAGES,)).module())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (script, r"^1 \(RecursiveScriptModule\) is scripted .*script it later$"),
        (trace, r"^1 \(TopLevelTracedModule\) is scripted"),
        (lambda: torch.jit.script(network(Inner())), "^the network .* is scripted"),
        # The first use of torch.compile in a process takes 15 s.
        pytest.param(
            *(compiled, r"^1 \(OptimizedModule\) is compiled .*_orig_mod"), marks=pytest.mark.slow
        ),
        pytest.param(exported, "an exported program", marks=pytest.mark.slow),
        (quantised, r"^3 \(Linear\) is quantised"),
        (lambda: network(nn.LazyConv2d(3, 1)), r"^1 \(LazyConv2d\) is lazy"),
        (lambda: with_weight(Tensor.to_sparse), r"^3.weight is sparse"),
        (
            lambda: with_weight(lambda w: w.as_subclass(Rescaled)),
            "^3.weight is a Rescaled, a tensor with rules of its own",
        ),
        (lambda: network(Stubborn(nn.Dropout(0.5))), "^1 stays in train mode after eval"),
        (lambda: network(Counting(3)), r"^1\.running_mean changes from call to call"),
        (borrowing, "^2: reads 1.weight of another module"),
    ],
)
def test_is_refused_for_its_own_reason(make: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(NotCuttable, match=says):
        split_points(make(), SHAPE)


@pytest.mark.slow
def test_what_is_compiled_in_place_is_cut_as_it_was() -> None:
    net = network(Inner()).eval()
    plain = network(Inner()).eval()
    plain.load_state_dict(net.state_dict())
    net.get_submodule("1").compile()
    parts = cut(net, "1", None, SHAPE)
    assert error(parts, plain, IMAGES) <= 1e-5


def test_a_symbolic_trace_is_a_network_like_others() -> None:
    net = torch.fx.symbolic_trace(network(Inner())).eval()
    assert error(cut(net, "1.act", None, SHAPE), net, IMAGES) <= 1e-5
