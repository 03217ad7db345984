"""How Ensembler and its baselines are attacked (Liu and Xiong 2024): the one place for settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bench.point.setup import Scale

Pipeline = Literal["literal", "strengthened"]

ATTACK_OF: Mapping[Pipeline, str] = {"literal": "shadow", "strengthened": "aligned-shadow"}
"""The paper's pipeline as it is written; and the lab's, which also uses the captured features that
every server holds."""
SHORT: Mapping[Scale, Mapping[Pipeline, str]] = {
    "paper": {"literal": "literal", "strengthened": "strengthened"},
    "quick": {"literal": "literal, shortened", "strengthened": "strengthened"},
}
"""What a row calls them: at the quick scale the paper's pipeline learns for fewer epochs."""
PIPELINE_OPTIONS: Mapping[Scale, Mapping[Pipeline, Mapping[str, Any]]] = {
    "paper": {"literal": {"preset": "liu2024"}, "strengthened": {"decoder_epochs": 10}},
    "quick": {
        # As many channels as the head has: 64 in the paper's networks, 16 in ResNet-8.
        "literal": {
            "preset": "liu2024",
            "channels": 16,
            "epochs": 1,
            "decoder": "lab",
            "decoder_epochs": 1,
        },
        "strengthened": {"decoder_epochs": 1, "aligned": 2, "searches": 2},
    },
}
DECODER_OPTIONS: Mapping[Scale, Mapping[str, Any]] = {
    "paper": {"epochs": 10, "ssim": 0.0},
    "quick": {"epochs": 1, "ssim": 0.0},
}
"""Of the decoders on the true head: as many epochs as the strengthened attack's."""
PIPELINE_KNOWS: Mapping[Pipeline, frozenset[str]] = {
    "literal": frozenset({"bodies"}),
    "strengthened": frozenset({"bodies", "capture", "defense"}),
}
PIPELINES: tuple[Pipeline, ...] = ("literal", "strengthened")

ALL_BODIES = "all"
"""Every body: the shadow learns a selector over them, the aligned shadow gives each a say."""
ORACLE = "oracle"
"""The client's own selector, granted."""
SEARCH = "search"
"""Every subset of the bodies, one after another."""
