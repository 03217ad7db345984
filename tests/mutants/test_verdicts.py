"""How mutants are counted, and that a reason only excuses what it was written for."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import verdicts
from verdicts import REASONS, changed_lines, counted, place_of, read_verdicts, survivors, why


def test_each_mutant_has_one_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {"a.x_f__mutmut_1": 1, "a.x_f__mutmut_2": 0, "a.x_f__mutmut_3": None}
    codes |= {"a.x_f__mutmut_4": 36, "a.x_f__mutmut_5": 33, "a.x_f__mutmut_6": 77}
    place = tmp_path / "splitlab" / "a.py.meta"
    place.parent.mkdir()
    place.write_text(json.dumps({"exit_code_by_key": codes}))
    monkeypatch.setattr(verdicts, "FOLDER", tmp_path)
    found = read_verdicts()
    assert list(found) == ["splitlab/a.py"]
    told = list(found["splitlab/a.py"].values())
    assert told == ["killed", "survived", "not tried", "timeout", "no tests", "suspicious"]
    assert [key[-1] for key in survivors(found)] == ["2", "5", "6"]
    assert counted(told) == {
        "made": 6,
        "killed": 1,
        "killed by time": 1,
        "survived": 3,
        "not tried": 1,
    }


def test_a_mutant_is_named_by_its_function() -> None:
    assert place_of("bench.point.score.x_read_join__mutmut_12") == "bench.point.score.read_join"
    assert place_of("a.b.xǁRecordǁ__init____mutmut_3") == "a.b.Record.__init__"


def test_only_the_lines_that_changed_are_shown() -> None:
    diff = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n def f():\n-    return 1\n+    return 2\n"
    assert changed_lines(diff) == "-    return 1\n+    return 2"


def test_a_reason_excuses_its_place_and_change_alone() -> None:
    reasons = [
        {"where": r"score\.f$", "change": "None", "why": "first"},
        {"where": "z", "why": "z"},
    ]
    assert why("bench.point.score.f", "+ None", reasons) == "first"
    assert why("bench.point.score.g", "+ None", reasons) == ""
    assert why("bench.point.score.f", "+ 1", reasons) == ""
    assert why("z.f", "+ 1", reasons) == "z"


def test_every_reason_says_where_or_what_and_why() -> None:
    for reason in tomllib.loads(REASONS.read_text())["reason"]:
        assert set(reason) <= {"where", "change", "why"}
        assert reason["change"] or reason["where"]
        assert len(reason["why"]) > 20
        re.compile(reason["change"])
