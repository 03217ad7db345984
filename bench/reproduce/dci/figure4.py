"""Figure 4 of DCI (Dong et al.): quality against depth, every block of one network inverted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from bench.point.setup import Place, Scale, Setup
from bench.reproduce.dci.notes import NOTES, OWN, setting_notes
from bench.reproduce.dci.setup import (
    BLOCKS,
    SETUP,
    SOURCE,
    at,
    blocks_of,
    ceiling,
    data_free,
    grouping,
    moved,
)
from bench.reproduce.frame.experiment import (
    Claim,
    Experiment,
    ExperimentRow,
    ExtraTable,
    Found,
    Measurement,
    Relation,
)
from bench.reproduce.frame.levels import Depth, depth_figure
from bench.reproduce.frame.perceived import lpips_tables
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.run import Framed
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.record import Record

FALLS = -0.6
"""Rank correlation of PSNR with depth below which it counts as falling."""
ONE_TRAINING = (
    "The cycle's loss ends at block k, so that the inverses of a depth are those of a shallower "
    "adversary with more blocks behind them: one training serves every depth, each attacked by an "
    "adversary who knows the head that ends there and no layer behind it but the statistics that "
    "the synthetic images were made of. The paper also inverts the last linear layer, which is not "
    "measured here."
)


def _figure4(scale: Scale, target: Target = OWN) -> Experiment:
    """DCI at every depth, with a decoder with queries at the shallowest, middle and deepest.

    Raises:
        UnknownName, NotCuttable, BadInput: a network or split point that is none.
    """
    setup = moved(SETUP[scale], target)
    places = _places(scale, setup, target)
    options = {"cycle_to": "k", **grouping(setup)}
    measurements: list[Measurement] = []
    rows: list[ExperimentRow] = []
    for depth, place in enumerate(places, 1):
        label = f"block {depth}" + (f", {place.head_end}" if target else "")
        made = data_free(scale, place, "dci", options=options)
        measurements.append(made)
        rows.append(ExperimentRow(made.key, label, "DCI", (made.key,)))
        if depth in (1, len(places) // 2, len(places)):
            bound = ceiling(scale, place)
            measurements.append(bound)
            rows.append(ExperimentRow(bound.key, f"{label}: ceiling", "queries", (bound.key,)))
    keys = [f"{place.name}/dci" for place in places]
    labels = tuple((row.label, row.key) for row in rows)
    return Experiment(
        name="dci-figure4",
        title="DCI, Figure 4",
        source=f"{SOURCE}, Figure 4",
        scale=scale,
        setup=setup,
        measurements=tuple(measurements),
        rows=tuple(rows),
        claims=tuple(_claims(keys, paper=scale == "paper" and not target)),
        notes=(*NOTES, ONE_TRAINING, *setting_notes(scale, target)),
        baseline=places[0].name,
        extra=partial(_tables, keys=keys, labels=labels),
        figure=partial(_figure, keys=keys),
        timed=True,
    )


figure4 = Framed(_figure4, _figure4)


def _places(scale: Scale, setup: Setup, target: Target) -> list[Place]:
    """One for each block: of the scale's own network, or of the head that was named."""
    if not target:
        return [at(scale, depth) for depth in range(1, len(BLOCKS[scale]) + 1)]
    return [
        Place(f"block-{depth}", "none", end, setup.tail_start)
        for depth, end in enumerate(blocks_of(setup), 1)
    ]


def _claims(keys: Sequence[str], *, paper: bool) -> list[Claim]:
    """What the paper sees in the curve."""

    def claim(text: str, deep: int, relation: Relation, shallow: int, **more: Any) -> Claim:
        return Claim(text, "psnr", keys[deep - 1], relation, keys[shallow - 1], **more)

    if len(keys) < 2:
        return []
    last = len(keys)
    found = [
        claim(
            "The deepest block leaks less than the first",
            last,
            "below",
            1,
            otherwise="depth hides nothing from this attack",
        ),
    ]
    if paper:
        found += [
            claim("The first block with a stride costs PSNR", 2, "below", 1),
            claim("Blocks 8 to 16 are a plateau", 16, "near", 8, margin=1.0),
            claim("The last block is a cliff", last, "below", last - 1, margin=2.0),
        ]
    return found


def _order(found: Found, keys: Sequence[str]) -> ExtraTable:
    """Does PSNR fall with depth, seed by seed?"""
    from scipy.stats import spearmanr

    lines = []
    for seed, own in found.items():
        curve = []
        for depth, key in enumerate(keys, 1):
            record = own.get(key)
            if isinstance(record, Record) and (mean := record.leakage["psnr"].mean) is not None:
                curve.append((depth, mean))
        if len(curve) < 3:
            continue
        rho = float(spearmanr(*zip(*curve, strict=True)).statistic)
        verdict = "holds" if rho <= FALLS else "does not hold"
        values = ", ".join(PSNR.number(value) for _, value in curve)
        lines.append((str(seed), values, f"{rho:z.2f}", verdict))
    columns = ("seed", f"{PSNR.heading}, block 1 on", "Spearman", f"below {FALLS:g}")
    return ExtraTable("Does PSNR fall with depth?", columns, tuple(lines))


def _figure(found: Found, keys: Sequence[str]) -> str:
    return depth_figure(_curve(found, keys))


def _tables(
    found: Found, keys: Sequence[str], labels: tuple[tuple[str, str], ...]
) -> list[ExtraTable]:
    return [_order(found, keys), *lpips_tables(found, labels, {})]


def _curve(found: Found, keys: Sequence[str]) -> list[Depth]:
    """Mean PSNR over seeds, and the lowest and highest end of their intervals."""
    points = []
    for depth, key in enumerate(keys, 1):
        made = [
            r.leakage["psnr"]
            for own in found.values()
            if isinstance(r := own.get(key), Record) and r.leakage["psnr"].mean is not None
        ]
        if made:
            means = [one.mean or 0.0 for one in made]
            ends = [
                value
                for one in made
                for value in (one.mean, one.low, one.high)
                if value is not None
            ]
            points.append(Depth(depth, sum(means) / len(means), min(ends), max(ends)))
    return points
