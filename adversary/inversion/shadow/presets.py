"""Settings of Ensembler's attack (Liu and Xiong 2024, arXiv:2401.10859v1, section 3)."""

from __future__ import annotations

from adversary.contract.attack import Preset

PRESETS = {
    "liu2024": Preset(
        {
            "head": "paper",
            "channels": 64,
            "epochs": 30,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "tensors": False,
            "match": "nothing",
            "shadows": 1,
            "decoder": "paper",
            "decoder_epochs": 30,
        },
        "arXiv:2401.10859v1, section 3; what it leaves open (optimiser, epochs, the decoder's "
        "layers) as in He, Zhang and Lee 2019",
    )
}
