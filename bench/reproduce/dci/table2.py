"""Table 2 of DCI (Dong et al.): data-free attacks on one deep split point, in quality and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from bench.point.setup import Scale, Setup
from bench.reproduce.dci.notes import NATURAL_NOTE, NOTES, OWN, PAPER_SCALE_NOTE, setting_notes
from bench.reproduce.dci.setup import (
    MADE,
    NATURAL,
    SETUP,
    SOURCE,
    Spot,
    ceiling,
    data_free,
    grouping,
    moved,
    on_real,
    spot,
    updates,
)
from bench.reproduce.frame.experiment import (
    Claim,
    Experiment,
    ExperimentRow,
    ExtraTable,
    Found,
    Measurement,
    Skipped,
)
from bench.reproduce.frame.perceived import BACKBONES, lpips_orders
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.run import Framed
from splitlab.metrics import METRICS
from splitlab.record import Record

DEPTHS: Mapping[Scale, tuple[int, ...]] = {"quick": (5, 8), "paper": (21,)}
SYNTHETIC_DB = 1.5
"""By how much real images may help DCI and synthetic ones still count as good."""
Printed = tuple[float, float, float, float]
PAPER: Mapping[str, Printed] = {
    "psim": (0.092, 0.725, 9.080, 2.4e-1),
    "gmi": (0.104, 0.751, 9.395, 7.2e-2),
    "rmle": (0.082, 1.082, 10.90, 2.1e2),
    "ddream": (0.186, 0.904, 9.534, 5.5e2),
    "di": (0.080, 0.602, 10.93, 1.9e3),
    "dci": (0.013, 0.443, 18.83, 1.5e-2),
}
"""MSE, LPIPS, PSNR in dB, and seconds for four images on a V100; RepVGG-A0, block 21."""
METHODS = (
    ("psim", "PSiM"),
    ("gmi", "GMI on features"),
    ("rmle", "rMSE"),
    ("ddream", "DDream"),
    ("di", "DI"),
    ("decoder", "decoder on synthetic pairs"),
    ("dci", "DCI"),
)
LEARNING = frozenset({"psim", "gmi", "decoder", "dci"})
"""Those that learn from the synthetic images; the others search without."""
FEATURE = {"feature": 1.0, "roll": 0, "flip": 0.0}
"""As the preset of this name; settings, since those of the scale would win over a preset."""
LEAKS = ("mse", "lpips_alex", "lpips_squeeze", "psnr", "ssim")
COLUMNS = (
    "block",
    "method",
    METRICS.load("mse").heading,
    *(f"LPIPS ({backbone})" for backbone in BACKBONES),
    METRICS.load("psnr").heading,
    METRICS.load("ssim").heading,
    "updates",
    "making images [s]",
    "statistics off by: mean / variance",
    "learning [s]",
    "four images [s]",
)
PAPER_COLUMNS = ("paper: MSE", "paper: LPIPS", "paper: PSNR", "paper: four images [s]")


def _table2(scale: Scale, target: Target = OWN) -> Experiment:
    """Every rival, DCI, and DCI on as many real images; the paper's numbers are of its own network
    and place, and stand beside no other's.

    Raises:
        UnknownName, NotCuttable, BadInput: a network or split point that is none.
    """
    setup, made = moved(SETUP[scale], target), MADE[scale]
    own = grouping(setup)
    spots = _spots(scale, setup, target)
    printed = {} if target else PAPER
    measurements: list[Measurement] = []
    rows: list[ExperimentRow] = []
    claims: list[Claim] = []

    def add(measured: Measurement, label: str, attack: str, paper: str = "") -> None:
        measurements.append(measured)
        numbers = {"psnr": PAPER[paper][2]} if paper in printed else {}
        rows.append(ExperimentRow(measured.key, label, attack, (measured.key,), paper=numbers))

    for _, where, place in spots:
        for attack, label in METHODS:
            options = own if attack == "dci" else None
            measured = data_free(scale, place, attack, options=options)
            add(measured, f"{where}: {label}", "data-free", attack)
        if scale == "paper":
            with_feature = data_free(scale, place, "di", name="di-feature", options=FEATURE)
            add(with_feature, f"{where}: DI with the feature's loss", "data-free, the lab's")
        natural = data_free(scale, place, "dci", name="natural", options=own, made=NATURAL[scale])
        add(natural, f"{where}: DCI, images from natural noise", "data-free, the lab's")
        add(on_real(scale, place, made.images, own), f"{where}: DCI on real images", "real")
        add(ceiling(scale, place), f"{where}: ceiling", "decoder with queries")
        claims += _claims(place.name, where, made.images)
    return Experiment(
        name="dci-table2",
        title="DCI, Table 2",
        source=f"{SOURCE}, Table 2",
        scale=scale,
        setup=setup,
        measurements=tuple(measurements),
        rows=tuple(rows),
        claims=tuple(claims),
        notes=(
            *NOTES,
            NATURAL_NOTE,
            *((PAPER_SCALE_NOTE,) if scale == "paper" else ()),
            *setting_notes(scale, target),
        ),
        baseline=spots[0].place.name,
        extra=partial(_costs, scale=scale, spots=spots, printed=printed),
        timed=True,
    )


table2 = Framed(_table2, _table2)


def _spots(scale: Scale, setup: Setup, target: Target) -> list[Spot]:
    """The scale's own depths, or the one place that was named."""
    depths = DEPTHS[scale][:1] if target else DEPTHS[scale]
    return [spot(scale, setup, target, depth) for depth in depths]


