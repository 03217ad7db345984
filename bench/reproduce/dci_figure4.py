"""Figure 4 of DCI (Dong et al.): quality against depth, every block of one network inverted."""

from __future__ import annotations

from functools import partial

from bench.reproduce.dci_setup import (
    BLOCKS,
    NOTES,
    QUICK_NOTE,
    SETUP,
    SOURCE,
    at,
    ceiling,
    data_free,
)
from bench.reproduce.experiment import (
    Claim,
    Experiment,
    ExtraTable,
    Found,
    Measurement,
    Row,
    Scale,
)
from bench.reproduce.levels import Depth, depth_figure
from bench.reproduce.perceived import lpips_tables
from bench.reproduce.run import Framed
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


@Framed
def figure4(scale: Scale) -> Experiment:
    """DCI at every depth, with a decoder with queries at the shallowest, middle and deepest."""
    measurements: list[Measurement] = []
    rows: list[Row] = []
    depths = range(1, len(BLOCKS[scale]) + 1)
    for depth in depths:
        made = data_free(scale, at(scale, depth), "dci", options={"cycle_to": "k"})
        measurements.append(made)
        rows.append(Row(made.key, f"block {depth}", "DCI", (made.key,)))
        if depth in (1, len(depths) // 2, len(depths)):
            bound = ceiling(scale, at(scale, depth))
            measurements.append(bound)
            rows.append(Row(bound.key, f"block {depth}: ceiling", "queries", (bound.key,)))
    labels = tuple((row.label, row.key) for row in rows)
    return Experiment(
        name="dci-figure4",
        title="DCI, Figure 4",
        source=f"{SOURCE}, Figure 4",
        scale=scale,
        setup=SETUP[scale],
        measurements=tuple(measurements),
        rows=tuple(rows),
        claims=tuple(_claims(scale)),
        notes=(*NOTES, ONE_TRAINING, *((QUICK_NOTE,) if scale == "quick" else ())),
        baseline="block-1",
        extra=partial(_tables, scale=scale, labels=labels),
        figure=partial(_figure, scale=scale),
        timed=True,
    )


def _claims(scale: Scale) -> list[Claim]:
    """What the paper sees in the curve."""
    last = len(BLOCKS[scale])

    def claim(text: str, deep: int, relation: str, shallow: int, **more: object) -> Claim:
        row, than = (f"{at(scale, depth).name}/dci" for depth in (deep, shallow))
        return Claim(text, "psnr", row, relation, than, **more)  # type: ignore[arg-type]

    found = [
        claim(
            "The deepest block leaks less than the first",
            last,
            "below",
            1,
            otherwise="depth hides nothing from this attack",
        ),
    ]
    if scale == "paper":
        found += [
            claim("The first block with a stride costs PSNR", 2, "below", 1),
            claim("Blocks 8 to 16 are a plateau", 16, "near", 8, margin=1.0),
            claim("The last block is a cliff", last, "below", last - 1, margin=2.0),
        ]
    return found


def _order(found: Found, scale: Scale) -> ExtraTable:
    """Does PSNR fall with depth, seed by seed?"""
    from scipy.stats import spearmanr

    lines = []
    for seed, own in found.items():
        curve = []
        for depth in range(1, len(BLOCKS[scale]) + 1):
            record = own.get(f"{at(scale, depth).name}/dci")
            if isinstance(record, Record) and (mean := record.leakage["psnr"].mean) is not None:
                curve.append((depth, mean))
        if len(curve) < 3:
            continue
        rho = float(spearmanr(*zip(*curve, strict=True)).statistic)
        verdict = "holds" if rho <= FALLS else "does not hold"
        values = ", ".join(f"{value:.1f}" for _, value in curve)
        lines.append((str(seed), values, f"{rho:.2f}", verdict))
    columns = ("seed", "PSNR [dB], block 1 on", "Spearman", f"below {FALLS:g}")
    return ExtraTable("Does PSNR fall with depth?", columns, tuple(lines))


def _figure(found: Found, scale: Scale) -> str:
    return depth_figure(_curve(found, scale))


def _tables(found: Found, scale: Scale, labels: tuple[tuple[str, str], ...]) -> list[ExtraTable]:
    return [_order(found, scale), *lpips_tables(found, labels, {})]


def _curve(found: Found, scale: Scale) -> list[Depth]:
    """Mean PSNR over seeds, and the lowest and highest end of their intervals."""
    points = []
    for depth in range(1, len(BLOCKS[scale]) + 1):
        key = f"{at(scale, depth).name}/dci"
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
