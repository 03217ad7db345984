"""Figure 9 of DCI (Dong et al.): what noise and dropout cost in accuracy, and what they save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.point.setup import Place, Scale
from bench.reproduce.dci.setup import BLOCKS, SETUP
from bench.reproduce.dci.study import DciStudy, movable
from bench.reproduce.frame.charts import Curve, CurveTable, Swept
from bench.reproduce.frame.columns import ACCURACY, Fact, FactColumn
from bench.reproduce.frame.experiment import Claim, Experiment, Line
from splitlab.contracts.quantity import Digits

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
HIDDEN = FactColumn(
    "hidden",
    "1",
    "falls",
    title="100 / PSNR of the adaptive attack",
    brief="100 / PSNR",
    digits=Digits(means=2),
    fact=Fact("", times=100, per="leakage.psnr.mean"),
)


@movable
def figure9(study: DciStudy) -> Experiment:
    """DCI against three defences at several levels, knowing of them and not.

    The ceiling's queries come back through the defence; it is measured where there is none and at
    the highest level of each.
    """
    scale = study.scale
    frame = {"head_end": BLOCKS[scale][DEPTH[scale] - 1], "victims": VICTIMS[scale]}
    study = replace(study, changed=frame)
    curves = tuple(
        Curve(
            defense,
            (
                (0.0, "none/undefended"),
                *((level, f"{defense}-{level:g}/adaptive") for level in levels),
            ),
        )
        for defense, levels in LEVELS[scale].items()
    )
    chart = Swept("level", curves, left=ACCURACY, right=HIDDEN)
    return study.experiment(
        "figure9",
        ", Figure 9",
        _lines(study),
        notes=study.told(LEVEL_NOTE, PAPER_NOTE, *(() if study.target else (OTHER_NETWORK,))),
        claims=tuple(
            claim
            for defense, levels in LEVELS[scale].items()
            for claim in _claims(defense, f"{defense}-{levels[0]:g}", f"{defense}-{levels[-1]:g}")
        ),
        tables=(CurveTable("Utility against defence", chart, "defence", LEVEL_NOTE),),
        chart=chart,
    )


def _lines(study: DciStudy) -> Iterator[Line]:
    def line(place: Place, label: str, who: str, knows: frozenset[str]) -> Line:
        one = replace(study.data_free(place, "dci", name=who), knows=knows)
        return Line(label, f"DCI, {who}", (one,))

    setup = study.setup
    none = Place("none", "none", setup.head_end, setup.tail_start)
    yield line(none, "no defence", "undefended", KNOWING["unaware"])
    yield Line("no defence: ceiling", "queries", (study.ceiling(none),))
    for defense, levels in LEVELS[study.scale].items():
        for level in levels:
            text = f"{defense}:level={level:g}"
            place = replace(none, name=f"{defense}-{level:g}", defense=text)
            for who, knows in KNOWING.items():
                yield line(place, text, who, knows)
            if level == levels[-1]:
                yield Line(f"{text}: ceiling", "queries", (study.ceiling(place),))


def _claims(defense: str, low: str, high: str) -> Iterator[Claim]:
    """More of a defence leaks less and costs more; an adversary who knows of it reads more; what
    is saved is saved from the best of them as well.
    """
    yield Claim(
        f"The most {defense} leaks less than the least (adaptive)",
        "psnr",
        f"{high}/adaptive",
        "below",
        f"{low}/adaptive",
        otherwise="this defence hides nothing from an adversary who knows of it",
    )
    yield Claim(
        f"The most {defense} costs accuracy beside the least",
        "accuracy_change",
        f"{high}/adaptive",
        "below",
        f"{low}/adaptive",
        margin=1.0,
        otherwise="this much of it is free",
    )
    yield Claim(
        f"Knowing of {defense} helps at its highest level",
        "psnr",
        f"{high}/adaptive",
        "above",
        f"{high}/unaware",
        otherwise="training through the defence adds nothing",
    )
    yield Claim(
        f"The most {defense} hides from a decoder with queries too",
        "psnr",
        f"{high}/ceiling",
        "below",
        "none/ceiling",
        otherwise="what it hides is hidden only from who has no queries and no real images",
    )
