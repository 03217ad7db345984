"""Figure 12 of DCI (Dong et al.): do synthetic images serve as well as real ones, and how many?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from adversary.inversion.dci.attack import DCI
from bench.point.setup import Scale, Setup
from bench.reproduce.dci.notes import NATURAL_NOTE, NOTES, OWN, setting_notes
from bench.reproduce.dci.setup import (
    MADE,
    NATURAL,
    OPTIONS,
    SETUP,
    SOURCE,
    Spot,
    blocks_of,
    ceiling,
    data_free,
    grouping,
    moved,
    named_spot,
    on_real,
    spot,
)
from bench.reproduce.frame.experiment import (
    Claim,
    Experiment,
    ExperimentRow,
    ExtraTable,
    Found,
    Measurement,
)
from bench.reproduce.frame.perceived import lpips_orders, lpips_tables
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.run import Framed
from splitlab.record import Record

SIZES: Mapping[Scale, tuple[int, int]] = {"quick": (128, 512), "paper": (1000, 10_000)}
DEPTH: Mapping[Scale, int] = {"quick": 7, "paper": 21}
SHALLOW: Mapping[Scale, int] = {"quick": 3, "paper": 7}
"""Where the head's own statistics are a small part of the network's."""
NEAR_DB = 1.5
CHARACTER = {
    "spread": "spread",
    "colours_together": "correlation of channels",
    "fine": "share of power that is fine",
}
LPIPS = {
    ("few", "real"): 0.462,
    ("few", "synthetic"): 0.481,
    ("many", "real"): 0.430,
    ("many", "synthetic"): 0.443,
}
"""The paper's own, of 1,000 and 10,000 images at block 21."""


def _figure12(scale: Scale, target: Target = OWN) -> Experiment:
    """Real and synthetic images, few and many; and the statistics of the head alone.

    Raises:
        UnknownName, NotCuttable, BadInput: a network or split point that is none, or a head of one
            block, which has no shallower place.
    """
    setup = moved(SETUP[scale], target)
    place = spot(scale, setup, target, DEPTH[scale], least=2).place
    own = grouping(setup)
    few, many = SIZES[scale]
    measured: list[tuple[str, str, Measurement]] = []
    for count in (few, many):
        # As many steps with few images as with many: the row is about images.
        usual = DCI.configured(OPTIONS[scale]["dci"])
        epochs = {
            name: round(getattr(usual, name) * many / count) for name in ("epochs", "tune_epochs")
        }
        options = {**own, **epochs}
        real = on_real(scale, place, count, options)
        made = replace(MADE[scale], images=count)
        synthetic = data_free(
            scale, place, "dci", name=f"synthetic-{count}", options=options, made=made
        )
        measured += [
            (f"{count} real", "real", real),
            (f"{count} synthetic", "data-free", synthetic),
        ]
    better = data_free(
        scale, place, "dci", name=f"natural-{many}", options=own, made=NATURAL[scale]
    )
    measured.append((f"{many} synthetic, from natural noise", "data-free, the lab's", better))
    _, where, shallow = _shallow(scale, setup, target)
    whole = data_free(scale, shallow, "dci", name=f"synthetic-{many}", options=own)
    head = replace(MADE[scale], layers="head")
    alone = data_free(scale, shallow, "dci", name=f"head-{many}", options=own, made=head)
    for label, one in (("whole network", whole), ("head alone", alone)):
        text = f"{where}: {many} synthetic, statistics of the {label}"
        measured.append((text, "data-free", one))
    for label, bounded in (("ceiling", place), (f"{where}: ceiling", shallow)):
        measured.append((label, "decoder with queries", ceiling(scale, bounded)))
    keys = {label: one.key for label, _, one in measured}
    rows = tuple((label, one.key) for label, _, one in measured)
    paper = {
        keys[f"{count} {kind}"]: LPIPS[size, kind]
        for size, count in (("few", few), ("many", many))
        for kind in ("real", "synthetic")
    }
    more = (keys[f"{many} synthetic"], keys[f"{few} synthetic"])
    orders = [(f"{many} synthetic images are better than {few}", *more)]
    return Experiment(
        name="dci-figure12",
        title="DCI, Figure 12",
        source=f"{SOURCE}, Figure 12",
        scale=scale,
        setup=setup,
        measurements=tuple(one for _, _, one in measured),
        rows=tuple(
            ExperimentRow(one.key, label, kind, (one.key,)) for label, kind, one in measured
        ),
        claims=(
            *_on_images(keys, few, many, better.key),
            Claim(
                "The statistics of the head alone serve within 1 dB of the whole network's "
                f"({where})",
                "psnr",
                alone.key,
                "near",
                whole.key,
                margin=1.0,
                otherwise="the two do not serve alike; the numbers say which serves better",
            ),
        ),
        notes=(
            *NOTES,
            "The paper's figure is of LPIPS, with 1,000 and 10,000 images.",
            NATURAL_NOTE,
            *setting_notes(scale, target),
        ),
        baseline=place.name,
        extra=partial(_tables, rows=rows, paper={} if target else paper, orders=orders),
        timed=True,
    )


