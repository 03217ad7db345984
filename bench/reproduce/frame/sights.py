"""How the attacks of an experiment see what they attack."""

from __future__ import annotations

from adversary.registry import attack_of
from bench.point.sights import Sight, sight_of
from bench.reproduce.frame.experiment import Experiment
from splitlab.errors import BadInput


def sight_of_all(experiment: Experiment) -> type[Sight]:
    """The one of all its attacks, since what they attack is one network.

    Raises:
        UnknownName: no such attack.
        BadInput: there are several sights, or none.
    """
    attacks = [attack_of(one.attack) for one in experiment.measurements]
    found = list(dict.fromkeys(map(sight_of, attacks)))
    if len(found) != 1:
        names = ", ".join(one.__name__ for one in found) or "nothing"
        raise BadInput(f"{experiment.name}: its attacks see {names}; wanted one sight for all")
    return found[0]
