"""Engines by name, and `auto`: the fastest of those that give what the plain loop gives."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cloud_server.engines import onnxruntime_graph, openvino_graph
from cloud_server.engines.contract import (
    Arranged,
    EngineKind,
    EngineTask,
    Outputs,
    Runner,
    Unfit,
)
from cloud_server.engines.cuda_graphs import cuda_graphs
from cloud_server.engines.timing import BUDGET_SECONDS, REPEATS, Timed, enough, seconds
from cloud_server.engines.torch_loop import best, folded, plain
from splitlab.console import errors
from splitlab.errors import BadInput
from splitlab.split.proof import relative_error

BOTH = ("cpu", "cuda")
ENGINE_KINDS: Mapping[str, EngineKind] = {
    "plain": EngineKind(plain, BOTH, 0.0, half=True),
    "folded": EngineKind(folded, BOTH, 1e-5, half=True),
    "torch": EngineKind(best, BOTH, 1e-5, half=True),
    "onnxruntime": EngineKind(onnxruntime_graph.onnxruntime, missing=onnxruntime_graph.missing),
    "openvino": EngineKind(openvino_graph.openvino, half=True, missing=openvino_graph.missing),
    "cudagraphs": EngineKind(cuda_graphs, ("cuda",), 1e-5, half=True),
}
NAMES = ("auto", *ENGINE_KINDS)


@dataclass(frozen=True)
class Chosen:
    """The engine that runs, and what is known of it.

    Args:
        name: of the engine; "A, B" where A runs few rows and B many.
        error: max|delta| / max|y| against the plain loop, on one batch.
        precision: "FP32" or "BF16".
        milliseconds: by engine, and by how many rows went through: one, and as many as may go
            together; filled by `auto`.
        passed_over: engines that could not be used, and why.
    """

    name: str
    run: Runner = field(repr=False)
    error: float
    precision: str = "FP32"
    milliseconds: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)

    def as_facts(self) -> dict[str, Any]:
        """JSON: what the server says of it when it listens."""
        facts: dict[str, Any] = {
            "engine": self.name,
            "precision": self.precision,
            "engine_error": float(f"{self.error:.2g}"),
        }
        if isinstance(self.run, Arranged):
            facts["arranged"] = self.run.how
        if self.milliseconds:
            facts["engines_ms"] = {
                name: {_rows(rows): round(ms, 3) for rows, ms in of.items()}
                for name, of in self.milliseconds.items()
            }
        if self.passed_over:
            facts["engines_passed_over"] = dict(self.passed_over)
        return facts


def _rows(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def check_name(name: str) -> None:
    """
    Raises:
        BadInput: no such engine.
    """
    if name not in NAMES:
        raise BadInput(f"--engine {name!r}: give {', '.join(NAMES[:-1])} or {NAMES[-1]}")


def choose(name: str, task: EngineTask) -> Chosen:
    """Build the engine that was asked for, or measure all that there are and keep the fastest.

    `torch` gives way to the plain loop where folding changes what comes out.

    Raises:
        BadInput: no such engine, not for this device or precision, not installed, unable to run
            these bodies, or further from the plain loop than it may be.
    """
    check_name(name)
    if name == "plain":
        precision = "BF16" if task.bfloat16 else "FP32"
        return Chosen(name, plain(task), 0.0, precision)
    reference = plain(EngineTask(task.bodies, task.example, task.place, task.threads))
    wanted, _ = reference(task.example)
    if name == "auto":
        return _fastest(task, wanted)
    kind = ENGINE_KINDS[name]
    _require(name, kind, task)
    try:
        run = kind.make(task)
        error = _error(run, task, wanted)
    except Exception as failure:
        raise BadInput(f"--engine {name}: {_words(failure)}") from failure
    if not task.bfloat16 and not error <= kind.tolerance:  # NaN is no equality
        if name == "torch":
            why = f"folding changes its outputs by {error:.1e}"
            return Chosen("plain", reference, 0.0, passed_over={name: why})
        raise BadInput(
            f"--engine {name}: its outputs differ by {error:.1e} from PyTorch's, at most "
            f"{kind.tolerance:g} is allowed; use another"
        )
    return Chosen(name, run, error, "BF16" if task.bfloat16 else "FP32")


def _require(name: str, kind: EngineKind, task: EngineTask) -> None:
    if task.place.type not in kind.devices:
        raise BadInput(
            f"--engine {name} runs on {' or '.join(kind.devices)}, the device is "
            f"{task.place.type}; choose another engine or --device"
        )
    if task.bfloat16 and not kind.half:
        able = ", ".join(each for each, one in ENGINE_KINDS.items() if one.half)
        raise BadInput(f"--engine {name} does not take products in BF16; {able} do")


class _Measured(NamedTuple):
    timed: Timed
    error: float


def _fastest(task: EngineTask, wanted: list[Tensor]) -> Chosen:
    """Each has its own copy of the bodies; only those of the fastest with one row and with many are
    kept, and in the end both only where that pays.
    """
    rows = max(len(task.example), task.together)
    large = example_of(tuple(task.example.shape[1:]), rows)
    passed_over: dict[str, str] = {}
    took: dict[str, dict[int, float]] = {}
    one: _Measured | None = None
    many: _Measured | None = None
    _say_what_is_measured(task, large)
    for name, kind in ENGINE_KINDS.items():
        if task.place.type not in kind.devices or (task.bfloat16 and not kind.half):
            continue
        if missing := kind.missing():
            passed_over[name] = f"{missing} is not installed"
            continue
        try:
            found = _measured(name, kind, task, wanted, large)
        except Exception as failure:  # another package's, and there are engines left
            passed_over[name] = _words(failure)
            continue
        timed = found.timed
        took[name] = {1: timed.alone * 1000, rows: timed.together * 1000}
        errors.print(
            f"engine auto: {name}, {took[name][1]:z.1f} ms with 1 row, "
            f"{took[name][rows]:z.1f} with {rows}",
            markup=False,
        )
        if one is None or timed.alone < one.timed.alone:
            one = found
        if many is None or timed.together < many.timed.together:
            many = found
        del found, timed
        gc.collect()  # graphs refer to themselves
    if one is None or many is None:
        raise BadInput(f"--engine auto: none can be used: {passed_over}")
    single = enough(one.timed, many.timed)
    kept = [each for each in (one, many) if single is None or each.timed is single]
    run = single.run if single is not None else _either(one.timed, many.timed, task.example)
    return Chosen(
        ", ".join(dict.fromkeys(each.timed.how for each in kept)),
        run,
        max(each.error for each in kept),
        "BF16" if task.bfloat16 else "FP32",
        took,
        passed_over,
    )


def _either(one: Timed, many: Timed, usual: Tensor) -> Arranged:
    """A request of its usual rows goes to whichever is faster with them, and smaller ones to `one`
    if that is it.
    """
    few = len(usual) if seconds(one.run, usual) < seconds(many.run, usual) else 1
    alone, together = one.run, many.run

    def run(feature: Tensor) -> Outputs:
        return alone(feature) if len(feature) <= few else together(feature)

    rows = f"up to {few} rows" if few > 1 else "a single row"
    return Arranged(run, f"{_how(one)} for {rows}, {_how(many)} for more")


def _how(timed: Timed) -> str:
    own = f" ({timed.run.how})" if isinstance(timed.run, Arranged) else ""
    return f"{timed.how}{own}"


def _say_what_is_measured(task: EngineTask, large: Tensor) -> None:
    """On standard error, before what may take minutes; by the plain loop's time, run once."""
    able = [
        name
        for name, kind in ENGINE_KINDS.items()
        if task.place.type in kind.devices
        and (kind.half or not task.bfloat16)
        and not kind.missing()
    ]
    loop = plain(EngineTask(task.bodies, task.example, task.place, task.threads))
    began = time.perf_counter()
    loop(large)
    each = (1 + REPEATS) * (time.perf_counter() - began) + 2 * BUDGET_SECONDS
    errors.print(
        f"engine auto: measures {', '.join(able)} with 1 and {len(large)} rows; about "
        f"{len(able) * each:z.0f} seconds, more where an engine tries several ways or makes a "
        "graph",
        markup=False,
    )