def _claims(place: str, where: str, images: int) -> list[Claim]:
    found = [
        Claim(
            f"DCI is above {label} in PSNR at {where}",
            "psnr",
            f"{place}/dci",
            "above",
            f"{place}/{attack}",
            otherwise="this rival reads as much or more here",
        )
        for attack, label in METHODS
        if attack != "dci"
    ]
    found += [
        Claim(
            f"DCI on {made} is within {SYNTHETIC_DB:g} dB of DCI on as many real ones ({where})",
            "psnr",
            f"{place}/{name}",
            "near",
            f"{place}/real-{images}",
            margin=SYNTHETIC_DB,
            otherwise="images made of batch norms do not replace real ones here",
        )
        for name, made in (
            ("dci", "synthetic images"),
            ("natural", "synthetic images from natural noise"),
        )
    ]
    return found


def _costs(
    found: Found, scale: Scale, spots: Sequence[Spot], printed: Mapping[str, Printed]
) -> list[ExtraTable]:
    """The paper's own columns, means over seeds; its numbers where there are any to print."""
    lines = []
    for depth, where, place in spots:
        for attack, label in METHODS:
            key = f"{place.name}/{attack}"
            pairs = [(r, own) for own in found.values() if isinstance(r := own.get(key), Record)]
            if pairs:
                made = [record for record, _ in pairs]
                learned = [_learned(record, own, attack, spots) for record, own in pairs]
                count = f"{updates(scale, attack, depth):,}"
                at_place = where.removeprefix("block ")
                making = _making(made) if attack in LEARNING else ("", "")
                told = _line(made, learned, count, making)
                lines.append((at_place, label, *told, *_paper(attack, printed)))
    orders = [
        (
            f"DCI is nearer to the image than {label} ({where})",
            f"{place.name}/dci",
            f"{place.name}/{attack}",
        )
        for _, where, place in spots
        for attack, label in METHODS
        if attack != "dci"
    ]
    note = (
        "Updates are steps of what reconstructs; of GMI's critic there are five times as many. "
        "Making images is what a method that learns from synthetic images spends on them first; "
        "here they are made once a seed and each such row is told the same seconds. rMSE, DDream "
        "and DI need none. How far the images' statistics are from the stored ones is of the worst "
        "batch norm: means in standard deviations, variances in shares. Learning comes on top of "
        "that, once, before any capture, with all blocks up to the place; four images is the time "
        "to reconstruct, divided by the victims and taken four times. One attack of DCI, PSiM or a "
        "decoder is one forward pass; the others search for every image."
        + (" The paper's times are a V100's." if printed else "")
    )
    columns = (*COLUMNS, *PAPER_COLUMNS) if printed else COLUMNS
    costs = ExtraTable("Quality and time, as the paper has them", columns, tuple(lines), note)
    return [costs, *lpips_orders(found, orders)]


def _line(
    records: Sequence[Record], learned: Sequence[float], count: str, making: tuple[str, str]
) -> tuple[str, ...]:
    leaks = [_mean([_value(r, name) for r in records]) for name in LEAKS]
    learning = _mean(learned)
    each = _mean([4 * r.effort["reconstruct_seconds"] / r.effort["images"] for r in records])
    digits = [METRICS.load(name).digits.means for name in LEAKS]
    texts = [_text(leak, number) for leak, number in zip(leaks, digits, strict=True)]
    return (*texts, count, *making, _text(learning, 1), f"{each:.2g}")


def _making(records: Sequence[Record]) -> tuple[str, str]:
    """Seconds, and the worst errors of the statistics, means over seeds; older records say less."""
    told = [record.attack_facts.get("making", {}) for record in records]
    seconds = _mean([one.get("seconds", math.nan) for one in told])
    worst = [
        _mean([one.get(name, {}).get("worst", math.nan) for one in told])
        for name in ("mean_error", "variance_error")
    ]
    return _text(seconds, 1), " / ".join(_text(error, 2) for error in worst)


def _learned(
    record: Record, own: Mapping[str, Record | Skipped], attack: str, spots: Sequence[Spot]
) -> float:
    """Seconds; with those of the shallower place whose inverses this one began with."""
    spent = record.effort["fit_seconds"]
    kept = int(record.attack_facts.get("from_shelf", 0))
    for shallower in spots:
        before = own.get(f"{shallower.place.name}/{attack}")
        if kept and shallower.depth == kept and isinstance(before, Record):
            spent += before.effort["fit_seconds"]
    return spent


def _value(record: Record, name: str) -> float:
    mean = record.leakage[name].mean
    return math.nan if mean is None else mean


def _paper(attack: str, printed: Mapping[str, Printed]) -> tuple[str, ...]:
    """Under `PAPER_COLUMNS`, if there is anything to print."""
    if not printed:
        return ()
    return tuple(f"{number:g}" for number in printed.get(attack, ())) or ("", "", "", "")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _text(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:z.{digits}f}"