figure12 = Framed(_figure12, _figure12)


def _shallow(scale: Scale, setup: Setup, target: Target) -> Spot:
    """The scale's own, or a third of the way into the head that was named, as the paper's is."""
    if not target:
        return spot(scale, setup, target, SHALLOW[scale])
    ends = blocks_of(setup)
    depth = max(1, round(len(ends) / 3))
    return named_spot(setup, ends[depth - 1], depth)


def _on_images(keys: Mapping[str, str], few: int, many: int, natural: str) -> Iterator[Claim]:
    """What the paper says of real and synthetic images, few and many.

    Args:
        keys: of the rows, by label.
        natural: key of the row whose images began with natural noise.
    """
    for count in (few, many):
        yield Claim(
            f"{count} synthetic images are within {NEAR_DB:g} dB of {count} real ones",
            "psnr",
            keys[f"{count} synthetic"],
            "near",
            keys[f"{count} real"],
            margin=NEAR_DB,
            otherwise="images made of batch norms do not replace real ones here",
        )
    yield Claim(
        f"{many} synthetic images are better than {few}",
        "psnr",
        keys[f"{many} synthetic"],
        "above",
        keys[f"{few} synthetic"],
        otherwise="more images add nothing here",
    )
    yield Claim(
        f"Synthetic images from natural noise are within {NEAR_DB:g} dB of real ones",
        "psnr",
        natural,
        "near",
        keys[f"{many} real"],
        margin=NEAR_DB,
        otherwise="colours and smoothness to begin with are not all that they lack",
    )


def _tables(
    found: Found,
    rows: Sequence[tuple[str, str]],
    paper: Mapping[str, float],
    orders: Sequence[tuple[str, str, str]],
) -> list[ExtraTable]:
    return [
        *lpips_tables(found, rows, paper),
        *lpips_orders(found, orders),
        _characters(found, rows),
    ]


def _characters(found: Found, rows: Sequence[tuple[str, str]]) -> ExtraTable:
    """What the images are like that each row learned from, means over seeds."""
    lines = []
    for label, key in rows:
        made = [r for own in found.values() if isinstance(r := own.get(key), Record)]
        told = [facts for r in made if (facts := r.attack_facts.get("images_are"))]
        if told:
            means = (sum(one[name] for one in told) / len(told) for name in CHARACTER)
            lines.append((label, *(f"{value:z.3f}" for value in means)))
    return ExtraTable(
        "What the images are like that were learned from",
        ("images", *CHARACTER.values()),
        tuple(lines),
        "Spread is the standard deviation of the images' mean brightness (range 1); fine is what "
        "has a quarter of a cycle a pixel and more.",
    )
