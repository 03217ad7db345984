"""Valid documents of the readers that begin with a parser, and what is changed in them by plan.

Bytes changed at random hardly get past a parser, and a parser in C or Rust says nothing of how near
they came. Here bytes say which field of a valid document becomes what, so that every input is JSON,
or a file of tensors, and only what it says is wrong.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deployments import deploy
from plan import Plan

Json = Any
RECORDS = Path(__file__).resolve().parents[2] / "results" / "photo-patches-resnet20" / "records"
ODD_VALUES: tuple[Json, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 0.5, 1e308),
    *(math.nan, math.inf, "", "x", "0" * 64, "f" * 32, "../x", "a/b", "\0", "\ud800", "é" * 300),
    *([], [[]], [0], [None], [-1, -1], {}, {"": None}, [{}], ["x"] * 9, [1] * 300),
    *("FP32", "INT8", "server", "tcp", "rises", "1", "tiny_cnn", "block1.2", "splitlab/server/2"),
)
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
RAW = b"\x03"
"""An input that begins with it is what follows, as it is."""


@functools.cache
def _deployed() -> dict[str, tuple[Json, ...]]:
    """Manifests of a plain deployment, and of one with several bodies, a selector and noise."""
    more = {"defense": "gaussian:level=0.1", "wire": "INT8", "bodies": 3, "chosen": (0, 2)}
    with tempfile.TemporaryDirectory() as folder:
        made = [deploy(Path(folder) / "one"), deploy(Path(folder) / "two", **more)]
        return {
            half: tuple(json.loads((one / half / "deployment.json").read_bytes()) for one in made)
            for half in ("server", "client")
        }


def _capture_index() -> tuple[Json, ...]:
    closed = {"first_shard": 0, "started_ns": 1, "closed": True, "frames": 1, "shards": 1}
    sessions = [{**closed, "dropped": 2}, {"first_shard": 1, "started_ns": 9}]
    return ({"format": "splitlab/capture/1", "vantage": "server", "sessions": sessions},)


@functools.cache
def _records() -> tuple[Json, ...]:
    return tuple(json.loads(path.read_bytes()) for path in sorted(RECORDS.glob("*.json"))[:3])


DOCUMENTS: dict[str, Callable[[], tuple[Json, ...]]] = {
    "server_manifest": lambda: _deployed()["server"],
    "client_manifest": lambda: _deployed()["client"],
    "capture_index": _capture_index,
    "record": _records,
}
"""Target -> its valid documents, which are made when they are asked for."""


def _places(node: Json) -> Iterator[tuple[Json, Any]]:
    """Every (container, key or index) of a document."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def change(document: Json, plan: Plan) -> Json:
    """A copy with none to three of its fields replaced, removed, renamed, exchanged or added to."""
    tree = copy.deepcopy(document)
    for _ in range(plan.byte() % 4):
        places = list(_places(tree))
        if not places:
            break
        box, key = places[(plan.byte() | plan.byte() << 8) % len(places)]
        plan.pick((_replace, _number, _letter, _remove, _add, _exchange, _wrap))(
            box, key, plan, places
        )
    return tree


def _replace(box: Json, key: Any, plan: Plan, _places: Json) -> None:
    box[key] = copy.deepcopy(plan.pick(ODD_VALUES))


def _number(box: Json, key: Any, plan: Plan, _places: Json) -> None:
    box[key] = plan.number()


def _letter(box: Json, key: Any, plan: Plan, _places: Json) -> None:
    """Another letter in a text, at its end where it has none there."""
    text = str(box[key])
    at = plan.byte() % (len(text) + 1)
    box[key] = text[:at] + chr(plan.byte()) + text[at + 1 :]


def _remove(box: Json, key: Any, _plan: Plan, _places: Json) -> None:
    del box[key]


def _add(box: Json, key: Any, plan: Plan, _places: Json) -> None:
    """The same once more: under another name, or behind the others."""
    value = copy.deepcopy(box[key])
    if isinstance(box, list):
        box.append(value)
    else:
        box[plan.pick((f"{key}x", "", "format", "digest", key.upper()))] = value


def _exchange(box: Json, key: Any, plan: Plan, places: Json) -> None:
    """A copy of what stands at another place."""
    other, there = places[(plan.byte() | plan.byte() << 8) % len(places)]
    box[key] = copy.deepcopy(other[there])


def _wrap(box: Json, key: Any, plan: Plan, _places: Json) -> None:
    box[key] = [box[key]] * (plan.byte() % 3 + 1)


def document(name: str, plan: Plan) -> Json:
    """One of a target's, changed."""
    return change(plan.pick(DOCUMENTS[name]()), plan)


def tensor_file(plan: Plan) -> bytes:
    """A safetensors file with up to three tensors, something in its header changed or not, and its
    two lengths right or not.
    """
    header: dict[str, Json] = {"__metadata__": {"a": "b"}} if plan.byte() % 2 else {}
    end = 0
    for name in "abc"[: plan.byte() % 4]:
        kind = plan.pick(tuple(SIZES))
        shape = [plan.byte() % 5 for _ in range(plan.byte() % 4)]
        begin, end = end, end + SIZES[kind] * math.prod(shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    head = json.dumps(change(header, plan)).encode()
    head += b" " * (-len(head) % 8)
    length = plan.number() % 2**64 if plan.byte() % 8 == 1 else len(head)
    size = max(0, end + plan.byte() % 9 - 4) if plan.byte() % 8 == 1 else end
    return length.to_bytes(8, "little") + head + bytes(size)
