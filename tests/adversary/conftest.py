"""How long an attack takes is told by tests of its own; here it would be most of the time."""

import pytest

from adversary.inversion.decoder import Decoder
from adversary.inversion.rmle.start import STARTS
from splitlab.estimating import Forecast


class SmallDecoder(Decoder):
    """The decoder with other defaults, which takes a hundredth of the time."""

    epochs: int | None = 1
    width: int = 8
    depth: int = 1


@pytest.fixture(autouse=True)
def _small_start(monkeypatch):
    """`rmle` starts from a decoder of its defaults, which would be most of every test of it."""
    monkeypatch.setitem(STARTS, "decoder", SmallDecoder)


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    for name in ("attack_estimate", "synthesis_estimate"):
        monkeypatch.setattr(
            f"adversary.estimating.commands.{name}",
            lambda *_, **__: Forecast(0, (), memory_bytes=0),
        )
