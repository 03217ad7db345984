"""Images that DCI makes for itself, with and without a loss of classes."""

import pytest
import torch
from test_attack_images import granted

from adversary.contract.workplace import Workplace
from adversary.inversion.dci.attack import DCI
from splitlab.contracts import Features
from splitlab.errors import BadInput
from splitlab.randomness import generator
from splitlab.storage import read_json

QUICK = {"images": 12, "synthesis_steps": 3, "synthesis_batch": 12, "epochs": 1, "tune_epochs": 0}


def made(threat, folder, **settings):
    """Provenance and classes of the images that a fit has made."""
    attack = DCI.configured({**QUICK, **settings})
    seen = threat.head(torch.rand(1, 3, 16, 16, generator=generator(1)))
    attack.fit(threat, generator(0), Workplace(checkpoint=folder / "fit.pt"))(
        Features(("a",), seen)
    )
    (images,) = [path for path in folder.glob("images-*") if path.is_dir()]
    classes = {path.name for path in images.iterdir() if path.is_dir()}
    return read_json(images / "provenance.json"), classes


def test_deep_inversions_images_are_drawn_to_classes_where_the_network_is_known(tmp_path):
    content, classes = made(granted(whole=True), tmp_path, synthesis="yin2020-cifar")
    assert content["settings"]["classes"] == 1.0
    assert content["source"] == "batch norm statistics and classes"
    assert content["layers"] == "head, body and tail"
    assert len(classes) > 1


def test_the_papers_presets_differ_in_the_loss_of_classes():
    paper, other = (DCI(synthesis=preset)._synthesis(224) for preset in ("dci", "yin2020"))
    assert (paper.classes, other.classes) == (0.0, 1.0)
    assert other == paper.model_copy(update={"classes": 1.0})


def test_dcis_own_images_are_drawn_to_none(tmp_path):
    content, classes = made(granted(whole=True), tmp_path)
    assert content["settings"]["classes"] == 0
    assert content["source"] == "batch norm statistics"
    assert classes == {"0000"}


@pytest.mark.parametrize("preset", ["yin2020-cifar", "yin2020"])
def test_a_loss_of_classes_without_the_network_is_refused(preset):
    attack = DCI.configured({**QUICK, "synthesis": preset})
    with pytest.raises(BadInput, match="one body and tail; grant them"):
        attack.fit(granted(), generator(0))
