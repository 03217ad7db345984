"""The one small language for settings: what is written is read again, whatever stands in it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from adversary.cli_options import chosen, with_preset
from bench.flag_words import chosen_attacks
from bench.options import attack_options, grid
from defenses import parse, parse_file
from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput, SplitLabError
from splitlab.named import (
    alternatives,
    named_fields,
    stacked,
    typed,
    typed_fields,
    value_of,
    written,
    wrong_setting,
)
from splitlab.training.presets import recipe_fields

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
FIELDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
MARKED = st.text(st.sampled_from(list("ab,+|:='\"\\[](){} e1.\n")), max_size=12)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | MARKED
)
VALUES = PLAIN | st.lists(PLAIN, max_size=4)
NAMED = st.tuples(NAMES, st.dictionaries(FIELDS, VALUES, max_size=4))


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMED, min_size=1, max_size=3))
def test_a_stack_that_is_written_is_read_again(parts) -> None:
    text = "+".join(written(name, fields) for name, fields in parts)
    read = [named_fields(part) for part in stacked(text)]
    assert [(name, {k: value_of(v) for k, v in own.items()}) for name, own in read] == parts


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(FIELDS, st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=3))
def test_values_to_try_are_read_again(fields) -> None:
    def told(value) -> str:
        return written("", {"v": value}).partition("=")[2]

    text = ",".join(f"{key}={'|'.join(map(told, values))}" for key, values in fields.items())
    read = alternatives(text)
    assert {key: [value_of(one) for one in values] for key, values in read.items()} == fields


@settings(max_examples=150, deadline=None)
@given(MARKED)
def test_whatever_is_typed_is_read_or_refused_in_one_line(text) -> None:
    for read in (parse, ArchSpec.named, lambda one: grid([one]), lambda one: chosen_attacks([one])):
        with contextlib.suppress(SplitLabError):
            read(text)


def test_marks_that_belong_to_a_value() -> None:
    assert stacked("gaussian:level=1e+5+dropout") == ["gaussian:level=1e+5", "dropout"]
    assert stacked("a:x='1+2'+b:y=[1, '+']") == ["a:x='1+2'", "b:y=[1, '+']"]
    name, fields = named_fields("net:order='a,b',path=c:d,word=don't,rest=(1, 2)")
    assert name == "net"
    read = {key: value_of(value) for key, value in fields.items()}
    assert read == {"order": "a,b", "path": "c:d", "word": "don't", "rest": (1, 2)}
    arch = ArchSpec.named("package.module:factory:widths=[8, 16],mark='a+b,c:d'")
    assert arch.name == "package.module:factory"
    assert arch.arguments == {"widths": [8, 16], "mark": "a+b,c:d"}
    assert [typed(text) for text in ("5", "'5'", "None", "[1]", "a")] == ["5", "5", None, [1], "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("decoder:epochs", "'epochs' in 'decoder:epochs': wanted field=value"),
        ("decoder:order=a,b", "a value with a comma stands in quotes or brackets"),
        ("decoder:epochs=1,epochs=2", "'epochs' is given twice in 'decoder:epochs=1,epochs=2'"),
        ("decoder:order='a,b", "the quote ' is not closed"),
        ("decoder:order=[1,2", "a bracket is not closed"),
        ("decoder:learning_rate=nan", "--attack decoder:learning_rate=nan: nan is no finite"),
        ("x:" + "y" * 5000, "..."),
    ],
)
def test_what_is_none_is_told(text: str, words: str) -> None:
    for read in (chosen, lambda one: chosen_attacks([one])):
        with pytest.raises(BadInput) as error:
            read(text)
        assert words in str(error.value)
        assert len(str(error.value)) < 300


def test_one_spelling_and_the_older_ones_say_the_same() -> None:
    new = ["decoder:epochs=4,width=32", "rmle:tv=none", "dci"]
    old = ["decoder.epochs=4", "decoder.width=32", "rmle.tv=none"]
    assert chosen_attacks(new)[0] == ("decoder", "rmle", "dci")
    same = {"decoder": {"epochs": 4, "width": 32}, "rmle": {"tv": None}}
    assert attack_options((), new) == attack_options(old) == same
    mixed = attack_options(old[1:], ["decoder:epochs=4"])
    assert mixed == same
    assert chosen("decoder:epochs=4,width=32") == chosen("decoder", ["epochs=4", "width=32"])
    assert with_preset("dci:steps=9") == with_preset(None, ["preset=dci", "steps=9"])
    assert grid(["tv=0.1|1,steps=5"]) == grid(["tv=0.1,1", "steps=5"]) == grid(["tv=0.1,1,steps=5"])
    assert attack_options(["a.b=1,2"]) == {"a": {"b": (1, 2)}}  # one item is one field


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: attack_options(["a.b=1"], ["a:b=2"]), "--set a.b is given twice"),
        (lambda: attack_options((), ["a:b=1", "a:b=2"]), "a has its b already"),
        (lambda: chosen("a:b=1", ["b=2"]), "--set b: --attack a:b=1 sets it too"),
        (lambda: with_preset("dci:steps=1", ["steps=2"]), "--preset dci:steps=1 sets it too"),
        (lambda: with_preset("dci", ["preset=lab"]), "--set preset"),
        (lambda: grid(["tv=1|"]), "a value is empty"),
        (lambda: grid(["tv=1|2", "tv=3"]), "once a field; tv has values already"),
    ],
)
def test_one_thing_is_said_once(call, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        call()


def test_a_defence_s_text_is_read_again_with_marks_in_it() -> None:
    stack = parse("gaussian:level=1e+2,draw='fixed'+dropout:level=0.5")
    assert stack.name == "gaussian+dropout"
    assert stack.defenses[0].level == 100.0
    assert parse(stack.spec) == parse_file(stack.spec) == stack
    assert parse_file("gaussian:level=1e+2,draw='fixed'+dropout:level=0.5") == stack


class Settings(BaseModel, extra="forbid"):
    epochs: int = 1
    rate: float = 0.1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"epoch": 1},
            "attack 'x', epoch=1: there is no such setting; nearest: epochs; its settin",
        ),
        ({"zzz": 1}, "zzz=1: there is no such setting; its settings are: epochs, rate"),
        ({"epochs": "x"}, "epochs='x': wanted a whole number; its settings are: epochs, rate"),
        ({"rate": "fast"}, "rate='fast': wanted a number"),
    ],
)
def test_a_wrong_setting_is_told_with_the_nearest(given, words) -> None:
    with pytest.raises(ValidationError) as found:
        Settings(**given)
    assert words in str(wrong_setting("attack 'x'", found.value.errors(), Settings.model_fields))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: parse("gaussian:level=nan"), "level='nan': wanted a finite number;"),
        (lambda: parse("gaussian:level=inf"), "level='inf': wanted a finite number;"),
        (lambda: recipe_fields("lab:learning_rate=nan", None), "wanted a finite number;"),
        (lambda: recipe_fields("lab:jitter=0.2", None), "jitter='0.2': wanted values in brackets"),
        (lambda: recipe_fields("lab:jitter=[0.2, 0.2]", None), "too few values in the brackets"),
    ],
)
def test_what_pydantic_says_otherwise_is_told_in_words_of_the_lab(call, words: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert words in str(error.value)
    assert "Input should" not in str(error.value)


def test_nothing_is_one_word_wherever_a_field_may_be_nothing() -> None:
    class Kind(BaseModel):
        word: str = "a"
        limit: float | None = 1.0

    for nothing in ("none", "None"):
        assert typed_fields({"limit": nothing}, Kind.model_fields) == {"limit": None}
    given = {"word": "none", "limit": "2"}
    assert typed_fields(given, Kind.model_fields) == given
