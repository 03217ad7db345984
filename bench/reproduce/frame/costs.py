"""What each defence costs, from the records: accuracy, bytes, computation and latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import defenses
from bench.reproduce.frame.columns import Fact, Here
from bench.reproduce.frame.experiment import Experiment, ExtraTable, Found, at_place
from bench.reproduce.frame.found import records_in

FACTS: Mapping[str, Fact] = {
    "accuracy [%]": Fact("utility.accuracy"),
    "change [points]": Fact("utility.accuracy", change=True, form="z.2f"),
    "bodies": Fact("", form=".0f"),
    "KiB up": Fact("rate.payload_up", times=1 / 1024),
    "KiB down": Fact("rate.payload_down", times=1 / 1024, form="z.2f"),
    "client MMACs": Fact("split.head_macs", times=1e-6, form="z.2f"),
    "server and tail MMACs": Fact("split.rest_macs", times=1e-6, form="z.2f"),
    "p50 [ms]": Fact("latency.total.p50"),
}
PER_BODY = ("bodies", "server and tail MMACs")
"""What is said of one network, and there as often as the server runs one."""


def cost_table(experiment: Experiment, found: Found) -> ExtraTable:
    """One row a deployment, mean over seeds; what no record tells is "n/a"."""
    rows = []
    for place in experiment.places:
        made = [(at_place(place.name, own), own) for own in found.values()]
        here = [Here(one, own, experiment.base(own)) for one, own in made if one is not None]
        bodies = bodies_of(place.defense)
        if here:
            facts = {
                heading: replace(fact, times=fact.times * bodies) if heading in PER_BODY else fact
                for heading, fact in FACTS.items()
            }
            rows.append((place.name, place.defense, *(f.mean(here) for f in facts.values())))
    note = (
        "Means over seeds, measured through the wire on the victims' images, a request of eight "
        "images over loopback. MACs: one network's behind the head, times the number of bodies."
    )
    if any(r.environment.get("side_by_side") for r in records_in(found)):
        note += " Milliseconds were taken while other deployments were measured on the same cores."
    columns = ("deployment", "defence", *FACTS)
    return ExtraTable("Accuracy and cost of each deployment", columns, tuple(rows), note)


def bodies_of(defense: str) -> int:
    """How many networks the server runs for one image under this defence."""
    return max((getattr(one, "N", 1) for one in defenses.parse(defense).defenses), default=1)
