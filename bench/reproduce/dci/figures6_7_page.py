"""Table, verdicts and page of the inverted generator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.report.grids import data_uri
from bench.report.page import filled
from bench.report.settings_table import setting_groups
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.metrics.image.ssim import METRIC as SSIM
from splitlab.metrics.latent import ERROR, NORMALITY
from splitlab.storage import write_bytes

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the first latent, in the figure of interpolations."""
ENOUGH_DB = 20.0
"""PSNR of the second generation that counts as close."""
COLUMNS = (
    ("seed", "seed", 0),
    ("second_generation_psnr", PSNR.heading_with("(x, x'')"), PSNR.digits.means),
    ("second_generation_ssim", SSIM.heading_with("(x, x'')"), SSIM.digits.means),
    ("floor_psnr", f"floor: {PSNR.heading}", PSNR.digits.means),
    ("latent_error", ERROR.heading, ERROR.digits.means),
    ("latent_error_of_zero", "floor: mean |z|", ERROR.digits.means),
    ("latent_mean", "mean of z'", 3),
    ("latent_variance", "variance of z'", 3),
    ("latent_ks", NORMALITY.heading, NORMALITY.digits.means),
)


def claims(rows: list[dict[str, Any]]) -> list[str]:
    """What the paper shows, and whether it is so here."""
    close = [row["second_generation_psnr"] for row in rows]
    floor = [row["floor_psnr"] for row in rows]
    latents = [(row["latent_error"], row["latent_error_of_zero"]) for row in rows]
    said = []
    for text, holds, numbers in (
        (
            f"The second generation is close to the first (above {ENOUGH_DB:g} dB)",
            min(close) > ENOUGH_DB,
            ", ".join(f"{value:z.1f} dB" for value in close),
        ),
        (
            "It is closer than the mean of the generator's images",
            all(PSNR.gain(a, b) > 0 for a, b in zip(close, floor, strict=True)),
            ", ".join(f"{a:z.1f} and {b:z.1f} dB" for a, b in zip(close, floor, strict=True)),
        ),
        (
            "Recovered latents are nearer to the true ones than 0 is",
            not any(ERROR.failed(a, b) for a, b in latents),
            ", ".join(f"{a:z.2f} and {b:z.2f}" for a, b in latents),
        ),
    ):
        said.append(f"{text}: {'holds' if holds else 'does not hold'} ({numbers})")
    for row in rows:
        errors = ", ".join(f"{error:z.2f}" for error in row["latent_error_by_depth"])
        said.append(
            f"Seed {row['seed']}: mean |z - z'| where z' is found from the true output of part "
            f"1, 2, ... of the generator: {errors}"
        )
    return said


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [f"{row[key]:z.{digits}f}" for key, _, digits in COLUMNS]


def drawn(rows: list[dict[str, Any]]) -> Table:
    """For a terminal."""
    table = Table(*(title for _, title, _ in COLUMNS), title="A generator inverted")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def write_page(out: Path, summary: dict[str, Any]) -> Path:
    """Write `out/report.html` and return its path."""
    first = out / f"seed-{summary['seeds'][0]}"
    text = filled(
        "gan.html.j2",
        title="DCI, Figures 6 and 7",
        lead=f"{summary['source']}; here at {summary['scale']} scale: SNGAN of {summary['size']} "
        f"pixels and width {summary['gan']['width']} "
        + ("from a checkpoint." if "weights" in summary else f"on {summary['dataset']}."),
        note=summary["note"],
        claims=summary["claims"],
        columns=[title for _, title, _ in COLUMNS],
        rows=[_cells(row) for row in summary["rows"]],
        second=data_uri(first / "second-generation.png") or "",
        interpolation=data_uri(first / "interpolation.png") or "",
        shares=", ".join(f"{share:g}" for share in SHARES),
        environment=setting_groups(summary["environment"]),
    )
    write_bytes(out / "report.html", text.encode())
    return out / "report.html"
