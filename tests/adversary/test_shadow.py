"""The query-free shadow attack: known answers, what it may not touch, and how bodies are chosen."""

from dataclasses import replace

import pytest
import torch
from shadow_worlds import AUX, FEATURE, VICTIMS, granted, quick, sent, stranger, victim
from torch import nn
from worlds import INPUT, outcome, quality

from adversary.contract.attack import run_attack
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from adversary.inversion.decoder import Decoder
from adversary.inversion.mean_image import MeanImage
from adversary.inversion.shadow.attack import Shadow
from splitlab.contracts import Features
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.randomness import generator


def answer(attack, threat, feature=None):
    return outcome(attack, threat, sent() if feature is None else feature).estimate


def loud(_module, _inputs):
    raise AssertionError("the client's head was asked")


def test_one_body_is_one_body_however_it_is_chosen():
    """With N = P = 1 number, oracle, learned gate, top-P and search are one attack, bit for bit."""
    threat = granted(selector=(0,), P=1)
    one = answer(quick(), threat).values
    for bodies in ("oracle", "all", "top-P", "search"):
        assert torch.equal(answer(quick(bodies=bodies), threat).values, one)


def test_an_oracle_is_told_what_a_number_names():
    bodies = [stranger(1), victim().body, stranger(2)]
    told = answer(quick(bodies="oracle"), granted(*bodies, selector=(2, 1)))
    named = answer(quick(bodies="1,2"), granted(*bodies))
    assert torch.equal(told.values, named.values)
    assert told.extra["bodies"] == [1, 2]
    assert told.extra["gates"] == [0.5, 0.5]


@pytest.mark.parametrize("head", ["paper", "architecture"])
def test_the_shadow_learns_the_task_through_a_body_that_it_leaves_alone(head):
    threat = granted()
    before = {k: v.clone() for k, v in threat.bodies.state_dict().items()}
    found = answer(quick(head=head, epochs=8, learning_rate=5e-3), threat)
    after = threat.bodies.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert found.extra["accuracy"] > found.extra["guessing"] + 20
    assert found.extra["losses"][-1] < 0.8 * found.extra["losses"][0]
    assert not found.doubts


def test_the_head_is_never_run_and_queries_are_never_read():
    blind = answer(quick(), granted())
    head = nn.Conv2d(3, 8, 3)
    head.register_forward_pre_hook(loud)
    observe = Observed(VICTIMS, torch.full((16, *FEATURE.shape), torch.nan))
    for more in ({"head": head}, {"observe": observe}, {"head": head, "tail": nn.Linear(1, 1)}):
        done = outcome(quick(), granted(**more), sent())
        assert torch.equal(done.estimate.values, blind.values)
        assert done.effort["head_images"] == 0


@pytest.mark.parametrize(
    ("options", "more", "field"),
    [
        ({}, {"bodies": None}, "bodies"),
        ({}, {"aux": None}, "aux"),
        ({}, {"feature": None}, "feature"),
        ({}, {"input": None}, "input"),
        ({}, {"arch": None}, "arch"),
        ({"bodies": "oracle"}, {}, "selector"),
        ({"bodies": "top-P"}, {}, "P"),
        ({"match": "moments"}, {}, "capture"),
        ({"match": "moments", "bodies": "search"}, {}, "capture"),
        ({"head": "architecture"}, {"head_end": None}, "head_end"),
    ],
)
def test_what_is_not_granted_is_named(options, more, field):
    with pytest.raises(MissingKnowledge, match=f"'{field}'"):
        quick(**options).fit(replace(granted(), **more), generator(0))


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        ({"bodies": "1"}, {}, "there are 1 bodies"),
        ({"bodies": "top-P"}, {"P": 2}, "P=2 of 1"),
        ({"bodies": "search"}, {"bodies": nn.ModuleList([nn.Flatten()] * 6)}, "63 subsets"),
        ({"bodies": "search"}, {"bodies": nn.ModuleList([nn.Flatten()] * 10), "P": 4}, "210"),
        ({"match": "statistics"}, {"bodies": nn.ModuleList([nn.Flatten()]), "arch": None}, "norm"),
        ({}, {"aux": AuxImages(AUX.images.take(1), AUX.validation, "public")}, "1 images"),
    ],
)
def test_what_does_not_fit_is_refused(options, more, words):
    with pytest.raises(BadInput, match=words):
        quick(**options).fit(replace(granted(), **more), generator(0))


@pytest.mark.parametrize("bodies", ["none", "0,0", "-1", "0;1", ""])
def test_bodies_are_read(bodies):
    with pytest.raises(BadInput, match=r"bodies='.*': (wanted .*top-P|a body).*; its settings are"):
        Shadow.configured({"bodies": bodies})


def test_the_paper_has_a_preset():
    paper = Shadow.configured({"preset": "liu2024", "bodies": "2"})
    assert (paper.head, paper.channels, paper.learning_rate) == ("paper", 64, 1e-3)
    assert (paper.epochs, paper.decoder, paper.decoder_epochs) == (30, "paper", 30)
    assert (paper.shadows, paper.match, paper.tensors) == (1, "nothing", False)
    assert Shadow().bodies == "all"


def test_a_search_finds_the_body_that_was_trained():
    """Through networks that were never trained the task is learned later, and less of it."""
    bodies = [stranger(1), stranger(2), victim().body]
    attack = quick(bodies="search", epochs=3, learning_rate=5e-3)
    found = answer(attack, granted(*bodies, P=1)).extra
    assert found["bodies"] == [2]
    assert found["subsets"] == 3
    assert found["all_subsets"] == 7
    assert found["seconds_a_subset"] > 0
    assert [one["bodies"] for one in found["tried"]] == [[0], [1], [2]]
    assert found["validation_loss"] == min(one["validation_loss"] for one in found["tried"])


