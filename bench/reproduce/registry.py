"""Every experiment by the name that stands on the command line; nothing heavy is imported here.

Packages that are installed beside the lab add theirs (docs/reproduce.md).
"""

from __future__ import annotations

EXPERIMENTS = {
    "ensembler-table1": "bench.reproduce.ensembler.table1:table1",
    "ensembler-table2": "bench.reproduce.ensembler.table2:table2",
    "ensembler-table3": "bench.reproduce.ensembler.table3:table3",
    "ensembler-figure2": "bench.reproduce.ensembler.figures:figure2",
    "ensembler-figure3": "bench.reproduce.ensembler.figures:figure3",
    "ensembler-ablations": "bench.reproduce.ensembler.ablations:ablations",
    "ensembler-attackers": "bench.reproduce.ensembler.attackers:attackers",
    "ensembler-subsets": "bench.reproduce.ensembler.subsets:subsets",
    "dci-table2": "bench.reproduce.dci.table2:table2",
    "dci-figure4": "bench.reproduce.dci.figure4:figure4",
    "dci-figure9": "bench.reproduce.dci.figure9:figure9",
    "dci-figure12": "bench.reproduce.dci.figure12:figure12",
    "dci-ablations": "bench.reproduce.dci.ablations:ablations",
    "dci-gan": "bench.reproduce.dci.figures6_7:figures",
    "ensembler-text": "bench.reproduce.ensembler.text:text",
}
"""name -> "module:function": takes an `ExperimentRequest`, returns what was `Shown`."""

MOVABLE = ("dci-table2", "dci-figure4", "dci-figure9", "dci-figure12", "dci-ablations")
"""Those that take another network and other split points."""
