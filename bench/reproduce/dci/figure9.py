"""Figure 9 of DCI (Dong et al.): what noise and dropout cost in accuracy, and what they save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bench.point.setup import Place, Scale
from bench.reproduce.dci.notes import NOTES, OWN, setting_notes
from bench.reproduce.dci.setup import BLOCKS, SETUP, SOURCE, ceiling, data_free, grouping, moved
from bench.reproduce.frame.experiment import (
    Claim,
    Experiment,
    ExperimentRow,
    ExtraTable,
    Found,
    Measurement,
)
from bench.reproduce.frame.levels import Curve, levels_figure
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.run import Framed
from splitlab.record import Record

DEPTH: Mapping[Scale, int] = {"quick": 5, "paper": 18}
"""The paper's own depth is of ResNet-50, layer3.3: four fifths of the convolutions."""
LEVELS: Mapping[Scale, Mapping[str, Sequence[float]]] = {
    "quick": {
        "gaussian": (0.1, 0.28, 1.0, 3.0),
        "laplace": (0.1, 0.28, 1.0, 3.0),
        "dropout": (0.3, 0.6, 0.9),
    },
    "paper": {
        "gaussian": (0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
        "laplace": (0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
        "dropout": tuple(number / 10 for number in range(1, 10)),
    },
}
VICTIMS: Mapping[Scale, int | None] = {"quick": 200, "paper": SETUP["paper"].victims}
"""More than in the other quick experiments, where one image is three points of accuracy."""
KNOWING = {"unaware": frozenset({"head"}), "adaptive": frozenset({"head", "defense"})}
OTHER_NETWORK = (
    "The paper's figure is of ResNet-50 behind layer3.3, four fifths of its convolutions; this one "
    "is of the other experiments' RepVGG, at a like depth. --model, --split and --weights take "
    "another."
)
PAPER_NOTE = (
    "Of the paper's figure one number is in its text: Laplace noise of scale 0.2 costs about 20 "
    "points of accuracy, and images stay recognisable. A level of 0.28 is that scale."
)
LEVEL_NOTE = (
    "Level: standard deviation in units of the feature (Laplace: b = level / sqrt 2), or the "
    "probability that an element is lost. Fresh for every request; nothing is clipped or rescaled."
)


def _figure9(scale: Scale, target: Target = OWN) -> Experiment:
    """DCI against three defences at several levels, knowing of them and not.

    The ceiling's queries come back through the defence; it is measured where there is none and at
    the highest level of each.

    Raises:
        UnknownName, NotCuttable, BadInput: a network or split point that is none.
    """
    measurements: list[Measurement] = []
    rows: list[ExperimentRow] = []

    def attacked(place: Place, label: str, who: str, knows: frozenset[str]) -> None:
        one = data_free(scale, place, "dci", name=who, options=grouping(setup))
        measurements.append(replace(one, knows=knows))
        rows.append(ExperimentRow(one.key, label, f"DCI, {who}", (one.key,)))

    frame = {"head_end": BLOCKS[scale][DEPTH[scale] - 1], "victims": VICTIMS[scale]}
    setup = moved(SETUP[scale].model_copy(update=frame), target)

    def placed(name: str, defense: str = "none") -> Place:
        return Place(name, defense, setup.head_end, setup.tail_start)

    def bounded(place: Place, label: str) -> None:
        bound = ceiling(scale, place)
        measurements.append(bound)
        rows.append(ExperimentRow(bound.key, f"{label}: ceiling", "queries", (bound.key,)))

    none = placed("none")
    attacked(none, "no defence", "undefended", KNOWING["unaware"])
    bounded(none, "no defence")
    for defense, levels in LEVELS[scale].items():
        for level in levels:
            text = f"{defense}:level={level:g}"
            place = placed(f"{defense}-{level:g}", text)
            for who, knows in KNOWING.items():
                attacked(place, text, who, knows)
            if level == levels[-1]:
                bounded(place, text)
    return Experiment(
        name="dci-figure9",
        title="DCI, Figure 9",
        source=f"{SOURCE}, Figure 9",
        scale=scale,
        setup=setup,
        measurements=tuple(measurements),
        rows=tuple(rows),
        claims=tuple(_claims(scale)),
        notes=tuple(_notes(scale, target)),
        extra=partial(_tables, scale=scale),
        figure=partial(_figure, scale=scale),
    )


figure9 = Framed(_figure9, _figure9)


def _notes(scale: Scale, target: Target) -> Iterator[str]:
    yield from NOTES
    yield LEVEL_NOTE
    yield PAPER_NOTE
    if not target:
        yield OTHER_NETWORK
    yield from setting_notes(scale, target)


def _claims(scale: Scale) -> list[Claim]:
    """More of a defence leaks less and costs more; an adversary who knows of it reads more; what
    is saved is saved from the best of them as well.
    """
    found = []
    for defense, levels in LEVELS[scale].items():
        low, high = (f"{defense}-{level:g}" for level in (levels[0], levels[-1]))
        found += [
            Claim(
                f"The most {defense} leaks less than the least (adaptive)",
                "psnr",
                f"{high}/adaptive",
                "below",
                f"{low}/adaptive",
                otherwise="this defence hides nothing from an adversary who knows of it",
            ),
            Claim(
                f"The most {defense} costs accuracy beside the least",
                "accuracy_change",
                f"{high}/adaptive",
                "below",
                f"{low}/adaptive",
                margin=1.0,
                otherwise="this much of it is free",
            ),
            Claim(
                f"Knowing of {defense} helps at its highest level",
                "psnr",
                f"{high}/adaptive",
                "above",
                f"{high}/unaware",
                otherwise="training through the defence adds nothing",
            ),
            Claim(
                f"The most {defense} hides from a decoder with queries too",
                "psnr",
                f"{high}/ceiling",
                "below",
                "none/ceiling",
                otherwise="what it hides is hidden only from who has no queries and no real images",
            ),
        ]
    return found


def _curves(found: Found, scale: Scale) -> list[Curve]:
    """Accuracy and 100 / PSNR of the adaptive attack against the level, means over seeds."""
    curves = []
    start = _means(found, "none/undefended")
    for defense, levels in LEVELS[scale].items():
        means = {level: _means(found, f"{defense}-{level:g}/adaptive") for level in levels}
        points = {0.0: start, **means}
        measured = tuple((level, *mean) for level, mean in points.items() if mean is not None)
        curves.append(Curve(defense, measured))
    return curves


def _means(found: Found, key: str) -> tuple[float, float] | None:
    """(accuracy in %, 100 / PSNR)."""
    made = [r for own in found.values() if isinstance(r := own.get(key), Record)]
    decibels = [m for r in made if (m := r.leakage["psnr"].mean) is not None]
    if not decibels:
        return None
    accuracy = sum(r.utility["accuracy"] for r in made) / len(made)
    return accuracy, 100 / (sum(decibels) / len(decibels))


def _figure(found: Found, scale: Scale) -> str:
    return levels_figure(_curves(found, scale))


def _tables(found: Found, scale: Scale) -> list[ExtraTable]:
    """The curves as numbers."""
    lines = [
        (curve.name, f"{level:g}", f"{accuracy:z.1f}", f"{inverse:z.2f}")
        for curve in _curves(found, scale)
        for level, accuracy, inverse in curve.points
    ]
    columns = ("defence", "level", "accuracy [%]", "100 / PSNR of the adaptive attack")
    return [ExtraTable("Utility against defence", columns, tuple(lines), LEVEL_NOTE)]