def _measured(
    name: str, kind: EngineKind, task: EngineTask, wanted: list[Tensor], large: Tensor
) -> _Measured:
    """
    Raises:
        Unfit: its outputs are too far from those wanted.
        Exception: whatever the engine has to say.
    """
    run = kind.make(task)
    error = _error(run, task, wanted)
    if not task.bfloat16 and name != "plain" and not error <= kind.tolerance:
        raise Unfit(f"its outputs differ by {error:.1e}")
    return _Measured(Timed(run, name, seconds(run, large[:1]), seconds(run, large)), error)


def _words(failure: Exception) -> str:
    """Why an engine cannot be used; of an error that is not the lab's its kind and first line."""
    if isinstance(failure, Unfit):
        return str(failure)
    line = next(iter(str(failure).splitlines()), "")
    return f"it failed ({type(failure).__name__}: {line})"


def _error(run: Runner, task: EngineTask, wanted: list[Tensor]) -> float:
    """Of all rows together and of the first alone; NaN where one of them is."""
    outputs, _ = run(task.example)
    alone, _ = run(task.example[:1])
    found = [relative_error(y, x) for y, x in zip(outputs, wanted, strict=True)]
    found += [relative_error(y, x[:1]) for y, x in zip(alone, wanted, strict=True)]
    return float(torch.tensor(found).max())


def example_of(shape: tuple[int, ...], rows: int) -> Tensor:
    """A batch of normal numbers that is the same everywhere."""
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0))
