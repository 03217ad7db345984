"""What a comparison of attacks runs on: checked, kept in its folder, refused if changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from splitlab.checked import checked
from splitlab.contracts.ranges import Count, Seed
from splitlab.errors import BadInput, Corrupt
from splitlab.named import value_of
from splitlab.storage import read_json, write_json

NAME = "settings.json"
FORMAT = "splitlab/perf-attacks/1"
MAY_GROW = ("splits", "seeds", "contenders")
"""Fields in which two sittings may differ: each row is a measurement of its own."""

Budget = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class ComparisonSettings(BaseModel):
    """
    Args:
        model, size, mean, std: the network and its images.
        data: kind of the data set, never its path, and the hash of all its images.
        weights_hash: of the given weights; None where the network was trained here.
        network: hash of all that the trained network depends on.
        victims, auxiliary: images of one seed.
        validation: images granted to choose settings by.
        budgets: CPU seconds at which a contender is read, ascending.
        contenders: names of those that were asked for.
        quick: too short for a verdict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    dataset: str
    data: str
    size: int
    weights_hash: str | None
    network: str
    victims: Count
    auxiliary: Annotated[int, Field(ge=2)]
    validation: Count
    budgets: tuple[Budget, ...]
    splits: tuple[str, ...]
    seeds: tuple[Seed, ...]
    contenders: tuple[str, ...]
    quick: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        require_ascending(self.budgets)
        return self


def require_ascending(budgets: Sequence[float]) -> None:
    """
    Raises:
        BadInput: none, or not each larger than the one before.
    """
    if not budgets or any(a >= b for a, b in pairwise(budgets)):
        told = ",".join(f"{one:g}" for one in budgets)
        raise BadInput(f"--budget {told}: give CPU seconds in rising order, such as 30,60,180")


def budgets_of(text: str) -> tuple[float, ...]:
    """ "30,60,180" -> (30.0, 60.0, 180.0).

    Raises:
        BadInput: no numbers above 0, or not in rising order.
    """
    found = [value_of(word.strip()) for word in text.split(",")]
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in found):
        raise BadInput(f"--budget {text!r}: wanted CPU seconds with commas, such as 30,60,180")
    budgets = tuple(float(one) for one in found)
    if not all(0 < one <= 86_400 for one in budgets):
        raise BadInput(f"--budget {text!r}: wanted more than 0 and at most 86400 CPU seconds each")
    require_ascending(budgets)
    return budgets


def seeds_of(text: str) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2).

    Raises:
        BadInput: other than whole numbers, each once.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) <= 9 for word in words):
        raise BadInput(f"--seeds {text!r}: wanted whole numbers with commas, such as 0,1,2")
    found = tuple(map(int, words))
    if len(set(found)) != len(found):
        raise BadInput(f"--seeds {text!r}: name each seed once")
    return found


def kept_settings(folder: Path) -> ComparisonSettings | None:
    """Those of a folder that was begun; None of another.

    Raises:
        Corrupt: they are damaged.
    """
    path = folder / NAME
    if not path.exists():
        return None
    remedy = "choose another --out, or restore the file"
    told = {name: one for name, one in read_json(path, remedy).items() if name != "format"}
    try:
        return checked(ComparisonSettings, told, path, remedy)
    except BadInput as error:
        raise Corrupt(path, str(error), remedy) from error


def keep_settings(folder: Path, settings: ComparisonSettings) -> None:
    """Write them, with the rows of earlier sittings.

    Raises:
        BadInput: the folder was begun with others.
    """
    was = kept_settings(folder)
    if was is not None:
        require_same(was, settings, folder)
        union: dict[str, Any] = {
            name: tuple(dict.fromkeys((*getattr(was, name), *getattr(settings, name))))
            for name in MAY_GROW
        }
        settings = settings.model_copy(update=union)
    write_json(folder / NAME, {"format": FORMAT, **settings.model_dump(mode="json")})


def require_same(was: ComparisonSettings, now: ComparisonSettings, folder: Path) -> None:
    """
    Raises:
        BadInput: they differ in more than their rows; names the first field that does.
    """
    for name in type(was).model_fields:
        before, given = getattr(was, name), getattr(now, name)
        if name not in MAY_GROW and before != given:
            raise BadInput(
                f"{folder} holds a comparison with {name} = {before!r}, given was {given!r}; "
                "choose another --out or the same settings"
            )
