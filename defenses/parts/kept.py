"""Finished stages of a training that has several, so that a killed run repeats none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from splitlab.errors import Mismatch
from splitlab.split import Part, load_part_state, part_state
from splitlab.storage import (
    canonical_json,
    read_json,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
)


def tensors_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All tensors of several modules, each under "name of the module." + its own name."""
    return {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in _state(module).items()
    }


def load_tensors(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Take over what `tensors_of` gave for modules of the same names and shapes.

    Raises:
        Mismatch: they are of other shapes.
    """
    for name, module in modules.items():
        prefix = f"{name}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if isinstance(module, Part):
            load_part_state(module, own)
            continue
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise Mismatch(f"tensors of another {name}: {error}") from error


def _state(module: nn.Module) -> dict[str, Tensor]:
    return part_state(module) if isinstance(module, Part) else module.state_dict()


@dataclass(frozen=True)
class Kept:
    """A place for one finished stage: tensors and facts, readable by their owner alone.

    Args:
        folder: None keeps nothing.
        name: of the two files in it, without suffix.
        run: JSON values that say which run the stage belongs to.
    """

    folder: Path | None
    name: str
    run: dict[str, Any]

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts, or None where the stage is not finished.

        Raises:
            Mismatch: it is another run's; names what differs.
            Corrupt: a file is damaged.
        """
        if self.folder is None or not self._facts.exists():
            return None
        remedy = f"remove {self.folder} to train again"
        found = read_json(self._facts, remedy)
        known = found.get("run", {})
        if differing := sorted(k for k in {*known, *self.run} if known.get(k) != self.run.get(k)):
            raise Mismatch(
                f"{self._facts} belongs to another training ({', '.join(differing)} differ); "
                f"{remedy}, or choose another folder"
            )
        return read_tensors(self._weights, remedy), found["facts"]

    def write(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Keep a finished stage; the facts come last, so that a kill leaves it unfinished."""
        if self.folder is None:
            return
        write_tensors(self._weights, tensors, private=True)
        write_json(self._facts, {"run": self.run, "facts": facts}, private=True)
        self.clear()

    @property
    def checkpoint(self) -> Path | None:
        """Where the unfinished stage stands; named for the run, so that no other takes it over."""
        if self.folder is None:
            return None
        return self.folder / f"{self.name}-{sha256(canonical_json(self.run))[:8]}.pt"

    def clear(self) -> None:
        """Remove the checkpoints of a stage that is finished."""
        if self.folder is not None and self.checkpoint is not None:
            for path in self.folder.glob(f"{self.checkpoint.name}*"):
                path.unlink()

    @property
    def _facts(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.name}.json"

    @property
    def _weights(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.name}.safetensors"
