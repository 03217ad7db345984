"""`ensembler-text` in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.reproduce.ensembler import text
from bench.reproduce.frame.request import ExperimentRequest
from splitlab.training.translator import TranslatorRecipe

SIZES = {"train": 120, "auxiliary": 120, "validation": 5, "victims": 12}
TINY = TranslatorRecipe(width=16, heads=2, layers=1, feedforward=16, epochs=1)
OPTIONS = {
    "text-shadow": {"epochs": 1, "decoder_epochs": 1},
    "word-decoder": {"decoder_epochs": 1},
    "cipher": {"steps": 2},
}


def shrink(monkeypatch: Any) -> None:
    """Both scales as small as that."""
    own = {"quick": text.setup_of("grammar", TINY, **SIZES), "paper": text.setup_of("corpus", TINY)}
    monkeypatch.setattr(text, "SETUPS", own)
    monkeypatch.setattr(text, "OPTIONS", dict.fromkeys(own, OPTIONS))


def request_of(folder: Path, **more: Any) -> ExperimentRequest:
    given: dict[str, Any] = {"seeds": (0,), "device": "cpu", "cache": folder / "cache"}
    return ExperimentRequest(folder / "text", **{**given, "secret_seed": 1, **more})
