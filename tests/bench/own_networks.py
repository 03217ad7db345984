"""A user's own module in a working directory, and a process that has imported nothing of it yet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from splitlab.contracts import ArchSpec, own_code

CODE = """
import functools
from pathlib import Path
from subprocess import run

import torch
from torch import nn

with Path("imported.txt").open("a") as witness:
    witness.write("x")


class Net(nn.Module):
    def __init__(self, num_classes=10, width=8, widths=(), act: bool = True):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.more = nn.Sequential(*(nn.Conv2d(width, width, k) for k in widths))
        self.end = nn.Conv2d(width, 16, 3, 2, 1)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.more(torch.relu(self.norm(self.stem(x))))
        return self.fc(torch.relu(self.end(x)).mean((2, 3)))


def told(classes, width=8):
    return Net(classes, width)


def fixed(width=8):
    return Net(20, width)


class Lazy(Net):
    def __init__(self, num_classes, width=8):
        super().__init__(num_classes, width)
        self.fc = nn.LazyLinear(num_classes)


half = functools.partial(Net, width=4)
quick = lambda num_classes: Net(num_classes)
KEPT = Net()


def same():
    return KEPT


def needs(num_classes, depth, *, width):
    return Net(num_classes)


def by_place(num_classes, depth, /):
    return Net(num_classes)


def raises(num_classes):
    raise ValueError("the moon is full")


def ends(num_classes):
    raise SystemExit(3)


def prints(num_classes):
    print("hello from my own code")
    return Net(num_classes)


def number(num_classes):
    return 3


class Pair(Net):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Both(Net):
    def forward(self, x):
        return x.mean((1, 2, 3)), super().forward(x)


class Aux(Both):
    def forward(self, x):
        pair = super().forward(x)
        return pair[::-1] if self.training else pair[1]


class Large(Net):
    def forward(self, x):
        return super().forward(x[:, :, 20:, 20:].unfold(2, 40, 40))
"""


def open_shop(folder: Path, patch: pytest.MonkeyPatch, code: str = CODE) -> None:
    """`shop/net.py` in `folder`, which becomes the working directory of a fresh process."""
    (folder / "shop").mkdir(parents=True, exist_ok=True)
    (folder / "shop" / "net.py").write_text(code)
    patch.chdir(folder)
    forget(patch)


def forget(patch: pytest.MonkeyPatch, *packages: str) -> None:
    """As where a process begins: nothing of the user's own is permitted, imported or remembered."""
    from splitlab.models import own

    patch.setattr(own_code, "_permitted", {})
    patch.setattr(own, "_answered", {})
    patch.setattr(sys, "path", list(sys.path))
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("shop", *packages):
            patch.delitem(sys.modules, name)


def imports(folder: Path) -> int:
    """How often the module was imported."""
    witness = folder / "imported.txt"
    return len(witness.read_text()) if witness.exists() else 0


def typed(text: str, classes: int = 10) -> Any:
    """What `--model TEXT` comes to."""
    from splitlab.models import build, permit_typed

    permit_typed(text)
    return build(ArchSpec.named(text, classes=classes), seed=0)
