"""What a recipe's fields do, against PyTorch's own; what it is written as."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bench.cli_options import Training
from splitlab.errors import SplitLabError
from splitlab.training import TrainRecipe
from splitlab.training.presets import RECIPES, recipe_fields
from splitlab.training.recipe import LATER


def shares(recipe: TrainRecipe, steps: int) -> list[float]:
    return [recipe.factor(steps)(step) for step in range(steps)]


def test_values_of_the_schedules_at_given_steps() -> None:
    plain = {"warmup": 0.0}
    constant = shares(TrainRecipe(schedule="constant", **plain), 4)
    assert constant == [1.0] * 4
    triangle = shares(TrainRecipe(schedule="triangle", **plain), 4)
    assert triangle == pytest.approx([1.0, 0.75, 0.5, 0.25])
    cosine = shares(TrainRecipe(schedule="cosine", **plain), 4)
    assert cosine == pytest.approx([(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])
    warm = shares(TrainRecipe(schedule="multi-step", warmup=0.2, milestones=(0.5,)), 10)
    assert warm == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_multi_step_is_pytorchs_of_so_many_epochs() -> None:
    """MultiStepLR [75, 90] of 100 epochs of 3 steps each (paper 000)."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    other = torch.optim.lr_scheduler.MultiStepLR(optimizer, [75, 90], 0.1)
    wanted = []
    for _ in range(100):
        wanted += [optimizer.param_groups[0]["lr"]] * 3
        optimizer.step()
        other.step()
    assert shares(RECIPES["rolss"], 300) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"momentum": 0.0}, lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01)),
        (
            {"nesterov": False},
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
        ),
        ({}, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01)),
        ({"optimizer": "adamw"}, lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01)),
    ],
)
def test_optimisers_step_as_pytorchs_do(fields, wanted) -> None:
    ours, theirs = (nn.Parameter(torch.tensor([[1.0, -2.0]])) for _ in range(2))
    recipe = TrainRecipe(learning_rate=0.1, weight_decay=0.01, **fields)
    pairs = [(ours, recipe.optimizer_of([ours])), (theirs, wanted([theirs]))]
    for step in range(3):
        for value, optimizer in pairs:
            optimizer.zero_grad()
            ((value - step) ** 3).sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_norms_and_biases_are_decayed_by_none(name: str) -> None:
    layer = nn.Linear(3, 2)
    decayed, spared = TrainRecipe(optimizer=name).optimizer_of(layer.parameters()).param_groups
    assert (decayed["params"][0] is layer.weight, decayed["weight_decay"]) == (True, 5e-4)
    assert (spared["params"][0] is layer.bias, spared["weight_decay"]) == (True, 0.0)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_norms_and_biases_decay_where_a_recipe_says_so(name: str) -> None:
    recipe = TrainRecipe(optimizer=name, decay_norms=True)
    groups = recipe.optimizer_of(nn.Linear(3, 2).parameters()).param_groups
    assert [group["weight_decay"] for group in groups] == [5e-4, 5e-4]


def test_presets_say_what_their_sources_do() -> None:
    """Plain SGD of a paper's code decays every parameter; A-10 ends at 99 % of clean images."""
    plain = {"rolss-ir152", "architecture-attribute", "tl-dmi"}
    assert {name for name, one in RECIPES.items() if one.decay_norms} == plain
    assert {name: one.until for name, one in RECIPES.items() if one.until is not None} == {
        "architecture-membership": 0.99
    }


def test_a_recipe_of_before_is_written_as_before() -> None:
    """What hashes and configs were made of: nothing was added to it."""
    assert TrainRecipe().model_dump(mode="json") == {
        "epochs": 2, "batch_size": 32, "learning_rate": 0.05, "momentum": 0.9,
        "weight_decay": 0.0005, "schedule": "triangle", "warmup": 0.25, "label_smoothing": 0.0,
        "shift": 0, "flip": True,
    }  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_not_at_its_default_is_written_and_read(name: str) -> None:
    written = RECIPES[name].model_dump(mode="json")
    assert TrainRecipe.model_validate(written) == RECIPES[name]
    assert TrainRecipe.model_validate_json(RECIPES[name].model_dump_json()) == RECIPES[name]
    assert {*TrainRecipe.model_fields} - LATER <= {*written}


def test_each_later_field_changes_what_is_written() -> None:
    changes = {
        "optimizer": "adamw", "nesterov": False, "milestones": (0.5,), "decay": 0.5, "crop": 0.8,
        "jitter": (0.1, 0, 0, 0), "mixup": 0.8, "cutmix": 1.0, "until": 0.99, "decay_norms": True,
    }  # fmt: skip
    assert {*changes} == LATER
    plain = TrainRecipe().model_dump()
    for name, value in changes.items():
        assert TrainRecipe(**{name: value}).model_dump() == {**plain, name: value}


@pytest.mark.parametrize(
    "bad",
    [
        {"optimizer": "lion"}, {"label_smoothing": -1.5}, {"milestones": (1.0,)}, {"decay": 0},
        {"crop": 0}, {"crop": 1.2}, {"jitter": (0, 0, 0, 0.6)}, {"jitter": (0.1,)},
        {"mixup": -1}, {"until": 0}, {"until": 1.5}, {"schedule": "step"},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(bad) -> None:
    with pytest.raises(ValidationError):
        TrainRecipe(**bad)


def test_augmentation_is_what_the_fields_say() -> None:
    assert TrainRecipe(flip=False).augment is None
    assert repr(TrainRecipe(shift=2).augment) == "Augment(shift=2, flip=True)"
    found = TrainRecipe(flip=False, crop=0.8, jitter=(0.1, 0, 0, 0), mixup=0.8).augment
    assert found is not None
    assert found.jitter is not None
    assert found.mix is not None
    assert (found.crop, found.jitter.brightness, found.mix.mixup) == (0.8, 0.1, 0.8)
    assert "crop=0.8, jitter=Jitter(" in repr(found)


def test_a_recipe_is_typed_as_its_name_and_what_differs() -> None:
    assert recipe_fields(None, None) == recipe_fields("lab", None) == {}
    assert recipe_fields(None, 3) == recipe_fields("lab:epochs=3", None) == {"epochs": 3}
    typed = recipe_fields("lab:optimizer=adam,learning_rate=1e-3,milestones=[0.5, 0.8]", 5)
    wanted = TrainRecipe(optimizer="adam", learning_rate=1e-3, milestones=(0.5, 0.8), epochs=5)
    assert TrainRecipe(**typed) == wanted
    assert TrainRecipe(**recipe_fields("tl-dmi", None)) == RECIPES["tl-dmi"]
    assert TrainRecipe(**recipe_fields("long:shift=0", None)).shift == 0


@pytest.mark.parametrize(
    ("text", "epochs", "words"),
    [
        ("lonk", None, "unknown recipe 'lonk'; nearest: long"),
        ("lab:epochs=3", 4, "epochs twice; keep one"),
        ("lab:learning_rate=fast", None, "learning_rate='fast'.*its settings are: epochs, batch"),
        ("lab:rate=1", None, "rate='1'.*its settings are"),
        ("lab:mixup=-1", None, "mixup='-1'"),
        ("lab:optimizer", None, "field=value"),
    ],
)
def test_a_recipe_that_is_none_is_told(text: str, epochs: int | None, words: str) -> None:
    with pytest.raises(SplitLabError, match=words):
        recipe_fields(text, epochs)


def test_the_help_names_every_recipe() -> None:
    told = Training.__metadata__[0].help.partition("Names: ")[2]
    assert {one.split()[0] for one in told.rstrip(".").split(", ")} == set(RECIPES)
