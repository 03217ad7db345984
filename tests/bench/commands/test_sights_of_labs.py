"""Classes to be inverted, gradients of a batch, and fits that attacks of one run share: through the
one path of a point, with attacks and kinds that nobody else knows.
"""

import time
from dataclasses import replace

import in_process
import pytest
import torch
from torch.nn import functional as F

from adversary.contract.attack import Attack
from adversary.contract.workplace import ALONE
from adversary.inversion.mean_image import MeanImage
from adversary.registry import ATTACKS
from bench.executors import _together
from bench.point import judge as judges
from bench.point.cache.store import Cache
from bench.point.lab import Lab, Sources
from bench.point.measure import plans, point_of
from bench.point.recipe import validated
from bench.point.run import ready, run
from bench.point.sights import sight_of, wire
from bench.point.sights.wire import OverTheWire
from splitlab.contracts import Estimate, Features, Gradients, Kind, Metric, Scores, Targets
from splitlab.contracts.kinds import MEMBERSHIP
from splitlab.errors import BadInput, Unavailable

FIELDS = {"model": "tiny_cnn", "train_images": 64, "queries": 16, "validation_images": 8}
WRONG = Metric(
    "wrong",
    "%",
    "falls",
    title="wrong",
    margin=1.0,
    per_item=lambda truth, estimate, _: 100.0 * (truth != estimate).float(),
)
LABEL = Kind(
    name="label",
    truth=lambda items, context: items.labels if hasattr(items, "labels") else items,  # noqa: ARG005
    check=lambda values, rows, given: "" if len(values) == rows else "wrong",  # noqa: ARG005
    metrics=(f"{__name__}:WRONG",),
    floor=f"{__name__}:first_class",
    floor_is="the first class",
)

SHOWN, DRAWN = [], []
TWO = torch.zeros(2, dtype=torch.int64)


def first_class(own):
    del own
    return torch.zeros(1, dtype=torch.int64)


class SignOfTheBias(Attack):
    """iDLG (Zhao et al. 2020): only the true class's logit has a negative gradient."""

    name = "sign-of-the-bias"
    source = "a test"
    sees = (Gradients,)
    estimates = LABEL
    asks = {"undefended": frozenset()}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        del threat, rng, work

        def estimate(seen):
            SHOWN.append(seen)
            (last,) = [v for k, v in seen.gradients.items() if v.shape == (10,) and "bias" in k]
            return Estimate(last.argmin()[None])

        return estimate


class AsksTheOracle(Attack):
    """Asks what its own images are; its answer to a class is the class of the surest of them."""

    name = "asks-the-oracle"
    source = "a test"
    sees = (Targets,)
    answers = "probabilities"
    estimates = LABEL
    asks = {"undefended": frozenset({"oracle"})}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        del rng, work
        told = threat.need("oracle")(threat.need("aux").images.floats("cpu"))
        assert torch.allclose(told.sum(1), torch.ones(len(told)))

        def estimate(seen):
            surest = told[:, seen.classes].argmax(0)
            return Estimate(seen.classes, extra={"surest": surest.tolist()})

        return estimate


class Slow(MeanImage):
    """Its fit takes a while, and is its own."""

    name = "slow"
    fitted_on = "grant"
    asks = {"undefended": frozenset({"observe"})}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        assert set(threat.granted()) & {"head", "observe"} == {"observe"}
        DRAWN.append(float(torch.rand((), generator=rng)))
        time.sleep(0.2)
        answer, shade = super().fit(threat, rng, work), float(torch.rand((), generator=rng))

        def estimate(seen):
            drawn = 0.1 * torch.rand((), generator=rng)
            return Estimate((answer(seen).values + 0.1 * shade + drawn).clamp(0, 1))

        return estimate


class Starts(Attack):
    """Begins with the other's answer."""

    name = "starts"
    source = "a test"
    asks = {"undefended": frozenset({"observe", "head"})}  # noqa: RUF012

    @property
    def starts_from(self):
        return (Slow(),)

    def fit(self, threat, rng, work=ALONE):
        del threat, rng
        first = work.fitted(Slow())
        assert work.fitted(Slow()) is first
        return lambda seen: Estimate(first(seen).values * 0.5)


MINE = (SignOfTheBias, AsksTheOracle, Slow, Starts)


