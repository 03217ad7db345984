"""`bench splits MODEL`: where a network can be cut, without training it."""

from __future__ import annotations

from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.table import Table

from splitlab.answers import answer
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.models import build, fixed_outputs, permit_typed
from splitlab.split import Granularity, SplitPoint, split_points


def show_splits(
    model: str, size: int, classes: int | None, operations: bool, as_json: bool
) -> None:
    """Print the split points of `model` for `size` x `size` images, as a table or as JSON.

    Args:
        classes: None for 10, or as many as a user's own network has that is not told.

    Raises:
        UnknownName: no such network.
        BadInput: a size or number of classes out of range, or too small for the network.
    """
    model = permit_typed(model)
    arch = ArchSpec.named(model, input=InputSpec(size=size))
    classes = classes if classes is not None else fixed_outputs(arch) or arch.classes
    arch = ArchSpec.named(model, classes=classes, input=arch.input)
    granularity: Granularity = "operation" if operations else "block"
    found = split_points(build(arch, seed=0), arch.input.shape, granularity)
    title = f"{model}, {size}x{size}, {classes} classes"
    answer(as_json, [asdict(point) for point in found], table(found, title))


def table(points: list[SplitPoint], title: str) -> Table:
    """One row a split point, MACs in millions by side; aliases stand in the JSON alone."""
    drawn = Table(title=title, header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = (
        ("#", "right"),
        ("split point", "left"),
        ("feature", "right"),
        ("KiB / image", "right"),
        ("client params", "right"),
        ("rest params", "right"),
        ("client MMACs", "right"),
        ("rest MMACs", "right"),
    )
    for name, justify in columns:
        drawn.add_column(
            name,
            justify="right" if justify == "right" else "left",
            overflow="fold",
            no_wrap=name in ("split point", "feature"),  # a name is typed again as it stands here
        )
    for point in points:
        drawn.add_row(
            str(point.index),
            point.name,
            "x".join(map(str, point.shape)),
            f"{point.bytes_per_image / 1024:z.1f}",
            f"{point.head_params:,}",
            f"{point.rest_params:,}",
            f"{point.head_macs / 1e6:z.2f}",
            f"{point.rest_macs / 1e6:z.2f}",
        )
    return drawn
