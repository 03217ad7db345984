"""Every defence by the name that stands in a flag, a deployment and a record.

Packages that are installed beside the lab add theirs (docs/defences.md).
"""

from splitlab import entry_points
from splitlab.contracts.registry import Registry

DEFENSES = Registry(
    "defence",
    {
        "none": "defenses.none:NoDefense",
        "gaussian": "defenses.gaussian:Gaussian",
        "laplace": "defenses.laplace:Laplace",
        "dropout": "defenses.dropout:Dropout",
        "single": "defenses.single:Single",
        "output-dropout": "defenses.output_dropout:OutputDropout",
        "shredder": "defenses.shredder:Shredder",
        "random-head": "defenses.random_head:RandomHead",
        "ensembler": "defenses.ensembler:Ensembler",
        "dropout-ensemble": "defenses.dropout_ensemble:DropoutEnsemble",
    },
    group=entry_points.DEFENSE_GROUP,
    wanted="splitlab.contracts.defense:Defense",
    crosses=True,
)
