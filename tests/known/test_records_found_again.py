"""Records of every version are found by what they say: those of sweeps and of experiments."""

from pathlib import Path
from typing import Any

import pytest

from adversary.inversion import decoder
from adversary.inversion.psim import PSiM
from adversary.parts.budget import FULL_SIZE
from bench.point.identity import defaults
from bench.point.identity.config import PointConfig, identity
from bench.point.identity.known import KnownRecords, of_record
from bench.point.measure import plans, point_of
from bench.point.recipe import SweepConfig, validated
from defenses import parse
from splitlab.record import METHOD_VERSION, Record, RecordStore, point_hash
from splitlab.storage import read_json

ROOT = Path(__file__).parents[2] / "results"
RUNS = sorted(path.parent.name for path in ROOT.glob("*/records"))
OLD_SWEEP = Path(__file__).parent / "old_sweep"
OLD_EXPERIMENT = ROOT / "dci-table2"


def records(run: Path, count: int | None = None) -> list[Record]:
    store = RecordStore(run)
    return [store.read(path.stem) for path in sorted(store.folder.glob("*.json"))[:count]]


def store_of(folder: Path, *made: Record) -> RecordStore:
    store = RecordStore(folder)
    for record in made:
        store.write(record)
    return store


def read(record: Record) -> PointConfig:
    found = of_record(record)
    assert found is not None
    return found


@pytest.mark.parametrize("run", RUNS)
def test_every_committed_record_is_read_and_its_name_is_that_of_what_it_says(run: str) -> None:
    some = records(ROOT / run, 12)
    for record in some:
        config = read(record)
        named = point_hash(record.config, record.data_hash)  # before points had an identity
        assert record.hash in (named, identity(config, record.data_hash))
        said = record.config
        assert (config.attack, config.seed, config.split) == (
            said["attack"],
            said["seed"],
            said["split"],
        )
        assert config.grant.card() == record.threat
        assert config.victim == type(config.victim)(**said.get("victim", said.get("recipe")))
        again = record.model_copy(update={"config": config.as_dict()})
        assert of_record(again) == config
    assert len({identity(read(r), r.data_hash) for r in some}) == len(some)


def found_by(
    config: SweepConfig, old: list[Record], folder: Path
) -> dict[tuple[str, str], Record | None]:
    """(split point, attack) -> the record of it that a sweep takes."""
    known, found = KnownRecords(store_of(folder, *old)), dict[tuple[str, str], Record | None]()
    for record in old:
        for plan in plans(config):
            point = point_of(config, str(record.config["split"]), plan)
            found[point.split, plan.attack] = known.of(point, record.data_hash)
    return found


OLD_DECODER = {"epochs": 3, "ssim": 0.0}


def test_a_sweep_with_the_settings_of_an_earlier_version_finds_its_records(tmp_path: Path) -> None:
    """Of the decoder, which does the same with the same settings."""
    old = [record for record in records(OLD_SWEEP) if record.config["attack"] == "decoder"]
    config = validated(
        victim={"epochs": 2}, attacks=("decoder",), attack_options={"decoder": OLD_DECODER}
    )
    found = found_by(config, old, tmp_path)
    for (split, attack), record in found.items():
        assert record is not None
        assert (record.config["attack"], record.split["name"]) == (attack, split)
    assert {record.hash for record in found.values() if record} == {record.hash for record in old}