@pytest.fixture
def registered(monkeypatch):
    in_process.stand_in(monkeypatch)
    lines = {one.name: f"{__name__}:{one.__name__}" for one in MINE}
    monkeypatch.setattr(ATTACKS, "_entries", {**ATTACKS._entries, **lines})
    DRAWN.clear()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("labs")


def lab(folder, name):
    return Lab(
        home=folder / name,
        places=folder / name / "points",
        run=folder / name,
        cache=Cache(folder / "cache"),
        sources=Sources("photo-patches", device="cpu"),
    )


def point(attack, **more):
    config = validated(
        **{**FIELDS, "victims": 8, "victim": {"epochs": 1}, "attacks": (attack,), **more}
    )
    return point_of(config, "block1", plans(config)[0])


@pytest.mark.usefixtures("registered")
def test_the_gradient_of_a_batch_is_the_network_s_own(home):
    config = point("sign-of-the-bias", attacked={"sign-of-the-bias": 1})
    with lab(home, "gradients") as here:
        record = run(config, here)
        net = here.victim(config).net.requires_grad_(True)
        victims = here.data(config).victims.take(8, 0)
    assert record.leakage["wrong"].mean == 0.0
    assert record.estimates == "label"
    assert "accuracy" in record.utility
    seen = SHOWN[-1]
    assert (len(seen.ids), seen.labels) == (1, None)

    def matches(row):
        shown = victims.subset([row])
        loss = F.cross_entropy(net(shown.floats()), shown.labels)
        names, values = zip(*net.net.named_parameters(), strict=True)
        own = dict(zip(names, torch.autograd.grad(loss, values), strict=True))
        got = {k.partition("graph.net.")[2]: v for k, v in seen.gradients.items()}
        assert set(got) == set(own)
        return all(torch.allclose(got[name], own[name], atol=1e-5) for name in own)

    assert sum(matches(row) for row in range(8)) == 1, "of one victim, at the victim's network"


@pytest.mark.usefixtures("registered")
def test_of_several_images_the_order_is_doubtful_and_labels_are_told_to_who_asks(home, monkeypatch):
    monkeypatch.setattr(SignOfTheBias, "asks", {"undefended": frozenset({"labels"})})
    monkeypatch.setattr(SignOfTheBias, "fit", lambda *_: lambda seen: Estimate(seen.labels.flip(0)))
    config = point("sign-of-the-bias", attacked={"sign-of-the-bias": 4})
    with lab(home, "gradients") as here:
        record = run(config, here)
    assert any("of 4 images together and tells no order" in doubt for doubt in record.doubts)
    assert record.threat["labels"] is True


@pytest.mark.usefixtures("registered")
def test_gradients_tell_nobody_which_bodies_are_used_but_who_is_granted_the_selector(
    home, monkeypatch
):
    """A body that the client does not use has none: its name would be missing."""

    def attacked(*asked):
        monkeypatch.setattr(SignOfTheBias, "asks", {"adaptive": frozenset(asked)})
        monkeypatch.setattr(
            SignOfTheBias, "fit", lambda *_: lambda seen: Estimate(SHOWN.append(seen) or TWO)
        )
        defended = {"defense": "ensembler:N=3,P=1", "tail_start": "pool"}
        return point("sign-of-the-bias", attacked={"sign-of-the-bias": 2}, **defended)

    SHOWN.clear()
    with lab(home, "secretly") as here:
        with pytest.raises(Unavailable, match="uses 1 of 3 bodies in secret"):
            run(attacked(), here)
        assert SHOWN == []
        monkeypatch.setattr(wire, "repeated", lambda _: 2)
        monkeypatch.setattr(wire, "shared", lambda *_: 1)
        record = run(attacked("selector"), here)
    used = {name.split(".")[1] for name in SHOWN[0].gradients if name.startswith("bodies.")}
    assert len(used) == 1
    told = " ".join(record.doubts)
    assert "2 of 2 victims' images are the same as another victim's" in told
    assert "1 of 2 victims' images are among the adversary's own" in told


