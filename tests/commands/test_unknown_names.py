"""A name that is in no registry is refused before torch is loaded, at every command that takes one.

One process runs them all: it cannot load torch, and says at the end that nobody has.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SWEEP, TRAIN = "bench sweep-split-points", "bench train --out x --split conv1"
ATTACK = "adversary attack x --knows y --out z"
REFUSED = {
    f"{SWEEP} --model resnet21": "unknown model 'resnet21'; nearest: resnet",
    f"{SWEEP} --model timm/convnext_ato": "unknown model 'timm/convnext_ato'; nearest: timm/con",
    f"{SWEEP} --dataset foto-patches": "unknown dataset 'foto-patches'; nearest: photo-patches",
    f"{SWEEP} --attack decodr:epochs=3": "unknown attack 'decodr'; nearest: decoder",
    f"{SWEEP} --set decodr.epochs=3": "unknown attack 'decodr'; nearest: decoder",
    f"{SWEEP} --attacked rmel=3": "unknown attack 'rmel'; nearest: rmle",
    f"{SWEEP} --defense dropout+gausian:level=1": "unknown defence 'gausian'; nearest: gaussian",
    f"{SWEEP} --recipe labb": "unknown recipe 'labb'; nearest: lab",
    f"{TRAIN} --model torchvision/resnet19": "unknown model 'torchvision/resnet19'; nearest",
    f"{TRAIN} --dataset cifar11": "unknown dataset 'cifar11'; nearest: cifar10",
    f"{TRAIN} --defense nine": "unknown defence 'nine'; nearest: none",
    "bench reproduce dci-tabel2": "unknown experiment 'dci-tabel2'; nearest: dci-table2",
    "bench reproduce dci-table2 --dataset cifar": "unknown dataset 'cifar'; nearest: cifar10",
    "bench reproduce dci-table2 --model vgg12_cifr": "unknown model 'vgg12_cifr'; nearest: vgg",
    "bench search dci-tabel2 k --try a=1": "unknown experiment 'dci-tabel2'; nearest: dci-table2",
    "bench splits resnet21": "unknown model 'resnet21'; nearest: resnet",
    f"{ATTACK} --attack rmel": "unknown attack 'rmel'; nearest: rmle",
    "adversary synthesise --knows x --out y --preset dic:steps=2": "unknown preset of synthesis",
    "edge-client x --server h:1 evaluate --dataset foto-patches": "unknown dataset 'foto-patches'",
}
PROGRAM = """
import importlib, json, sys
from typer.testing import CliRunner
sys.modules["torch"] = None
asked = json.load(sys.stdin)
for words in asked:
    role, *rest = words.split()
    app = importlib.import_module(role.replace("-", "_") + ".cli").app
    done = CliRunner().invoke(app, rest)
    print(json.dumps([words, done.exit_code, " ".join(done.output.split()), repr(done.exception)]))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, tuple[int, str, str]]:
    asked = json.dumps(list(REFUSED))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=asked, capture_output=True, text=True, check=True
    )
    return {line[0]: tuple(line[1:]) for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("words", REFUSED)
def test_an_unknown_name_needs_no_torch(told: dict[str, tuple[int, str, str]], words: str) -> None:
    code, output, error = told[words]
    assert code == 2, (output, error)
    assert f"error: {REFUSED[words]}" in output
