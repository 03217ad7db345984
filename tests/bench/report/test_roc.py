"""The picture of a membership attack."""

import pytest
import torch

from bench.report.roc import roc_svg
from splitlab.contracts.kinds import MEMBERSHIP
from splitlab.errors import Unavailable


def test_a_roc_curve_names_its_area_and_is_written_beside_the_records(tmp_path):
    member = torch.tensor([True, True, False, False, False])
    scores = torch.tensor([0.9, 0.5, 0.7, 0.5, 0.1])
    text = roc_svg(member, scores)
    assert text.startswith("<svg")
    assert "AUC 0.750" in text
    name = MEMBERSHIP.picture(tmp_path, "abc", member, scores)
    assert name == "abc.svg"
    assert (tmp_path / name).read_text() == text
    with pytest.raises(Unavailable):
        roc_svg(torch.ones(2, dtype=torch.bool), scores[:2])