def test_a_search_without_p_tries_every_subset():
    found = answer(
        quick(bodies="search", epochs=0), granted(*[stranger(i) for i in range(3)])
    ).extra
    assert [one["bodies"] for one in found["tried"]] == [
        [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]
    ]  # fmt: skip


def test_a_search_by_moments_takes_the_nearest_features():
    threat = granted(*[stranger(i) for i in range(3)], capture=sent())
    found = answer(quick(bodies="search", match="moments", weight=0), threat).extra
    assert found["distance"] == min(one["distance"] for one in found["tried"])
    assert len({one["distance"] for one in found["tried"]}) == 7


def test_of_several_shadows_the_best_is_kept():
    found = answer(quick(shadows=3), granted()).extra
    assert len({one["validation_loss"] for one in found["tried"]}) == 3
    assert found["validation_loss"] == min(one["validation_loss"] for one in found["tried"])


def test_gates_choose_among_bodies():
    bodies = [stranger(1), victim().body, stranger(2)]
    every = answer(quick(bodies="all"), granted(*bodies)).extra
    assert sum(every["gates"]) == pytest.approx(1, abs=1e-6)
    assert len(set(every["gates"])) == 3
    two = answer(quick(bodies="top-P"), granted(*bodies, P=2)).extra
    assert sorted(two["gates"]) == [0, 0.5, 0.5]
    assert len(two["bodies"]) == 2


@pytest.mark.parametrize("match", ["statistics", "moments"])
def test_matching_brings_the_features_nearer_to_the_clients(match):
    threat = granted(capture=sent())
    plain, matched = (
        answer(quick(epochs=4, learning_rate=3e-3, match=m, weight=10), threat).extra["distance"]
        for m in ("nothing", match)
    )
    assert matched < 0.7 * plain


def test_a_known_defence_acts_behind_the_architectures_head_only():
    threat = granted(defense="gaussian:level=2.0,draw=fresh")
    for head, differs in (("architecture", True), ("paper", False)):
        aware, unaware = (
            answer(quick(head=head, epochs=1), one).extra["losses"]
            for one in (threat, replace(threat, defense=None))
        )
        assert (aware != unaware) == differs


def test_features_without_information_are_not_inverted():
    noise = torch.randn(16, *FEATURE.shape, generator=generator(5))
    pixels, threat = VICTIMS.floats(), granted()
    floor = quality(outcome(MeanImage(), threat, noise), pixels)
    for decoder in ("lab", "paper"):
        attack = quick(epochs=2, decoder=decoder, decoder_epochs=1)
        assert quality(outcome(attack, threat, noise), pixels) < floor + 0.1


def test_labels_that_teach_nothing_raise_a_doubt():
    random = torch.randint(3, (240,), generator=generator(1))
    aux = AuxImages(replace(AUX.images, labels=random), AUX.validation, "same distribution")
    found = answer(quick(), granted(stranger(1), aux=aux))
    assert any("did not learn the task" in doubt for doubt in found.doubts)


def test_without_validation_images_some_of_its_own_are_held_out():
    aux = AuxImages(AUX.images, AUX.images.subset([]), "same distribution")
    found = answer(quick(epochs=0), granted(aux=aux))
    assert any("of 24 held-out images" in doubt for doubt in found.doubts)


def test_a_killed_attack_continues_to_the_same_answer(tmp_path):
    class Killed(Exception):
        pass

    class Bars:
        """Ends the process, so to speak, early in the second shadow's second epoch."""

        left = 3 * 240 + 32

        def task(self, name, total, done=0):  # noqa: ARG002
            return self

        def advance(self, count, loss=None):  # noqa: ARG002
            self.left -= count
            if self.left < 0:
                raise Killed

        def close(self):
            pass

    attack = quick(epochs=2, shadows=2, decoder_epochs=1)
    seen = Features(tuple(map(str, range(16))), sent())
    whole = run_attack(attack, granted(), seen, generator(3)).estimate
    file = tmp_path / "point.pt"
    with pytest.raises(Killed):
        run_attack(attack, granted(), seen, generator(3), progress=Bars(), checkpoint=file)
    assert len(list(tmp_path.glob("point*"))) == 2
    again = run_attack(attack, granted(), seen, generator(3), checkpoint=file).estimate
    assert torch.equal(whole.values, again.values)
    other = run_attack(attack, granted(stranger(1)), seen, generator(3), checkpoint=file).estimate
    assert not torch.equal(other.values, again.values)


def test_the_true_heads_own_decoder_is_what_a_perfect_shadow_would_get():
    """The last step alone: with the client's head as the shadow, its features are inverted."""
    attack, parts = quick(decoder_epochs=1), victim()
    own = attack._as_if_client(granted(), parts.head)
    assert (
        own.granted()
        == ThreatModel(
            feature=FEATURE,
            input=INPUT,
            arch=own.arch,
            head_end="block1",
            tail_start="pool",
            head=parts.head,
            aux=AUX,
        ).granted()
    )
    ceiling = quality(outcome(Decoder(epochs=1), own, sent()), VICTIMS.floats())
    floor = quality(outcome(MeanImage(), own, sent()), VICTIMS.floats())
    assert ceiling > floor + 8
