"""The commands with each defence, with a tail or none, on networks of each kind, pairwise.

The whole product, over real processes and on the networks themselves, is in
`test_whole_product.py`.
"""

import in_process
import pytest
import rows
import small_networks
from all_pairs import all_pairs
from checks import check
from deployments import pictures
from typer.testing import CliRunner

from bench.cli import app

FACTORS = {
    "command": rows.COMMANDS,
    "network": tuple(rows.SMALL_NETWORKS),
    "defence": tuple(name for name in rows.DEFENCES if name != rows.ALL_BODIES),
    "tail": (False, True),
    "wire": rows.WIRES,
    "attack": (None, *rows.ATTACKS),
}
ROWS = all_pairs(FACTORS, rows.possible)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        small_networks.known(patch)
        in_process.stand_in(patch)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 2 classes, whose splits have enough for all that is asked here."""
    return pictures(tmp_path_factory.mktemp("photos"), each=12)


@pytest.mark.parametrize("row", ROWS, ids=rows.name)
def test_pairwise(row, photos, tmp_path):
    check(row, photos, tmp_path, in_process.ROLES)


@pytest.mark.parametrize("defence", sorted(rows.AFTER_BODIES))
@pytest.mark.parametrize("network", rows.SMALL_NETWORKS)
@pytest.mark.parametrize("words", [rows.train_words, rows.sweep_words])
def test_a_defence_after_the_bodies_wants_a_tail(words, network, defence, photos, tmp_path):
    """Told before anything is trained."""
    row = {"network": network, "defence": defence, "tail": False, "wire": "FP32"}
    done = CliRunner().invoke(app, words({**row, "attack": "decoder"}, photos, tmp_path / "out"))
    assert done.exit_code == 2
    assert "give --tail-start" in done.output
    assert not (tmp_path / "out").exists()
