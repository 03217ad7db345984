"""One JSON file a measured point, never edited; lists, CSV and doubts are derived from them."""

from splitlab.record.doubts import doubts
from splitlab.record.latency import (
    Latency,
    Load,
    PlaceLatency,
    joined,
    latency_hash,
)
from splitlab.record.record import METHOD_VERSION, Interval, Kept, Record, point_hash
from splitlab.record.store import RecordStore

__all__ = [
    "METHOD_VERSION",
    "Interval",
    "Kept",
    "Latency",
    "Load",
    "PlaceLatency",
    "Record",
    "RecordStore",
    "doubts",
    "joined",
    "latency_hash",
    "point_hash",
]
