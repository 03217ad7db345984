"""The notebook runs and reaches more than the floor; its names and those of its page are there."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import tempfile
from pathlib import Path

import pytest
import torch
from handbook import ROOT

import bench.lab as lab
from adversary.registry import OF_EXPERIMENTS
from splitlab.errors import BadInput

NOTEBOOK = ROOT / "examples" / "notebook.py"
PAGE = ROOT / "docs" / "python.md"


def used() -> set[str]:
    """Names that the notebook takes of `bench.lab`."""
    tree = ast.walk(ast.parse(NOTEBOOK.read_text()))
    return {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "lab"
    }


def named() -> set[str]:
    """Names between backticks in the first two columns of the page's tables."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [cell for row in rows for cell in row[1:3]]
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_the_notebook_reaches_more_than_the_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = runpy.run_path(str(NOTEBOOK))
    reached = made["reached"]
    assert reached["attack"] > reached["floor"] + 5
    assert reached["function"] > reached["floor"] + 5
    assert (made["place"] / "images.png").read_bytes().startswith(b"\x89PNG")
    assert "block2.2" in capsys.readouterr().out


def test_the_notebook_is_short_and_takes_public_names_alone() -> None:
    lines = [line for line in NOTEBOOK.read_text().splitlines() if line and line[0] != "#"]
    assert len([line for line in lines if not line.startswith(("import ", "from "))]) <= 30
    assert used() <= set(lab.__all__)
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert [line for line in imports if "pathlib" not in line and "tempfile" not in line] == [
        "import bench.lab as lab"
    ]


def test_public_names_are_there_and_each_is_on_the_page() -> None:
    page = named()
    for name in lab.__all__:
        assert hasattr(lab, name)
    assert set(lab.__all__) - {"CaptureWriter"} <= page | {"serving"}, set(lab.__all__) - page
    for name in page - set(lab.__all__):
        module, _, attribute = name.rpartition(".")
        if module:  # a method's function in its own room
            assert callable(getattr(importlib.import_module(module), attribute)), name
        else:
            assert name in (*lab.ATTACKS, *OF_EXPERIMENTS, "decoder", "floats"), name


def test_every_method_of_the_registry_has_a_function_on_the_page() -> None:
    methods = PAGE.read_text().split("## Methods as functions")[1]
    first = "\n".join(line.split("|")[1] for line in methods.splitlines() if line.startswith("| "))
    every = (*lab.ATTACKS.ours, *OF_EXPERIMENTS)
    assert [name for name in every if f"`{name}`" not in first] == ["mean-image"]


def test_methods_take_tensors_and_modules_and_need_no_threat_model() -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(64, 3, 8, 8, generator=draw)
    head = torch.nn.PixelUnshuffle(2)  # a permutation: its inverse is known
    features = head(images)
    decoder = lab.ATTACKS.load("decoder")
    learned = lab.fit_decoder(images, features, lab.generator(0), decoder(epochs=0))
    assert (learned(features) - images).abs().mean() < 0.01
    psim = lab.ATTACKS.load("psim")
    net = lab.fit_psim(images, features, head, lab.generator(0), psim(epochs=1, width=4))
    assert net(features).shape == images.shape
    given = lab.InputSpec(size=8)
    match = lab.match_features(
        head,
        features[:4],
        [lab.MatchingSettings(200, 0.05, 0.0, 0.0, True)] * 4,
        given,
        lab.generator(0),
    )
    assert (match.images - images[:4]).abs().mean() < 0.02
    latents = torch.nn.Sequential(torch.nn.Linear(100, 192), torch.nn.Unflatten(1, (3, 8, 8)))
    found, error = lab.search_latents(
        latents, lambda made: 0 * made.flatten(1).sum(1), head, features[:4], draw, steps=5
    )
    assert found.shape == (4, 3, 8, 8)
    assert error.shape == (4,)
    with pytest.raises(BadInput, match="64 images and 3 features"):
        lab.fit_decoder(images, features[:3], lab.generator(0))