@pytest.mark.usefixtures("registered")
def test_classes_are_targets_and_an_oracle_counts_what_it_is_asked(home):
    with lab(home, "targets") as here:
        every = run(point("asks-the-oracle"), here)
        some = run(point("asks-the-oracle", attacked={"asks-the-oracle": 4}), here)
    assert every.leakage["wrong"].mean == 0.0
    assert (every.leakage["wrong"].items, every.leakage["wrong"].groups) == (10, 10)
    assert some.leakage["wrong"].items == 4
    assert every.effort["queries"] == 16
    assert every.threat == {
        **{"auxiliary": 16, "validation": 8, "oracle": "probabilities", "box": "black"}
    }
    assert len(set(every.attack_facts["surest"])) > 1


@pytest.mark.usefixtures("registered")
def test_the_judge_of_classes_has_seen_none_of_the_private_images(home, monkeypatch):
    """They are what is to be recovered: to have learned them by heart is no independent word."""
    learned, train = [], judges.train_classifier

    def spy(net, images, *rest, **named):
        learned.append(images)
        return train(net, images, *rest, **named)

    monkeypatch.setattr(judges, "train_classifier", spy)
    config = point("asks-the-oracle")
    with replace(lab(home, "judged"), cache=Cache(home / "other")) as here:
        truth = sight_of(AsksTheOracle)(config, here).truth()
        here.judge(config)
    private, (classes, images) = truth.context["private"], learned
    assert len(classes) == len(private) == 64
    assert not {x.tobytes() for x in classes.images.numpy()} & {
        x.tobytes() for x in private.images.numpy()
    }
    assert images.hash == private.hash, "that of reconstructed victims is as before"
    assert here.judge_folder(config) != here.judge_folder(config, "auxiliary")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("order", [("slow", "starts"), ("starts", "slow")])
def test_a_fit_is_made_once_for_both_rows_and_its_cost_is_said(home, order):
    found = {}
    with lab(home, "-".join(order)) as here:
        for name in order:
            found[name] = run(point(name), here)
    assert len(DRAWN) == 1
    first, second = (found[name].effort for name in order)
    assert "borrowed_seconds" not in first
    assert second["borrowed_seconds"] >= 0.2
    assert second["fit_seconds"] >= second["borrowed_seconds"]
    with lab(home, "alone") as here:
        alone = {name: run(point(name), here) for name in order[:1]}
    assert len(DRAWN) == 2
    assert DRAWN[0] == DRAWN[1], "the fit does not depend on who asked for it first"
    for name, record in alone.items():
        assert record.leakage["mse"] == found[name].leakage["mse"]
    again = here.fits(point(order[1]), OverTheWire.stream)
    assert len(again.kept) == 1 + (order[0] == "starts")
    elsewhere = point_of(validated(**FIELDS), "block2", plans(validated())[0])
    assert len(here.fits(elsewhere, OverTheWire.stream).kept) == 0


@pytest.mark.usefixtures("registered")
def test_rows_that_share_a_fit_go_to_one_worker():
    job = [point(name) for name in ("mean-image", "starts", "decoder", "slow")]
    names = [[one.attack for one in part] for part in _together(job)]
    assert sorted(map(sorted, names)) == [["decoder"], ["mean-image"], ["slow", "starts"]]


def test_each_sight_of_a_deployment_is_made_ready_once(monkeypatch):
    """Before its attacks are shared out to workers, who would else send the same members twice."""
    made = []
    monkeypatch.setattr(OverTheWire, "prepare", classmethod(lambda cls, *_: made.append(cls)))
    ready([point(name) for name in ("loss", "mean-image", "threshold", "decoder")], None)
    assert sorted(one.__name__ for one in made) == ["MembersAndOthers", "OverTheWire"]


def test_what_a_sight_does_not_show_or_know_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(Slow, "sees", (Features, Targets))
    with pytest.raises(BadInput, match="sees Features, Targets; shown is Features, Scores"):
        sight_of(Slow)
    monkeypatch.setattr(Slow, "sees", (Features,))
    monkeypatch.setattr(Slow, "estimates", replace(MEMBERSHIP, sight=""))
    with pytest.raises(BadInput, match="OverTheWire does not know member of its images"):
        sight_of(Slow)
    monkeypatch.setattr(Slow, "estimates", MEMBERSHIP)
    for sees in ((Features,), (Scores,), (Scores, Features)):
        monkeypatch.setattr(Slow, "sees", sees)
        assert sight_of(Slow).__name__ == "MembersAndOthers"
