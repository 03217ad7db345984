"""What a narrower datatype on the wire saves, costs and hides, against the run's first one."""

from __future__ import annotations

from collections.abc import Sequence

from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.record import Record

CHANGE = PSNR.heading_of("change")
WIRE_COLUMNS = ("wire", "bytes saved [%]", "accuracy [points]", CHANGE)


def other_wire(record: Record) -> str | None:
    """The datatype of a record that is not of its run's first wire; None for those that are."""
    first = record.split["name"] == record.config.get("split", record.split["name"])
    return None if first else str(record.config.get("wire", "FP32"))


def against_first(record: Record, records: Sequence[Record]) -> tuple[str, str, str, str]:
    """Datatype, bytes up that it saves, and the changes of accuracy and of PSNR under one attack.

    Empty but for the datatype where the first wire's record is not there, or is this one.
    """
    wire = str(record.config.get("wire", "FP32"))
    same = ("split", "attack", "knowledge")
    base = next(
        (
            one
            for one in records
            if other_wire(one) is None
            and all(one.config.get(k) == record.config.get(k) for k in same)
        ),
        None,
    )
    if base is None or base is record:
        return wire, "", "", ""
    saved = 100 * (1 - record.rate["payload_up"] / base.rate["payload_up"])
    lost = record.utility["accuracy"] - base.utility["accuracy"]
    before, after = (one.leakage.get(PSNR.name) for one in (base, record))
    change = ""
    if before and after and before.mean is not None and after.mean is not None:
        change = change_of(after.mean - before.mean, PSNR.digits.means)
    return wire, f"{saved:z.1f}", change_of(lost, 1), change


def change_of(value: float, digits: int) -> str:
    """ "+0.31" or "-2.00"; what rounds to nothing has no sign."""
    text = f"{value:z.{digits}f}"
    return f"+{text}" if float(text) > 0 else text
