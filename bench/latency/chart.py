"""The latency's panel of the report's figure: one bar a deployment, every stage in its colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edge_client.stages import STAGES, TOTAL
from splitlab.record import Record
from splitlab.record.latency import LINK_PREFIX

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STAGE_COLOURS: Mapping[str, str] = {
    "head": "#332288",
    "protect": "#cc6677",
    "encode": "#ddcc77",
    "network": "#117733",
    "queue": "#88ccee",
    "codec": "#882255",
    "bodies": "#44aa99",
    "decode": "#999933",
    "tail": "#aa4499",
    "retry": "#000000",
    "other": "#dddddd",
}
"""Of Paul Tol's "muted" scheme, made to be told apart by the colour-blind too, and black."""
UNKNOWN = "#777777"
IMAGES = 8
"""Of a request where a record does not say: older ones were all measured with as many."""


def stages_of(records: Sequence[Record]) -> list[str]:
    """Every stage that any of the records has, in the order of a request."""
    found = {stage for record in records for stage in record.latency}
    own = {stage for stage in found if stage != TOTAL and not stage.startswith(LINK_PREFIX)}
    return [stage for stage in STAGES if stage in own] + sorted(own - set(STAGES))


def height(record: Record, stage: str) -> float:
    """What a stage takes of the total's p50 in ms; its own p50 in a record that tells no part."""
    times = record.latency.get(stage, {})
    return times.get("part", times.get("p50", 0.0))


def images_of_a_request(records: Sequence[Record]) -> int:
    """Images of the requests whose latency is shown."""
    return max((int(r.latency_facts.get("images", IMAGES)) for r in records), default=IMAGES)


def overlapping(records: Sequence[Record]) -> bool:
    """Whether stages were summed over messages that overlap, so that they exceed the total."""
    return any("part" not in ms for r in records for s, ms in r.latency.items() if s == "head")


def told(records: Sequence[Record]) -> str:
    """How the latencies of a table were measured, a sentence."""
    count = images_of_a_request(records)
    together = bool(records) and all(record.latency_facts for record in records)
    how = (
        "measured at all deployments in turns, with nothing else of the run at work"
        if together
        else "measured deployment by deployment"
    )
    return f"Latency is the p50 of a request of {count} images over loopback, {how}."


def latency_panel(axis: Axes, records: Sequence[Record]) -> None:
    """Stacked stages of one record for each split point; they add up to the p50 of the total."""
    bottom = [0.0] * len(records)
    for stage in stages_of(records):
        heights = [height(record, stage) for record in records]
        axis.bar(
            range(len(records)),
            heights,
            bottom=bottom,
            color=STAGE_COLOURS.get(stage, UNKNOWN),
            label=stage,
            width=0.6,
            edgecolor="white",
            linewidth=0.4,
        )
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    note = "stages overlap" if overlapping(records) else "p50"
    count = images_of_a_request(records)
    axis.set_ylabel(f"latency of a request of {count} images, {note} [ms]")
    if stages_of(records):
        handles, labels = axis.get_legend_handles_labels()
        axis.legend(
            handles[::-1],
            labels[::-1],
            fontsize=8,
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
        )
