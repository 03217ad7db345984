"""A start with settings of its own; and that `rmle` is another method where its starts are."""

import json
from dataclasses import replace

import pytest
from worlds import AUX, VICTIMS, capture, outcome, threat, tiny_head

from adversary.contract.workplace import Fits, Workplace
from adversary.inversion.decoder import Decoder
from adversary.inversion.rmle.attack import RMLE
from adversary.inversion.rmle.choice import ChosenSettings
from adversary.inversion.rmle.start import STARTS, start_attack, start_written, starting
from splitlab.contracts import Features
from splitlab.errors import BadInput
from splitlab.named import named_fields, written
from splitlab.storage import sha256

HEAD = tiny_head("block2")
FEATURES = capture(HEAD)
SEEN = Features(tuple("abcdefgh"), FEATURES)
SMALL = "decoder:depth=0,epochs=1,width=8"
KNOWN = {2: "0b9ccb12a630"}
"""Version of `rmle` -> digest of the defaults and versions of its starts."""


def test_settings_of_a_start_reach_the_attack_that_makes_it(monkeypatch):
    monkeypatch.setitem(STARTS, "decoder", Decoder)
    wanted = Decoder(depth=0, epochs=1, width=8)
    assert start_attack(SMALL) == wanted
    assert RMLE(start=SMALL).starts_from == (wanted,)
    fits = Fits()
    work = Workplace(fits=fits, grant=threat(HEAD, known="unaware"))
    starting(SMALL, work.grant, work)
    own = work.fitted(wanted)
    assert len(fits.kept) == 1  # a row with the same settings is lent the fit
    assert own(SEEN).values.shape == VICTIMS.shape
    work.fitted(Decoder(depth=0, epochs=1, width=4))
    assert len(fits.kept) == 2


def test_a_record_says_which_settings_it_began_with(monkeypatch):
    monkeypatch.setitem(STARTS, "decoder", Decoder)
    brief = {"steps": 2, "choose_images": 0}
    done = outcome(RMLE(start=SMALL, **brief), threat(HEAD, known="unaware"), FEATURES)
    extra = done.estimate.extra
    assert (extra["start"], extra["start_version"]) == (SMALL, Decoder.version)
    mean = outcome(RMLE(start="mean", **brief), threat(HEAD, known="unaware"), FEATURES)
    assert "start_version" not in mean.estimate.extra


def test_a_start_is_written_in_one_way():
    assert start_written(" dci: epochs=8 , data=own") == "dci:data=own,epochs=8"
    assert start_written("dci:data=own,epochs=8") == "dci:data=own,epochs=8"
    assert [start_written(name) for name in (*STARTS, "mean")] == [*STARTS, "mean"]
    typed = named_fields(written("rmle", {"start": "dci:data=own,epochs=8", "steps": 5}))
    assert RMLE.configured({"start": "dci:data=own,epochs=8"}).start == "dci:data=own,epochs=8"
    assert typed[1]["start"] == repr("dci:data=own,epochs=8")  # a value with commas is quoted


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("gmi", "wanted one of decoder, psim, dci, mean"),
        ("mean:steps=4", "the mean colour has no settings"),
        ("dci:epoch=8", "attack 'dci', epoch='8': there is no such setting; nearest: epochs"),
        ("dci:epochs=many", "attack 'dci', epochs='many': wanted a whole number"),
        ("decoder:width", "wanted field=value"),
    ],
)
def test_a_start_that_cannot_be_is_refused(start, words):
    with pytest.raises(BadInput) as refused:
        RMLE.configured({"start": start})
    assert words in str(refused.value)


def test_images_that_lie_class_by_class_choose_and_confirm_mixed(monkeypatch):
    """Of eight validation images four choose: some of the first four and some of the last four."""
    seen = []

    def watched(bench, options, _steps, other):
        seen.append((bench.truth, other.truth))
        return ChosenSettings(replace(options[0], steps=1), {})

    monkeypatch.setattr("adversary.inversion.rmle.attack.choose", watched)
    attack = RMLE(steps=1, choose_steps=1, choose_images=4)
    outcome(attack, threat(HEAD, known="unaware"), FEATURES, seed=1)
    [(first, second)] = seen
    own = AUX.validation.floats()
    rows = [[int((own - image).abs().flatten(1).sum(1).argmin()) for image in p] for p in seen[0]]
    assert sorted(rows[0] + rows[1]) == list(range(8))
    for part in rows:
        assert min(part) < 4 <= max(part)
    assert len(first) == len(second) == 4


def test_who_changes_a_start_makes_another_rmle():
    """Its points are known by its version: it must rise where a default of its starts changes."""
    kinds = [
        [name, kind.version, kind().model_dump(mode="json")]
        for name, kind in (("decoder", Decoder), *((n, STARTS[n]) for n in ("psim", "dci")))
    ]
    digest = sha256(json.dumps(kinds, sort_keys=True).encode())[:12]
    assert {RMLE.version: digest} == KNOWN, "raise RMLE.version, and enter it here"
