"""Defences as text, and stacks."""

from typing import ClassVar

import pytest
import torch

from defenses import DEFENSES, Stack, parse
from splitlab.contracts import Defense, Trace
from splitlab.errors import BadInput, UnknownName
from splitlab.randomness import FreeDraw, Secret, generator


def test_canonical_text_names_every_field_and_parses_back():
    stack = parse("gaussian:level=1e-1 + dropout")
    assert stack.spec == "gaussian:draw=fresh,level=0.1+dropout:draw=fresh,level=0.6"
    assert parse(stack.spec) == stack
    assert stack.name == "gaussian+dropout"
    assert stack.stochastic
    assert not parse("gaussian:draw=fixed").stochastic


def test_none_adds_nothing():
    stack = parse("none")
    assert (stack.name, stack.spec, stack.stochastic) == ("none", "none", False)
    assert len(stack.protectors((4,), Secret.new())) == 0
    assert parse("none+laplace") == parse("laplace")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gaussian:sigma=1", "its fields are: draw, level"),
        ("gaussian:level=-1", "wanted at least 0"),
        ("gaussian:level=lots", "wanted a number"),
        ("gaussian:level=nan", "level"),
        ("dropout:level=1.5", "wanted at most 1"),
        ("laplace:draw=often", "'fresh' or 'fixed'"),
        ("laplace:level", "field=value"),
        ("laplace:level=1,level=2", "twice"),
    ],
)
def test_bad_fields_are_named(text, words):
    with pytest.raises(BadInput, match=words):
        parse(text)


def test_our_own_words_stand_without_pydantic_s():
    with pytest.raises(BadInput, match="defence 'ensembler', P=3 of N=2 bodies; choose"):
        parse("ensembler:N=2,P=3")


@pytest.mark.parametrize("text", ["gausian", "", "gaussian+", "gaussian+laplce"])
def test_unknown_names_list_the_nearest(text):
    with pytest.raises(UnknownName, match=r"gaussian|laplace|none"):
        parse(text)


class Schedule(Defense):
    name: ClassVar[str] = "first"

    def phases(self, task):
        del task

    def watches(self, task):
        del task
        return ("layer1",)

    def objective(self, trace):
        return trace.watched["layer1"].sum()

    def recombine(self, outputs, draw):  # noqa: ARG002
        return [2 * out for out in outputs]


class OtherSchedule(Schedule):
    name: ClassVar[str] = "second"


def test_two_owners_of_one_thing_are_named():
    with pytest.raises(BadInput, match="'first' and 'second' both own the schedule"):
        Stack([Schedule(), OtherSchedule()])


def test_hooks_of_a_stack_are_those_of_its_defences():
    stack = Stack([Schedule(), parse("gaussian").defenses[0]])
    assert stack.watches(None) == ("layer1",)
    trace = Trace(*(torch.ones(1) for _ in range(3)), watched={"layer1": torch.ones(3)})
    assert stack.objective(trace).item() == 3
    assert parse("gaussian").objective(trace) is None
    assert stack.phases(None) is None
    draw = FreeDraw(generator(0))
    assert stack.recombine([torch.ones(1)], draw)[0].item() == 2


def test_as_fresh_turns_only_the_draw():
    assert parse("gaussian:level=2,draw=fixed+dropout").as_fresh() == parse(
        "gaussian:level=2+dropout"
    )


def test_every_defence_of_the_registry_has_a_name_and_a_source():
    for name in DEFENSES:
        kind = DEFENSES.load(name)
        assert kind.name == name
        assert kind.source
        assert parse(name).name == name
