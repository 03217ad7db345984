"""A small experiment and records made by hand, for tests of `bench reproduce`."""

from typing import NamedTuple

from bench.point.setup import Place, Setup
from bench.reproduce.frame.experiment import Claim, Experiment, Line, Measurement
from splitlab.record import METHOD_VERSION, Leakage, Record, point_hash
from splitlab.training import TrainRecipe

SETUP = Setup(
    model="tiny_cnn",
    dataset="photo-patches",
    head_end="block1",
    tail_start="pool",
    recipe=TrainRecipe(epochs=1),
    train=64,
    auxiliary=48,
    validation=16,
    victims=12,
    queries=32,
)
NONE = Place("none")
SINGLE = Place("single", "single:level=0.1")
MANY = Place("many", "ensembler:N=2,P=1+gaussian:level=0.1,draw=fixed")
PAPER = {"accuracy_change": -2.13, "ssim": 0.0555, "psnr": 5.981}


class Row(NamedTuple):
    """A line by the keys of its measurements."""

    key: str
    label: str
    attack: str
    of: tuple
    best: str = "ssim"
    paper: dict = {}  # noqa: RUF012
    cell: tuple | None = None


def small(*, measurements=(), rows=(), claims=(), scale="quick", setup=SETUP):
    """Floor and decoder at three deployments; the decoder's first epoch only.

    A measurement in none of the rows has a line of its own.
    """
    made = measurements or (
        Measurement("none/decoder", NONE, "decoder", {"epochs": 0}, frozenset({"observe"})),
        Measurement("none/blind", NONE, "mean-image"),
        Measurement("many/decoder", MANY, "decoder", {"epochs": 0}, frozenset({"observe"})),
        Measurement(
            "many/head", MANY, "decoder", {"epochs": 0}, frozenset({"head", "capture"}), share=0.5
        ),
    )
    rows = rows or (
        Row("none", "NONE", "decoder", ("none/decoder",)),
        Row("blind", "NONE", "blind", ("none/blind",)),
        Row("many", "Many", "best of two", ("many/decoder", "many/head"), "psnr", PAPER),
    )
    told = claims or (
        Claim("many below none", "psnr", "many", "below", "none"),
        Claim("many below blind", "psnr", "many", "below", "blind"),
        Claim("accuracy", "accuracy_change", "many", "at least", margin=-100.0),
    )
    by_key = {m.key: m for m in made}
    lines = [
        Line(r.label, r.attack, tuple(map(by_key.get, r.of)), r.best, r.paper, r.cell, {}, r.key)
        for r in rows
    ]
    shown = {key for r in rows for key in r.of}
    lines += [Line(m.key, m.attack, (m,)) for m in made if m.key not in shown]
    return Experiment("small", "A small one", "by hand", scale, setup, tuple(lines), told)


def interval(mean, unit="1"):
    return Leakage(unit=unit, leakage="rises", mean=mean, low=mean, high=mean, items=8, groups=8)


def made(key, seed=0, *, psnr=20.0, ssim=0.5, accuracy=80.0, place="none", doubts=(), **effort):
    """The record of one measurement; the floor is 13 dB and 0.3."""
    config = {
        "measurement": key,
        "place": place,
        "seed": seed,
        "split": "block1",
        "defense": "none" if place == "none" else "x",
        "attack": "decoder",
        "knowledge": "undefended",
    }
    return Record(
        hash=point_hash(config, "d" * 64),
        method_version=METHOD_VERSION,
        config=config,
        data_hash="d" * 64,
        created="2026-01-01T00:00:00+00:00",
        split={"name": "block1", "index": 1, "head_macs": 2_000_000, "rest_macs": 8_000_000},
        threat={"box": "black"},
        utility={"accuracy": accuracy, "accuracy_whole": accuracy, "agreement": 100.0},
        rate={"payload_up": 2048.0, "payload_down": 512.0},
        latency={"total": {"p50": 3.0, "p95": 4.0}},
        leakage={"psnr": interval(psnr, "dB"), "ssim": interval(ssim)},
        floor={"psnr": interval(13.0, "dB"), "ssim": interval(0.3)},
        effort={"fit_seconds": 1.0, **effort},
        doubts=doubts,
        environment={"commit": "c" * 40, "cpu": "a processor", "versions": {"torch": "2"}},
    )


def curve(values):
    """Records of DCI at block 1, 2, ... of a network."""
    return {
        f"block-{depth}/dci": made(f"block-{depth}/dci", psnr=value, place=f"block-{depth}")
        for depth, value in enumerate(values, 1)
    }


def none():
    """A metric that could not be computed."""
    return interval(0.0).model_copy(update={"mean": None, "why": "no weights"})
