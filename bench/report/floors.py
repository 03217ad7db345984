"""Which floors a run has: an attack is compared with the mean image on its own victims alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from splitlab.record import Record


@dataclass(frozen=True)
class Floor:
    """The mean image on one set of victims.

    Args:
        attacks: those that were run on them.
        victims: how many.
        values: split point -> the metric's mean.
    """

    attacks: tuple[str, ...]
    victims: int
    values: Mapping[str, float]

    @property
    def told(self) -> str:
        """Whose floor it is."""
        return f"{', '.join(self.attacks)} ({self.victims} victims)"


def floors(records: Sequence[Record], metric: str) -> list[Floor]:
    """One for each set of victims, the largest first.

    Attacks share a floor where they agree at every split point that both have, and have as many
    victims. A metric that could not be computed has none.
    """
    own: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    counts: dict[tuple[str, str], int] = {}
    for record in records:
        floor = record.floor.get(metric)
        if floor is not None and floor.mean is not None:
            line = (str(record.config["attack"]), str(record.config["knowledge"]))
            own[line].setdefault(record.split["name"], floor.mean)
            counts[line] = max(floor.items, counts.get(line, 0))
    found: list[tuple[list[str], int, dict[str, float]]] = []
    for (attack, knowledge), values in sorted(own.items()):
        count = counts[attack, knowledge]
        for names, victims, shared in found:
            common = values.keys() & shared.keys()
            if victims == count and all(abs(values[s] - shared[s]) < 1e-6 for s in common):
                shared |= values
                names.extend(() if attack in names else (attack,))
                break
        else:
            found.append(([attack], count, dict(values)))
    found.sort(key=lambda one: -one[1])
    return [Floor(tuple(names), victims, values) for names, victims, values in found]
