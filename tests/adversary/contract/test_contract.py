"""Every attack under every knowledge against every defence at every kind of split point.

By default each attack and each defence is met once at each kind of split point, and each attack
with a defence of each kind. All combinations under `slow`.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from torch import nn
from worlds import INPUT, SECRET, Orthogonal, capture, outcome, threat, tiny_head

from adversary.registry import ATTACKS
from defenses import DEFENSES, parse
from splitlab.contracts import ArchSpec
from splitlab.contracts.kinds import IMAGE
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.models import build
from splitlab.split import cut

NO_QUERIES = {("rmle", "queries"), ("drag", "queries"), ("dci", "queries")}
ONE_WAY = {
    "psim": ("adaptive",),
    "gmi": ("adaptive",),
    "di": ("unaware",),
    "ddream": ("unaware",),
    "shadow": ("unaware", "adaptive"),
    "fora": ("unaware", "adaptive"),
    "aligned-shadow": ("unaware", "adaptive"),
    "mean-image": ("unaware",),
}
"""What an attack makes a difference of, where that is not all three; others may be left out."""
ATTACKS_AND_KNOWLEDGE = [
    (name, knowledge)
    for name in ATTACKS
    if ATTACKS.load(name).estimates is IMAGE
    for knowledge in ("queries", "unaware", "adaptive")
    if (name, knowledge) not in NO_QUERIES and knowledge in ONE_WAY.get(name, (knowledge,))
]


def on_features(name):
    """A defence as it can be had without a network: drawn fresh, and once where it can be."""
    if not parse(name).protectors((1,), SECRET):
        return []
    if "draw" in DEFENSES.load(name).model_fields:
        return [f"{name}:draw=fresh", f"{name}:draw=fixed"]
    return [parse(name).as_fresh().spec]


DEFENCES = [
    "none",
    *(text for name in DEFENSES for text in on_features(name)),
    "gaussian+dropout",
    "dropout+output-dropout",
]
POINTS = ["block1", "block2", "block3", "pool", "vit", "grid"]
EVERY = list(product(ATTACKS_AND_KNOWLEDGE, DEFENCES, POINTS))
QUICK = {
    "decoder": {"epochs": 1, "width": 8, "depth": 1},
    "rmle": {"steps": 6, "choose_steps": 3, "choose_images": 1},
    "drag": {"steps": 3, "recurrence": 1, "samples": 1, "train_steps": 2, "width": 8},
    "dci": {
        "images": 8,
        "synthesis_steps": 2,
        "synthesis_batch": 8,
        "epochs": 1,
        "tune_epochs": 1,
        "batch_size": 8,
    },
    "psim": {"epochs": 1, "width": 4},
    "gmi": {"epochs": 1, "width": 4, "steps": 2, "restarts": 1},
    "di": {"steps": 2},
    "ddream": {"steps": 2},
    "shadow": {"epochs": 1, "channels": 8, "decoder_epochs": 1},
    "fora": {"steps": 2, "batch_size": 8, "width": 4, "decoder_epochs": 0},
    "aligned-shadow": {
        "critic_epochs": 1,
        "tried": 10,
        "started": 3,
        "kept": 2,
        "refine_steps": 2,
        "searches": 1,
        "aligned": 2,
        "align_steps": 2,
        "compared": 40,
        "head_epochs": 1,
        "picture_epochs": 1,
        "heads": 1,
        "decoder_epochs": 0,
    },
}
REFUSED = {
    ("aligned-shadow", "pool"): (BadInput, "take 'shadow' instead"),
    ("aligned-shadow", "grid"): (MissingKnowledge, "needs 'arch'"),
    ("fora", "grid"): (MissingKnowledge, "needs 'arch'"),
    ("dci", "grid"): (MissingKnowledge, "needs 'arch'"),
    ("dci", "vit"): (BadInput, "no batch norm"),
    ("di", "vit"): (BadInput, "no batch norm"),
    ("di", "grid"): (BadInput, "no batch norm"),
}
"""What an attack cannot do at a split point, in words that help."""


KINDS_OF_POINTS = ("block1", "pool", "vit", "grid")
KINDS_OF_DEFENCES = ("gaussian:draw=fresh", "gaussian:draw=fixed")


def representatives():
    """A greedy cover of the pairs that are asked for by default."""

    def pairs(row):
        attack, defense, point = row
        kind = {(attack, defense)} if defense in KINDS_OF_DEFENCES else set()
        return {(attack, point), (defense, point), *kind}

    rows = {row: pairs(row) for row in EVERY if row[2] in KINDS_OF_POINTS}
    left = set().union(*rows.values())
    while left:
        best = max(rows, key=lambda row: len(rows[row] & left))
        left -= rows[best]
        yield best


@cache
def head_at(point):
    if point == "vit":
        return tiny_head("layers.0", "tiny_vit", depth=1)
    return Orthogonal("grid") if point == "grid" else tiny_head(point)


@cache
def server_at(point, numbers):
    """Two bodies, and what is known of the network that `head_at` was cut from, if it was cut."""
    if point == "grid":
        body = nn.Sequential(nn.Flatten(), nn.Linear(numbers, 4))
        return {"bodies": nn.ModuleList([body, body])}
    end, arch = point, ArchSpec(name="tiny_cnn", input=INPUT)
    if point == "vit":
        end, arch = "layers.0", ArchSpec(name="tiny_vit", input=INPUT, arguments={"depth": 1})
    bodies = [cut(build(arch, seed=seed), end, None, INPUT.shape).body for seed in (1, 2)]
    return {"bodies": nn.ModuleList(bodies), "arch": arch, "head_end": end}


def attacked(attack, defense, point):
    name, knowledge = attack
    head = head_at(point)
    kind = ATTACKS.load(name).configured(QUICK.get(name, {}))
    seen = capture(head, defense)
    known = dict(server_at(point, seen[0].numel()))
    if any("capture" in fields for fields in kind.asks.values()):
        known["capture"] = seen
    model = replace(threat(head, defense, known=knowledge), **known)
    if (name, point) in REFUSED:
        error, words = REFUSED[name, point]
        with pytest.raises(error, match=words):
            kind.check(model)
        with pytest.raises(error, match=words):
            outcome(kind, model, seen)
        return
    kind.check(model)
    done = outcome(kind, model, seen)
    assert done.estimate.values.shape == (8, 3, 16, 16)
    assert done.effort["fit_seconds"] >= 0


@pytest.mark.parametrize(("attack", "defense", "point"), list(representatives()))
def test_representatives(attack, defense, point):
    attacked(attack, defense, point)


@pytest.mark.slow
@pytest.mark.parametrize("defense", DEFENCES)
@pytest.mark.parametrize("attack", ATTACKS_AND_KNOWLEDGE, ids="-".join)
def test_every_combination(attack, defense):
    for point in POINTS:
        attacked(attack, defense, point)
