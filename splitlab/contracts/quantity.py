"""A number that tables show: its name, unit, decimals, and which differences say anything."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal, NamedTuple

Direction = Literal["rises", "falls"]


class Digits(NamedTuple):
    """Decimals of one number.

    Args:
        table: in a table of one run, and in sentences.
        brief: in a terminal, where there is little room.
        means: of means over seeds, and of differences.
    """

    table: int = 3
    brief: int = 3
    means: int = 3


THREE = Digits()


@dataclass(frozen=True)
class Quantity:
    """All that is shown of a number beside its value; it stands here and nowhere else.

    Args:
        name: of its column and its entry in a record.
        title: in the heading of a table; "" for the name.
        unit: "dB", "%", "points"; "1" for none.
        leakage: "rises" where a larger value means that more is revealed, else "falls".
        brief: the heading where there is little room; "" for the title.
        tabled: whether a sweep's table has a column for it.
        margin: what a mean has to exceed its floor, or another adversary's mean, by, before
            anything is concluded from it; None where nothing is concluded from this number.
        clear: above its floor by this much, what is revealed shows for itself; None where
            nothing is said of it.
        resolved: a difference up to this is none.
        bounds: lowest and highest value that there is; None for no bound.
    """

    name: str
    unit: str
    leakage: Direction
    _: KW_ONLY
    title: str = ""
    brief: str = ""
    digits: Digits = THREE
    tabled: bool = True
    margin: float | None = None
    clear: float | None = None
    resolved: float = 0.0
    bounds: tuple[float | None, float | None] = (None, None)

    @property
    def heading(self) -> str:
        """Title and unit."""
        return self._with_unit(self.title or self.name)

    @property
    def brief_heading(self) -> str:
        """The same for a narrow column, a word a line."""
        return (self.brief or self.heading).replace(" ", "\n")

    def heading_with(self, after: str) -> str:
        """The heading with something behind its title: "PSNR of the reconstruction [dB]"."""
        return self._with_unit((self.title or self.name) + after)

    def heading_of(self, what: str) -> str:
        """The heading of something in this unit, such as its "floor" or its "change"."""
        title = self.title or self.name
        if what == "floor":
            return what + (f" [{self.unit}]" if self.unit != "1" else f", {title}")
        return f"{title} [{self.unit}, {what}]" if self.unit != "1" else f"{title}, {what}"

    def number(self, value: float) -> str:
        """As a table of one run shows it."""
        return f"{value:z.{self.digits.table}f}"

    def mean(self, value: float) -> str:
        """As a mean over seeds is shown."""
        return f"{value:z.{self.digits.means}f}"

    def told(self, value: float) -> str:
        """In a sentence, with the unit."""
        return self.number(value) + self.suffix

    @property
    def suffix(self) -> str:
        """The unit as it follows a number, "" for none."""
        return "" if self.unit == "1" else f" {self.unit}"

    def gain(self, value: float, than: float) -> float:
        """By how much `value` reveals more than `than`; below 0 for less."""
        return value - than if self.leakage == "rises" else than - value

    def failed(self, value: float, floor: float) -> bool:
        """Whether an attack is no better than its floor; never where there is no margin."""
        return self.margin is not None and self.gain(value, floor) <= self.margin

    def _with_unit(self, title: str) -> str:
        return title if self.unit == "1" else f"{title} [{self.unit}]"
