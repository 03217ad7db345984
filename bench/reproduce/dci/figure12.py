"""Figure 12 of DCI (Dong et al.): do synthetic images serve as well as real ones, and how many?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from adversary.inversion.dci.attack import DCI
from bench.point.setup import Scale
from bench.reproduce.dci.notes import NATURAL_NOTE
from bench.reproduce.dci.setup import MADE, METHOD_OPTIONS, NATURAL, blocks_of
from bench.reproduce.dci.study import DciStudy, Spot, movable
from bench.reproduce.frame.columns import Fact
from bench.reproduce.frame.experiment import Claim, Experiment, Line
from bench.reproduce.frame.extra import FactTable, label, lpips_orders, perceived

SIZES: Mapping[Scale, tuple[int, int]] = {"quick": (128, 512), "paper": (1000, 10_000)}
DEPTH: Mapping[Scale, int] = {"quick": 7, "paper": 21}
SHALLOW: Mapping[Scale, int] = {"quick": 3, "paper": 7}
"""Where the head's own statistics are a small part of the network's."""
NEAR_DB = 1.5
PAPER_NOTE = "The paper's figure is of LPIPS, with 1,000 and 10,000 images."
LPIPS = {"few": (0.462, 0.481), "many": (0.430, 0.443)}
"""The paper's own, of real and synthetic images, 1,000 and 10,000 of them, at block 21."""
CHARACTERS = FactTable(
    "What the images are like that were learned from",
    {
        "images": label,
        "spread": Fact("attack_facts.images_are.spread", form="z.3f"),
        "correlation of channels": Fact("attack_facts.images_are.colours_together", form="z.3f"),
        "share of power that is fine": Fact("attack_facts.images_are.fine", form="z.3f"),
    },
    note="Spread is the standard deviation of the images' mean brightness (range 1); fine is what "
    "has a quarter of a cycle a pixel and more.",
    told_only=True,
)


@movable
def figure12(study: DciStudy) -> Experiment:
    """Real and synthetic images, few and many; and the statistics of the head alone.

    Raises:
        BadInput: a head of one block, which has no shallower place.
    """
    few, many = SIZES[study.scale]
    deep = study.spot(DEPTH[study.scale], least=2)
    shallow = _shallow(study)
    here, there = deep.place.name, shallow.place.name
    more = f"{many} synthetic images are better than {few}"
    near = partial(Claim, metric="psnr", relation="near")
    no_match = "images made of batch norms do not replace real ones here"
    return study.experiment(
        "figure12",
        ", Figure 12",
        (*_deep(study, deep), *_at_shallow(study, deep, shallow)),
        notes=study.told(PAPER_NOTE, NATURAL_NOTE),
        claims=(
            *(
                near(
                    f"{count} synthetic images are within {NEAR_DB:g} dB of {count} real ones",
                    row=f"{here}/synthetic-{count}",
                    than=f"{here}/real-{count}",
                    margin=NEAR_DB,
                    otherwise=no_match,
                )
                for count in (few, many)
            ),
            Claim(
                more,
                "psnr",
                f"{here}/synthetic-{many}",
                "above",
                f"{here}/synthetic-{few}",
                otherwise="more images add nothing here",
            ),
            near(
                f"Synthetic images from natural noise are within {NEAR_DB:g} dB of real ones",
                row=f"{here}/natural-{many}",
                than=f"{here}/real-{many}",
                margin=NEAR_DB,
                otherwise="colours and smoothness to begin with are not all that they lack",
            ),
            near(
                "The statistics of the head alone serve within 1 dB of the whole network's "
                f"({shallow.label})",
                row=f"{there}/head-{many}",
                than=f"{there}/synthetic-{many}",
                margin=1.0,
                otherwise="the two do not serve alike; the numbers say which serves better",
            ),
        ),
        baseline=here,
        tables=(
            perceived(),
            lpips_orders(((more, f"{here}/synthetic-{many}", f"{here}/synthetic-{few}"),)),
            CHARACTERS,
        ),
        timed=True,
    )


def _deep(study: DciStudy, deep: Spot) -> Iterator[Line]:
    scale, place = study.scale, deep.place
    usual = DCI.configured(METHOD_OPTIONS[scale]["dci"])
    many = SIZES[scale][1]
    for count, paper in zip(SIZES[scale], LPIPS.values(), strict=True):
        # As many steps with few images as with many: the row is about images.
        names = ("epochs", "tune_epochs")
        longer = {name: round(getattr(usual, name) * many / count) for name in names}
        made = replace(MADE[scale], images=count)
        name = f"synthetic-{count}"
        real = study.on_real(place, count, longer)
        synthetic = study.data_free(place, "dci", name=name, options=longer, made=made)
        for one, kind, how, number in zip(
            (real, synthetic), ("real", "synthetic"), ("real", "data-free"), paper, strict=True
        ):
            printed = {} if study.target else {"lpips": number}
            yield Line(f"{count} {kind}", how, (one,), paper=printed)
    natural = study.data_free(place, "dci", name=f"natural-{many}", made=NATURAL[scale])
    yield Line(f"{many} synthetic, from natural noise", "data-free, the lab's", (natural,))


def _at_shallow(study: DciStudy, deep: Spot, shallow: Spot) -> Iterator[Line]:
    many, place = SIZES[study.scale][1], shallow.place
    whole = MADE[study.scale]
    for name, made in (("synthetic", whole), ("head", replace(whole, layers="head"))):
        one = study.data_free(place, "dci", name=f"{name}-{many}", made=made)
        whose = "head alone" if made.layers == "head" else "whole network"
        text = f"{shallow.label}: {many} synthetic, statistics of the {whose}"
        yield Line(text, "data-free", (one,))
    for text, spot in (("ceiling", deep), (f"{shallow.label}: ceiling", shallow)):
        yield Line(text, "decoder with queries", (study.ceiling(spot.place),))


def _shallow(study: DciStudy) -> Spot:
    """The scale's own, or a third of the way into the head that was named, as the paper's is."""
    if not study.target:
        return study.spot(SHALLOW[study.scale])
    ends = blocks_of(study.setup)
    depth = max(1, round(len(ends) / 3))
    return study.spot_at(ends[depth - 1], depth)
