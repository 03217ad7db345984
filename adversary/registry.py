"""Every attack by the name that stands in a flag and in a record."""

from splitlab.contracts.registry import Registry

ATTACKS = Registry(
    "attack",
    {
        "decoder": "adversary.decoder:Decoder",
        "rmle": "adversary.rmle:RMLE",
        "dci": "adversary.dci:DCI",
        "psim": "adversary.psim:PSiM",
        "gmi": "adversary.gmi:GMI",
        "ddream": "adversary.dreams:DeepDream",
        "di": "adversary.dreams:DeepInversion",
        "shadow": "adversary.shadow:Shadow",
        "aligned-shadow": "adversary.aligned_shadow:AlignedShadow",
        "mean-image": "adversary.floor:MeanImage",
    },
)