@pytest.mark.parametrize(
    "options", [{}, {"rmle": {"start": "mean"}}, {"rmle": {"start": "mean", "choose_images": 2}}]
)
def test_no_record_of_before_is_taken_for_a_measurement_with_today_s_defaults(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """Nor for one of today's `rmle`, whatever its settings: it chose them in another way."""
    old = records(OLD_SWEEP)
    attacks = {record.config["attack"] for record in old}
    assert attacks == {"decoder", "rmle"}
    found = found_by(validated(victim={"epochs": 2}, attack_options=options), old, tmp_path)
    assert {attack for _, attack in found} == attacks
    assert set(found.values()) == {None}


def test_what_an_old_record_does_not_say_was_at_the_default_of_that_time() -> None:
    by_attack = {r.config["attack"]: r for r in records(OLD_SWEEP)}
    assert by_attack["decoder"].config["attack_options"] == {}
    decoder = read(by_attack["decoder"])
    assert decoder.attack_options == {
        **{"epochs": 3, "batch_size": 32, "learning_rate": 3e-3, "optimizer": "adam"},
        **{"schedule": "one cycle", "linear_start": True, "ssim": 0.0, "width": 64, "depth": 2},
    }
    rmle = read(by_attack["rmle"])
    assert {k: rmle.attack_options[k] for k in ("start", "steps", "choose_steps", "tv")} == {
        **{"start": "mean", "steps": 300, "choose_steps": 100, "tv": None}
    }
    assert rmle.packages == {}, "today's rmle says its version"
    assert decoder.stream == ("decoder", decoder.split)
    assert read(records(OLD_EXPERIMENT, 1)[0]).stream == (
        records(OLD_EXPERIMENT, 1)[0].config["attack"],
    )


def test_what_was_cut_to_a_budget_is_not_read_as_done_in_full() -> None:
    """On large images nothing was given, and what the budget allowed was done."""
    old = {r.config["attack"]: r for r in records(ROOT / "imagenet-samples-mobilenet_v2")}
    for name, fields in (("decoder", ("epochs",)), ("rmle", ("steps", "choose_images"))):
        assert old[name].config["size"] > FULL_SIZE
        assert old[name].config["attack_options"] == {}
        assert [read(old[name]).attack_options[field] for field in fields] == [None] * len(fields)
    assert read(old["decoder"]).attack_options["ssim"] == 0.0
    assert read(old["rmle"]).attack_options["start"] == "mean"


def test_a_default_that_changed_relabels_no_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A made-up change: another default of one field, and a field that was not there before."""
    (old,) = [
        r
        for r in records(OLD_SWEEP)
        if (r.config["attack"], r.split["name"]) == ("decoder", "conv1")
    ]
    before = read(old).attack_options

    class Changed(decoder.Decoder):
        epochs: int | None = 9
        smoothed: bool = True

    monkeypatch.setattr(decoder, "Decoder", Changed)
    monkeypatch.setattr(defaults, "BEFORE", {})
    assert read(old).attack_options["epochs"] == 9, "what has to be entered in the table"
    was = {"attack decoder": {"epochs": 3, "ssim": 0.0, "smoothed": False}}
    monkeypatch.setattr(defaults, "BEFORE", {METHOD_VERSION: was})
    assert read(old).attack_options == {**before, "smoothed": False}
    known = KnownRecords(store_of(tmp_path, old))
    small = {"victim": {"epochs": 2}}
    assert known.of(_decoder(validated(**small)), old.data_hash) is None
    same = {"attack_options": {"decoder": {**OLD_DECODER, "smoothed": False}}}
    assert known.of(_decoder(validated(**small, **same)), old.data_hash) == old
    said = old.model_copy(update={"config": {**old.config, "attack_options": {"epochs": 5}}})
    assert read(said).attack_options["epochs"] == 5, "what a record says is so"


def test_a_table_of_defaults_reaches_all_that_a_record_may_leave_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    was = {
        "attack psim": {"epochs": 7, "width": 3},
        "defense gaussian": {"level": 0.5, "draw": "fixed"},
        "victim": {"epochs": 3, "momentum": 0.1},
        "synthesis": {"steps": 4},
        "point": {"repeats": 2},
    }
    monkeypatch.setattr(defaults, "BEFORE", {1: was})
    preset, fields = next(iter(PSiM.presets.items()))
    told = {name: fields.fields[name] for name in fields.fields if name in was["attack psim"]}
    config = {
        "attack": "psim",
        "attack_options": {"preset": preset},
        "defense": "gaussian:level=0.1+dropout:level=0.3",
        "victim": {"epochs": 1},
        "synthetic": {"layers": "head", "images": 2, "settings": {"tv": 1}},
    }
    found = defaults.filled(config, 1)
    left = {k: v for k, v in was["attack psim"].items() if k not in told}
    assert found["attack_options"] == {"preset": preset, **left}
    assert parse(found["defense"]) == parse("gaussian:level=0.1,draw=fixed+dropout:level=0.3")
    assert found["victim"] == {"epochs": 1, "momentum": 0.1}
    assert found["synthetic"]["settings"] == {"steps": 4, "tv": 1}
    assert found["repeats"] == 2
    assert defaults.filled(config, 2) == config, "of another version of the methods"


CHANGES: dict[str, Any] = {
    "queries": {"queries": 1999},
    "options": {"attack_options": {"decoder": {"epochs": 4, "ssim": 0.0}}},
    "recipe": {"victim": {"epochs": 3}},
    "wire": {"wire": "FP16"},
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_record_of_other_settings_other_data_or_methods_is_not_taken(
    change: str, tmp_path: Path
) -> None:
    (old,) = [
        r
        for r in records(OLD_SWEEP)
        if (r.config["attack"], r.split["name"]) == ("decoder", "conv1")
    ]
    known = KnownRecords(store_of(tmp_path, old))
    own = {"victim": {"epochs": 2}, "attack_options": {"decoder": OLD_DECODER}}
    mine = _decoder(validated(**own))
    assert known.of(mine, old.data_hash) == old
    assert known.of(mine, "e" * 64) is None
    other = _decoder(validated(**{**own, **CHANGES[change]}))
    assert known.of(other, old.data_hash) is None
    stale = old.model_copy(update={"method_version": METHOD_VERSION + 1})
    assert KnownRecords(store_of(tmp_path / "stale", stale)).of(mine, old.data_hash) is None


def _decoder(config: SweepConfig) -> PointConfig:
    (plan,) = [plan for plan in plans(config) if plan.attack == "decoder"]
    return point_of(config, "conv1", plan)


def test_a_record_is_found_by_its_labels_and_under_another_name(tmp_path: Path) -> None:
    old = records(OLD_EXPERIMENT, 1)[0]
    known, config = KnownRecords(store_of(tmp_path, old)), read(old)
    labels = (config.experiment, config.scale, config.measurement, config.seed)
    assert known.called(labels) == old
    assert known.called((*labels[:3], config.seed + 1)) is None
    renamed = config.model_copy(update={"measurement": "another", "place": "elsewhere"})
    found = known.of(renamed, old.data_hash)
    assert found is not None
    assert (found.hash, found.config["measurement"]) == (old.hash, "another")
    assert found.config["place"] == "elsewhere"


def test_a_record_that_this_version_cannot_read_is_kept_and_never_taken(tmp_path: Path) -> None:
    old = records(OLD_EXPERIMENT, 1)[0]
    strange = old.model_copy(update={"config": {**old.config, "attack": "of-tomorrow"}})
    known = KnownRecords(store_of(tmp_path, strange))
    assert of_record(strange) is None
    assert known.of(read(old), old.data_hash) is None
    said = read_json(tmp_path / "records" / f"{old.hash}.json")["config"]
    assert said["attack"] == "of-tomorrow"
