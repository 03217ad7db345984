"""`ensembler-text` in small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.reproduce.ensembler import text
from bench.reproduce.frame.request import ExperimentRequest
from splitlab.training.translator import TranslatorRecipe

SMALL = replace(
    text.SCALES["quick"],
    sizes={"train": 120, "auxiliary": 120, "validation": 5, "victims": 12},
    translator=TranslatorRecipe(width=16, heads=2, layers=1, feedforward=16, epochs=1),
    shadow={"epochs": 1, "decoder_epochs": 1},
    decoder={"decoder_epochs": 1},
    cipher={"steps": 2},
)


def shrink(monkeypatch: Any) -> None:
    """Both scales as small as that."""
    paper = replace(SMALL, dataset="corpus", sizes={})
    monkeypatch.setattr(text, "SCALES", {"quick": SMALL, "paper": paper})


def request_of(folder: Path, **more: Any) -> ExperimentRequest:
    given: dict[str, Any] = {"seeds": (0,), "device": "cpu", "cache": folder / "cache"}
    return ExperimentRequest(folder / "text", **{**given, "secret_seed": 1, **more})
