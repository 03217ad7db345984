"""Every attack by the name that stands in a flag and in a record.

Packages that are installed beside the lab add theirs (docs/attacks.md).
"""

from typing import Any

from splitlab import entry_points
from splitlab.contracts.registry import Registry

ATTACKS = Registry(
    "attack",
    {
        "decoder": "adversary.inversion.decoder:Decoder",
        "rmle": "adversary.inversion.rmle.attack:RMLE",
        "drag": "adversary.inversion.drag.attack:Drag",
        "dci": "adversary.inversion.dci.attack:DCI",
        "psim": "adversary.inversion.psim:PSiM",
        "gmi": "adversary.inversion.gmi:GMI",
        "ddream": "adversary.inversion.dreams:DeepDream",
        "di": "adversary.inversion.dreams:DeepInversion",
        "shadow": "adversary.inversion.shadow.attack:Shadow",
        "fora": "adversary.inversion.fora.attack:FORA",
        "aligned-shadow": "adversary.inversion.aligned.attack:AlignedShadow",
        "mean-image": "adversary.inversion.mean_image:MeanImage",
        "loss": "adversary.membership.threshold:LossThreshold",
        "threshold": "adversary.membership.threshold:Threshold",
    },
    group=entry_points.ATTACK_GROUP,
    wanted="adversary.contract.attack:Attack",
)

OF_EXPERIMENTS = Registry(
    "attack",
    {
        "generator-inverse": "adversary.inversion.dci.generator_attack:GeneratorInverse",
        "text-shadow": "adversary.inversion.text.shadow:TextShadow",
        "cipher": "adversary.inversion.text.cipher:Cipher",
        "word-decoder": "adversary.inversion.text.decoder:WordDecoder",
    },
)
"""Those that see what no sweep shows and no tap writes down, such as what a generator makes."""


def attack_of(name: str) -> Any:
    """The class of an attack that a point names.

    Raises:
        UnknownName: no such attack.
        BadInput: as `Registry.load`.
    """
    return _registry(name).load(name)


def attack_of_file(name: str) -> Any:
    """The same of a record: no other package's code is imported because a file says so.

    Raises:
        NotImported, UnknownName, BadInput: as `Registry.load_of_file`.
    """
    return _registry(name).load_of_file(name)


def _registry(name: str) -> Registry:
    return OF_EXPERIMENTS if name in OF_EXPERIMENTS else ATTACKS
