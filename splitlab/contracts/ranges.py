"""Ranges that stand once; every flag and config field that needs one takes it from here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Seed = Annotated[int, Field(ge=0, lt=2**63, description="public seed of a run")]
Epochs = Annotated[int, Field(ge=0, le=10_000, description="passes over the images")]
Steps = Annotated[int, Field(ge=1, le=1_000_000, description="optimiser steps")]
BatchSize = Annotated[int, Field(ge=1, le=65_536, description="images a step")]
LearningRate = Annotated[float, Field(gt=0, le=10.0, description="step size of the optimiser")]
Weight = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="weight of a term of a loss")
]
Level = Annotated[float, Field(ge=0, le=1_000.0, description="standard deviation of noise")]
Probability = Annotated[float, Field(ge=0, le=1, description="probability")]
Count = Annotated[int, Field(ge=1, le=10_000_000, description="number of images")]
