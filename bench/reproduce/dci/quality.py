"""Quality and time of DCI's rivals (Dong et al., Table 2), as columns over the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.reproduce.frame.columns import Fact, Here
from bench.reproduce.frame.extra import LPIPS, CellOf, FactTable, InPaper, headed
from splitlab.record import Record

MAKING: Mapping[str, CellOf] = {
    "making images [s]": Fact("attack_facts.making.seconds"),
    "statistics off by: mean / variance": (
        Fact("attack_facts.making.mean_error.worst", form="z.2f"),
        Fact("attack_facts.making.variance_error.worst", form="z.2f"),
    ),
}
"""Blank for a method that makes none; older records say less."""


def learned(here: Here) -> float:
    """Seconds; with those of the shallower place whose inverses this one began with."""
    record = here.record
    method = str(record.config["measurement"]).partition("/")[2]
    before = here.own.get(f"block-{record.attack_facts.get('from_shelf', 0)}/{method}")
    begun = before.effort["fit_seconds"] if isinstance(before, Record) else 0.0
    return record.effort["fit_seconds"] + begun


COLUMNS: Mapping[str, CellOf] = {
    "block": None,
    "method": None,
    **headed("mse"),
    **LPIPS,
    **headed("psnr", "ssim"),
    "updates": None,
    **MAKING,
    "learning [s]": Fact(learned),
    "four images [s]": Fact("effort.reconstruct_seconds", per="effort.images", times=4, form=".2g"),
}
PAPER_COLUMNS: Mapping[str, CellOf] = {
    "paper: MSE": InPaper("mse"),
    "paper: LPIPS": InPaper("lpips"),
    "paper: PSNR": InPaper("psnr"),
    "paper: four images [s]": InPaper("seconds"),
}
NOTE = (
    "Updates are steps of what reconstructs; of GMI's critic there are five times as many. "
    "Making images is what a method that learns from synthetic images spends on them first; "
    "here they are made once a seed and each such row is told the same seconds. rMSE, DDream "
    "and DI need none. How far the images' statistics are from the stored ones is of the worst "
    "batch norm: means in standard deviations, variances in shares. Learning comes on top of "
    "that, once, before any capture, with all blocks up to the place; four images is the time "
    "to reconstruct, divided by the victims and taken four times. One attack of DCI, PSiM or a "
    "decoder is one forward pass; the others search for every image."
)


def quality(lines: Sequence[str], *, paper: bool) -> FactTable:
    """The paper's own columns, means over seeds.

    Args:
        lines: keys of those that it is of.
        paper: whether the paper's numbers stand beside them.
    """
    columns = {**COLUMNS, **PAPER_COLUMNS} if paper else COLUMNS
    note = NOTE + (" The paper's times are a V100's." if paper else "")
    return FactTable("Quality and time, as the paper has them", columns, tuple(lines), note)
