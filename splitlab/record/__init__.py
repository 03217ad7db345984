"""One JSON file a measured point, never edited; lists, CSV and doubts are derived from them."""

from splitlab.record.doubts import doubts
from splitlab.record.latency import (
    Latency,
    MachineLoad,
    PlaceLatency,
    joined,
    latency_hash,
)
from splitlab.record.record import METHOD_VERSION, KeptImages, Leakage, Record, point_hash
from splitlab.record.store import RecordStore

__all__ = [
    "METHOD_VERSION",
    "KeptImages",
    "Latency",
    "Leakage",
    "MachineLoad",
    "PlaceLatency",
    "Record",
    "RecordStore",
    "doubts",
    "joined",
    "latency_hash",
    "point_hash",
]
