"""Something of which there is so much, shared by hosts so that another finds some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Guest(Protocol):
    """Whoever holds some."""

    host: str


G = TypeVar("G", bound=Guest)


@dataclass
class Shared(Generic[G]):
    """
    Args:
        granted: how much there is.
        of: what a guest holds of it.
        held: what each host does.
    """

    granted: int
    of: Callable[[G], int]
    held: Counter[str] = field(default_factory=Counter)

    def without(self, guests: Iterable[G]) -> Shared[G]:
        """What would be held if these had left; a copy."""
        held = self.held.copy()
        for guest in guests:
            held[guest.host] -= self.of(guest)
        return Shared(self.granted, self.of, held)

    def grants(self, host: str, new: int) -> bool:
        """Whether the host may have `new` more."""
        return fits(self.held[host], new, self.granted - self.held.total())


def fits(own: int, new: int, free: int) -> bool:
    """Whether one that holds `own` may have `new` more where `free` is left: afterwards it must
    hold no more than is left then; who holds nothing gets what there is.
    """
    return new <= free and (own == 0 or own + new <= free - new)
