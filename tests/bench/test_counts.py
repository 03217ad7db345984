"""Numbers of images: defaults follow the data and say so; what was given is kept or refused."""

import pytest
import torch
from painted import paint
from records import record
from typer.testing import CliRunner

from adversary.inversion.mean_image import MeanImage
from adversary.registry import ATTACKS
from bench.cli import app
from bench.options import given
from bench.point import data_notes, recipe
from bench.point.counts import fitted, ungiven
from bench.sweep.report import write_report
from bench.sweep.sweep import Sweep
from splitlab.contracts import Targets
from splitlab.data import Splits
from splitlab.data.partition import of_arrays
from splitlab.errors import BadInput
from splitlab.record import RecordStore


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def data(train=12, auxiliary=9, validation=3, victims=6):
    parts = []
    for number, count in enumerate((train, auxiliary, validation, victims)):
        rng = torch.Generator().manual_seed(number)
        pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=rng, dtype=torch.uint8)
        parts.append(of_arrays(pixels, torch.arange(count) % 2, ("a", "b"), "some"))
    return Splits(*parts, name="imagefolder", notes=("left out, not an image: 1 (a/x.png)",))


def test_defaults_follow_small_data_and_say_so():
    config, notes = fitted(recipe.validated(dataset="imagefolder:x"), data())
    assert (config.train_images, config.queries) == (12, 9)
    assert (config.validation_images, config.victims) == (3, 6)
    assert config.attacked == {"rmle": 6}
    assert "3 validation images are all there are (default --validation 128)" in notes
    assert len(notes) == 4


class OfClass(MeanImage):
    """Answers to targets, which no image is."""

    name = "of-class"
    sees = (Targets,)


@pytest.mark.parametrize(
    ("attacked", "most"),
    [
        ({"loss": 12}, None),
        ({"loss": 13}, 12),
        ({"mean-image": 7}, 6),
        ({"of-class": 99}, None),
        ({"loss": 9}, 8),  # four images were learned from: four members, and as many others
    ],
)
def test_how_many_may_be_attacked_is_what_the_attack_s_sight_shows(attacked, most, monkeypatch):
    line = {"of-class": f"{__name__}:OfClass"}
    monkeypatch.setattr(ATTACKS, "_entries", {**ATTACKS._entries, **line})
    train = 4 if most == 8 else 12
    asked = recipe.validated(dataset="imagefolder:x", attacked=attacked, attacks=tuple(attacked))
    if most is None:
        assert fitted(asked, data(train=train)).config.attacked == attacked
        return
    with pytest.raises(BadInput, match=f"{most} images cross the wire; ask for at most as many"):
        fitted(asked, data(train=train))


def test_large_data_leave_the_config_as_it_is():
    config = recipe.validated(train_images=5, queries=5, validation_images=2, victims=6)
    same, notes = fitted(config, data())
    assert notes == ()
    assert same.model_copy(update={"attacked": config.attacked}) == config
    assert same.attacked == {"rmle": 6}
    default = recipe.validated()
    assert fitted(default, data(4_000, 2_000, 128, 128)) == (default, ())


@pytest.mark.parametrize(
    ("field", "flag", "there"),
    [
        ("train_images", "--train-images", 12),
        ("queries", "--queries", 9),
        ("validation_images", "--validation", 3),
        ("victims", "--victims", 6),
    ],
)
def test_what_was_given_is_refused_and_never_adapted(field, flag, there):
    wanted = rf"{flag} {there + 1}: imagefolder has {there} of them; ask for at most {there}"
    with pytest.raises(BadInput, match=wanted):
        fitted(recipe.validated(dataset="imagefolder:x", **{field: there + 1}), data())
    kept = fitted(recipe.validated(dataset="imagefolder:x", **{field: there}), data()).config
    assert getattr(kept, field) == there


def test_a_number_that_a_command_has_no_use_for_is_no_reason_to_stop():
    config = recipe.validated(victims=99)
    assert fitted(config, data(), frozenset({"victims", "queries"})).config.train_images == 12


def test_a_run_continues_with_numbers_that_followed_the_data(tmp_path):
    asked = recipe.validated(dataset="imagefolder:x")
    kept = fitted(asked, data()).config
    recipe.save(kept, tmp_path / "config.toml")
    again = recipe.load(tmp_path / "config.toml")
    recipe.require_same(again, asked, tmp_path, ungiven(asked))
    recipe.require_same(again, fitted(asked, data()).config, tmp_path)
    explicit = recipe.validated(dataset="imagefolder:x", victims=5)
    with pytest.raises(BadInput, match="victims = 6, given was 5"):
        recipe.require_same(again, explicit, tmp_path, ungiven(explicit))


def test_a_wrong_number_of_validation_images_names_its_flag():
    with pytest.raises(BadInput, match="--validation 0"):
        recipe.validated(validation_images=0)
    assert given(queries=None, victims=3) == {"victims": 3}


def test_what_is_known_of_the_data_is_kept_and_shown(tmp_path, capsys):
    data_notes.keep(tmp_path, data(), ["3 validation images are all there are"])
    kept = data_notes.kept(tmp_path)
    assert kept["images"] == {"train": 12, "auxiliary": 9, "validation": 3, "victims": 6}
    assert kept["notes"][0] == "left out, not an image: 1 (a/x.png)"
    data_notes.show(kept["notes"])
    told = capsys.readouterr()
    assert told.out == ""
    assert "data: left out, not an image: 1 (a/x.png)" in told.err
    assert data_notes.kept(tmp_path / "older") is None


def small_folder(folder, count=30):
    for row in range(count):
        place = folder / "ab"[row % 2] / f"{row}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        paint(place)
    (folder / "a" / "broken.png").write_text("no picture")
    return f"imagefolder:{folder}"


def test_a_sweep_of_a_small_folder_states_true_numbers(tmp_path):
    dataset = small_folder(tmp_path / "set")
    given_fields = {"dataset": dataset, "size": 8, "model": "tiny_cnn", "splits": "1"}
    for _ in range(2):  # the second continues the first
        sweep = Sweep(tmp_path / "run", recipe.validated(**given_fields))
        sweep.close()
    there = {name: len(part) for name, part in sweep.splits.partitions.items()}
    kept = recipe.load(tmp_path / "run" / "config.toml")
    assert kept == sweep.config
    assert kept.victims == there["victims"] < 128
    assert kept.validation_images == there["validation"] < 128
    assert {plan.grant.validation for plan in sweep.plans} == {there["validation"]}
    assert {plan.grant.auxiliary for plan in sweep.plans} == {there["auxiliary"]}
    notes = data_notes.kept(tmp_path / "run")["notes"]
    assert tuple(notes) == sweep.notes
    assert any("a/broken.png" in note for note in notes)


def test_validation_images_that_are_not_there_are_refused_before_anything_is_trained(tmp_path):
    dataset = small_folder(tmp_path / "set")
    words = ["sweep-split-points", "--dataset", dataset, "--size", "8", "--model", "tiny_cnn"]
    out = tmp_path / "run"
    done = CliRunner().invoke(app, [*words, "--validation", "128", "--out", str(out)])
    assert done.exit_code == 2
    assert "--validation 128: imagefolder has" in done.output
    assert not (out / "judge").exists()
    assert not (out / "victim").exists()


def test_the_page_shows_what_was_left_out(tmp_path):
    RecordStore(tmp_path).write(record())
    data_notes.keep(tmp_path, data())
    page = write_report(tmp_path).read_text()
    assert "Left out, not an image: 1 (a/x.png)" in page
    for words in ("12 train", "9 auxiliary", "3 validation", "6 victims"):
        assert words in page
