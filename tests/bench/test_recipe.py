"""The config is checked at the edge, survives its file, and names what differs."""

from dataclasses import replace
from typing import ClassVar

import pytest

from adversary.inversion.mean_image import MeanImage
from adversary.registry import ATTACKS
from bench.point import recipe
from bench.point.grants import GrantRequest
from bench.point.measure import Plan, plans, point_of
from splitlab.contracts import Kind
from splitlab.contracts.kinds import IMAGE
from splitlab.errors import BadInput, Corrupt
from splitlab.record import point_hash


def point(config, attack):
    plan = Plan(attack, "undefended", GrantRequest(head=True))
    return point_of(config, "conv1", plan).as_dict()


def test_a_config_survives_its_file(tmp_path):
    config = recipe.validated(
        dataset='imagefolder:/a "quoted" folder',
        attack_options={"decoder": {"epochs": 5, "flip": True, "widths": [1, 2]}},
        tail_start="layer3",
    )
    recipe.save(config, tmp_path / "config.toml")
    assert recipe.load(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"size": 4}, "--size 4"),
        ({"wire": "FP64"}, "--wire 'FP64'"),
        ({"victim": {"epochs": -1}}, "--epochs -1"),
        ({"device": "tpu"}, "--device 'tpu'"),
    ],
)
def test_bad_values_name_their_flag(fields, flag):
    with pytest.raises(BadInput, match=flag):
        recipe.validated(**fields)


def test_a_point_depends_on_its_own_attack_alone_and_holds_no_path():
    one = recipe.validated(attack_options={"decoder": {"epochs": 5}}, dataset="imagefolder:/secret")
    two = recipe.validated(splits="all", attacks=("rmle",), dataset="imagefolder:/elsewhere")
    assert point(one, "rmle") == point(two, "rmle")
    mine = point(one, "decoder")
    assert mine != point(two, "decoder")
    assert "secret" not in str(mine)
    assert point_hash(mine, "a") != point_hash(mine, "b")


def test_another_config_in_one_folder_is_refused_by_field(tmp_path):
    old = recipe.validated(seed=1)
    recipe.require_same(old, recipe.validated(seed=1, splits="all"), tmp_path)
    with pytest.raises(BadInput, match="seed = 1, given was 2"):
        recipe.require_same(old, recipe.validated(seed=2), tmp_path)


def test_a_damaged_config_is_named(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("seed = ")
    with pytest.raises(Corrupt, match=r"config\.toml"):
        recipe.load(path)
    path.write_text("sed = 3")
    with pytest.raises(Corrupt, match="--sed"):
        recipe.load(path)


def test_links_are_part_of_a_point_where_there_are_any():
    plain = recipe.validated()
    assert "links" not in point(plain, "rmle")
    linked = recipe.validated(links=("lte", "rtt=1ms,up=1mbps,down=1mbps"))
    assert point(linked, "rmle")["links"] == list(linked.links)
    with pytest.raises(BadInput, match="--link 'dsl'"):
        recipe.validated(links=("dsl",))


class KnowsTheHeight(MeanImage):
    name: ClassVar[str] = "knows-the-height"
    estimates: ClassVar[Kind] = replace(IMAGE, name="height", needs=("height",))


def test_a_sweep_refuses_what_it_knows_no_truth_of(monkeypatch):
    """Nothing is trained before that is told."""
    monkeypatch.setattr(type(ATTACKS), "load", lambda _self, _name: KnowsTheHeight)
    with pytest.raises(BadInput, match=r"estimates height; OverTheWire does not know height"):
        plans(recipe.validated(attacks=("knows-the-height",)))
