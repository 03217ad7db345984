"""Wrong input at `bench`: one line that names it and says what to do, and a non-zero exit."""

import pytest
from PIL import Image
from records import record
from typer.testing import CliRunner

from bench.cli import app
from splitlab.record import RecordStore

TINY = ["--model", "tiny_cnn", "--train-images", "64", "--queries", "32", "--victims", "8"]


def sweep(tmp_path, *words):
    return ["sweep-split-points", "--out", str(tmp_path / "run"), "--epochs", "0", *TINY, *words]


def told(words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "resnet21"], "unknown model 'resnet21'; nearest: resnet"),
        (["--dataset", "foto-patches"], "unknown dataset 'foto-patches'; nearest: photo-patches"),
        (["--attack", "decodr"], "unknown attack 'decodr'; nearest: decoder"),
        (["--defense", "gausian"], "unknown defence 'gausian'; nearest: gaussian"),
        (["--defense", "gaussian:level=-1"], "level='-1'"),
        (["--defense", "gaussian:sigma=1"], "sigma"),
        (["--splits", "blok1"], "unknown split point 'blok1'; nearest: block1"),
        (["--splits", "0"], "--splits 0"),
        (["--splits=-3"], "--splits -3: how many split points must be a whole number above 0"),
        (["--splits", "1.5"], "--splits 1.5: how many split points must be a whole number above"),
        (["--splits", "block1,block1"], "--splits block1,block1: 'block1' is given twice"),
        (["--wire", "FP64"], "--wire 'FP64'"),
        (["--set", "decoder"], "--set 'decoder'"),
        (["--set", "decoder.epoch=1"], "its settings are"),
        (["--attacked", "rmle"], "--attacked 'rmle'"),
        (["--attacked", "rmel=3"], "unknown attack 'rmel'; nearest: rmle"),
        (["--set", "decodr.epochs=5"], "'decodr'; nearest: decoder"),
        (
            ["--victims", "100000"],
            "--victims 100000: photo-patches has 234 of them; ask for at most",
        ),
        (["--queries", "100000"], "--queries 100000"),
        (["--set", "decoder.learning_rate=nan"], "nan is no finite number"),
        (["--attack", "mean-image", "--tail-start", "block9"], "unknown split point 'block9'"),
        (["--weights", "no-such-file.pth"], "--weights no-such-file.pth"),
        (["--dataset", "imagefolder:no-such-folder"], "no-such-folder"),
        (["--size", "5"], "value for '--size': 5"),
        (["--attack", "dci", "--model", "tiny_vit"], "network has no batch norm"),
        (["--attack", "di", "--model", "tiny_vit"], "network has no batch norm"),
        (["--attack", "aligned-shadow", "--splits", "pool"], "the feature is (32, 1, 1)"),
        (
            ["--attack", "aligned-shadow", "--splits", "block1,pool,flatten"],
            "error: at pool, flatten: aligned-shadow reads",
        ),
        (
            ["--attack", "aligned-shadow", "--splits", "block1,pool"],
            "with --splits block1.2 it can be done",
        ),
    ],
)
def test_sweep(tmp_path, words, message):
    assert message in told(sweep(tmp_path, *words))
    assert not (tmp_path / "run").exists(), "nothing is begun before names are checked"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet20", "--size", "0"], "value for '--size': 0"),
        (["nonesuch"], "unknown model 'nonesuch'"),
        (["resnet20", "--classes", "0"], "value for '--classes': 0"),
    ],
)
def test_splits(words, message):
    assert message in told(["splits", *words])


def test_train_at_a_place_where_two_tensors_cross(tmp_path):
    words = ["train", "--model", "resnet20", "--split", "layer1.0.conv1", "--epochs", "0"]
    message = told([*words, "--train-images", "64", "--out", str(tmp_path / "d")])
    assert "layer1.0.conv1" in message
    assert "tensors cross" in message
    assert not (tmp_path / "d").exists()


def test_grant_of_half_a_deployment(tmp_path):
    (tmp_path / "d" / "client").mkdir(parents=True)
    message = told(["grant", str(tmp_path / "d"), "--head", "--out", str(tmp_path / "g")])
    assert "deployment.json: there is no such file" in message
    assert not (tmp_path / "g").exists()


def test_report_of_a_damaged_record(tmp_path):
    RecordStore(tmp_path).write(record())
    path = next((tmp_path / "records").iterdir())
    whole = path.read_text()
    path.write_text(whole[:100])
    message = told(["report", str(tmp_path)])
    assert path.name in message.replace(" ", "")
    assert path.read_text() == whole[:100]
    assert not (tmp_path / "report.html").exists()


def test_grant_of_nothing_and_of_other_images(tmp_path):
    out = tmp_path / "d"
    words = ["train", "--model", "tiny_cnn", "--split", "block1", "--epochs", "0"]
    done = CliRunner().invoke(app, [*words, "--train-images", "64", "--out", str(out)])
    assert done.exit_code == 0, done.output
    grant = ["grant", str(out), "--out", str(tmp_path / "g")]
    assert "nothing is granted" in told(grant)
    other = tmp_path / "images"
    for part in ("train", "test"):
        for label in range(10):
            folder = other / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = bytes((37 * number + 11 * label + len(part) + i) % 256 for i in range(192))
                Image.frombytes("RGB", (8, 8), pixels).save(folder / f"{number}.png")
    message = told([*grant, "--observe", "4", "--dataset", f"imagefolder:{other}"])
    assert "has other victims than the deployment" in message
    assert not (tmp_path / "g").exists()


def test_out_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    words = ["train", "--model", "tiny_cnn", "--split", "block1", "--epochs", "0", "--out"]
    assert "give a folder that can be written" in told([*words, str(path / "d")])
    assert path.read_text() == "mine"
    assert "is a file" in told(["report", str(path)])


def test_report_of_nothing(tmp_path):
    assert "no such folder" in told(["report", str(tmp_path / "absent")])


@pytest.mark.parametrize("command", [["perf", "dci"], ["perf", "link"], ["soak", "deployment"]])
def test_what_cannot_be_written_is_told_before_anything_is_measured(tmp_path, command):
    (tmp_path / "file").touch()
    assert "is a folder; name a file" in told([*command, "--out", str(tmp_path)])
    assert "folder that can be written" in told([*command, "--out", str(tmp_path / "file/x.json")])


@pytest.mark.parametrize(
    "command", [["sweep-split-points"], ["reproduce", "dci-table2"]], ids=lambda words: words[0]
)
def test_a_cache_that_is_no_folder_is_told_also_before_a_dry_run(tmp_path, command):
    (tmp_path / "file").write_text("mine")
    words = [*command, "--dry-run", "--cache", str(tmp_path / "file")]
    assert "is a file" in told(words)
    assert "folder that can be written" in told([*words[:-1], str(tmp_path / "file" / "cache")])
    assert (tmp_path / "file").read_text() == "mine"
