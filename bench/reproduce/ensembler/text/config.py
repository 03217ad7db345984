"""Settings of the experiment on text: quick for two cores, paper for the tutorial's sizes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from adversary.inversion.text.shadow import TextShadow
from adversary.inversion.text.substitution import Decipher

Scale = Literal["quick", "paper"]


class TextConfig(BaseModel):
    """All that a run depends on, beside its data and its seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_length: int = 18
    target_length: int = 18
    width: int = 64
    heads: int = 4
    layers: int = 2
    feedforward: int = 128
    epochs: int = Field(default=8, description="of the victim's own training")
    batch_size: int = 64
    learning_rate: float = 2e-3
    train: int = Field(default=5_000, description="sentences the victim learns from")
    auxiliary: int = Field(default=4_000, description="sentences of the adversary")
    validation: int = 300
    victims: int = 400
    shadow: TextShadow = TextShadow()
    decipher: Decipher = Decipher()
    defenses: tuple[str, ...] = ("none", "gaussian:level=0.3")
    wire: str = "FP32"


QUICK = TextConfig()
PAPER = TextConfig(
    source_length=40,
    target_length=40,
    width=512,
    heads=8,
    layers=3,
    feedforward=512,
    epochs=18,
    batch_size=128,
    learning_rate=5e-4,
    shadow=TextShadow(epochs=18, batch_size=128, learning_rate=2e-3, hidden=512),
)
"""The tutorial's sizes; sentences come from the corpus, whose own number of them counts."""
