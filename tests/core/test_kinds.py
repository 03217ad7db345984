"""What is seen and what is estimated: forms are checked, and every kind's names load."""

from pathlib import Path

import pytest
import torch

from splitlab.contracts import (
    Digits,
    Features,
    Gradients,
    InputSpec,
    Metric,
    Quantity,
    Scores,
    Targets,
)
from splitlab.contracts.kinds import KINDS
from splitlab.contracts.registry import load_attribute
from splitlab.data import load_splits
from splitlab.errors import BadInput, Mismatch, SplitLabError
from splitlab.metrics import METRICS, evaluate

ANSWERS = {  # kind -> an answer to three rows, and some that are none
    "image": (torch.rand(3, 3, 8, 8), (torch.rand(2, 3, 8, 8), torch.full((3, 3, 8, 8), 1.5))),
    "membership": (
        torch.randn(3),
        (torch.randn(3, 2), torch.arange(3), torch.tensor([0, 1, 1e999])),
    ),
    "tokens": (torch.arange(12).view(3, 4), (torch.rand(3, 4), -torch.ones(3, 4).long())),
    "latent": (torch.randn(3, 5), (torch.randn(2, 5), torch.full((3, 5), torch.nan))),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_takes_its_own_answers_alone(name):
    kind, (answer, others) = KINDS[name], ANSWERS[name]
    given = InputSpec(size=8)
    assert kind.check(answer, 3, given) == ""
    for other in others:
        assert kind.check(other, 3, given).startswith("answered")


@pytest.mark.parametrize("name", KINDS)
def test_what_a_kind_names_is_there(name):
    kind = KINDS[name]
    metrics = kind.load_metrics()
    assert kind.headline in metrics
    assert callable(load_attribute(kind.floor))
    assert not kind.view or callable(load_attribute(kind.view))
    for metric in metrics:  # a table finds it by the name in a record
        assert METRICS.load(metric.name) is metric
        assert metric.title


def test_the_truth_of_membership_is_the_context_s():
    kind, items = KINDS["membership"], list("abc")
    member = torch.tensor([True, False, True])
    assert torch.equal(kind.truth(items, {"member": member}), member)
    with pytest.raises(BadInput, match="who is a member"):
        kind.truth(items, {})
    with pytest.raises(BadInput, match="who is a member"):
        kind.truth(items, {"member": member[:2]})


def test_every_metric_of_images_lies_in_its_bounds_and_beyond_them_is_an_error():
    images = load_splits("photo-patches", limits={"train": 20}).victims.floats("cpu")[:6]
    context = {"embed": lambda x: x.flatten(1)[:, :9]}
    names = [one.name for one in KINDS["image"].load_metrics() if "lpips" not in one.name]
    for guess in (images, images.flip(0), 1 - images):
        assert all(
            column.number is not None for column in evaluate(names, images, guess, context).values()
        )
    wild = Metric("wild", "1", "rises", bounds=(0.0, 1.0), per_item=lambda a, b, _: (a - b) * 9)
    with pytest.raises(SplitLabError, match=r"wild gave .* outside its bounds 0.0 to 1.0"):
        evaluate([wild], torch.ones(2), torch.zeros(2))


def test_a_metric_is_of_items_or_of_sets():
    item, rows = (lambda a, b, _: a - b), (lambda a, b, _: (a, b))
    for ways in (
        {},
        {"per_item": item, "prepare": rows, "per_set": len},
        {"prepare": rows},
        {"per_set": len},
        {"per_item": item, "per_set": len},
    ):
        with pytest.raises(ValueError, match="wanted per_item, or prepare and per_set"):
            Metric("odd", "1", "rises", **ways)


def test_words_of_a_quantity():
    one = Quantity("psnr", "dB", "rises", title="PSNR", digits=Digits(1, 1, 2), margin=0.5)
    assert (one.heading, one.brief_heading) == ("PSNR [dB]", "PSNR\n[dB]")
    assert one.heading_of("floor") == "floor [dB]"
    assert one.heading_of("change") == "PSNR [dB, change]"
    assert one.heading_with(" of it") == "PSNR of it [dB]"
    assert (one.told(-0.01), one.mean(1.234)) == ("0.0 dB", "1.23")
    assert one.failed(10.5, 10.0)
    assert not one.failed(10.6, 10.0)
    falls = Quantity("error", "1", "falls", margin=0.1)
    assert falls.failed(0.95, 1.0)
    assert not falls.failed(0.8, 1.0)
    assert falls.heading_of("floor") == "floor, error"
    assert not Quantity("mse", "1", "falls").failed(9.0, 0.0)  # nothing is concluded from it


def test_what_is_seen_has_an_id_a_row():
    with pytest.raises(Mismatch, match="one id a row"):
        Features(("a",), torch.zeros(2, 3))
    with pytest.raises(Mismatch, match="replies"):
        Features(("a", "b"), torch.zeros(2, 3), (torch.zeros(1, 3),))
    with pytest.raises(Mismatch, match="at least one row"):
        Targets((), torch.zeros(0).long())
    with pytest.raises(Mismatch, match="are no label"):
        Scores(("a",), torch.zeros(1, 10), "label")
    with pytest.raises(Mismatch, match="are no logits"):
        Scores(("a",), torch.zeros(1))
    with pytest.raises(Mismatch, match="0 gradients"):
        Gradients(("a",), {})


def test_every_metric_is_computed_for_some_kind_and_the_steps_to_add_one_say_how():
    named = {load_attribute(path).name for one in KINDS.values() for path in one.metrics}
    assert named == {*METRICS}
    steps = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = steps.partition("## Add a metric")[2].partition("\n## ")[0]
    ways = [name for name in Metric.__annotations__ if name.startswith(("per_", "prepare"))]
    assert len(ways) >= 3
    assert not [word for word in (*ways, "metrics/registry.py", "kinds.py") if word not in steps]
