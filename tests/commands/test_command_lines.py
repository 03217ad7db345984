"""Words that people give to commands: refused at the start, by the flag's name, with a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adversary.cli import app as adversary
from adversary.contract.fitted import shelf
from bench.cli import app as bench
from bench.options import attack_options, whole_number
from bench.perf.cli import numbers
from bench.point.recipe import SweepConfig, validated
from bench.sweep.sweep import Sweep
from cloud_server.cli import app as cloud
from edge_client.cli import app as edge
from splitlab.errors import BadInput
from splitlab.named import value_of
from splitlab.storage import sole
from splitlab.training import choose_device
from splitlab.wire.channels import split_address

TINY = ("--model", "tiny_cnn", "--train-images", "64", "--queries", "32", "--victims", "4")


def told(app: typer.Typer, *words: Any) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--epochs", "-1"), "value for '--epochs': -1"),
        (("--size", "7"), "wanted at least 8"),
        (("--repeats", "65"), "wanted at most 64"),
        (("--repeats", "1.5"), "1.5: wanted a whole number"),
        (("--lpips-weights", "nowhere"), "value for '--lpips-weights'"),
        (("--cache", __file__), "value for '--cache'"),
        (("--seed", "-1"), "value for '--seed': -1"),
        (("--secret-seed", "-1"), "value for '--secret-seed'"),
        (("--splits", ",,"), "--splits ',,' names none"),
        (("--splits", "²"), "--splits ²"),
        (("--splits", "9" * 5000), "--splits 999"),
        (("--attacked", "decoder=9999"), "--attacked 'decoder=9999': 4 images cross the wire"),
        (("--attack", "loss", "--attacked", "loss=9"), "'loss=9': 8 images cross the wire"),
        (("--attacked", "rmle=²"), "--attacked 'rmle=²'"),
        (("--attacked", "psim=2"), "unknown attack of this sweep 'psim'"),
        (("--attacked", "rmle=2", "--attacked", "rmle=3"), "--attacked rmle is given twice"),
        (("--set", "rmle.tv=1", "--set", "rmle.tv=2"), "--set rmle.tv is given twice"),
        (("--set", "rmle.tv=" + "(" * 9999), "tv"),
        (("--set", "rmle.tv=inf"), "tv"),
        (("--dataset", "imagefolder:\udcff"), "no UTF-8"),
        (("--tail-start", ""), "--tail-start is given an empty value"),
        (("--tail-start=",), "--tail-start is given an empty value"),
    ],
)
def test_a_sweep_is_refused_before_it_begins(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "run"
    assert message in told(bench, "sweep-split-points", "--out", out, *TINY, *words)
    assert not out.exists()


@pytest.mark.parametrize("flag", ["--observe", "--aux", "--validation"])
def test_a_grant_of_less_than_nothing(tmp_path: Path, flag: str) -> None:
    words = ("grant", tmp_path, "--out", tmp_path / "g", flag, "-5")
    assert f"value for '{flag}': -5" in told(bench, *words)


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (edge, ("half", "--server", "localhost:1", "--deadline", "nan", "infer", "x.png")),
        (edge, ("half", "--server", "localhost:1", "--deadline", "inf", "infer", "x.png")),
        (cloud, ("half", "--grace", "inf")),
        (cloud, ("half", "--patience", "nan")),
        (bench, ("soak", "deployment", "--seconds", "nan")),
        (bench, ("perf", "serve", "--seconds", "inf")),
    ],
)
def test_numbers_without_an_end(app: typer.Typer, words: tuple[str, ...]) -> None:
    shown = told(app, *words)
    assert "give a finite number" in shown or "Invalid value for" in shown


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://localhost:50051", "http:// is not taken; give HOST:PORT alone"),
        ("GRPC://localhost:50051", "GRPC:// is not taken"),
        ("dns:localhost:50051", "dns: is not taken"),
        ("dns:///localhost:50051", "dns:// is not taken"),
        ("unix:/run/lab.sock", "unix: is not taken"),
        ("ipv4:127.0.0.1:50051", "ipv4: is not taken"),
        ("localhost:50051/path", "not HOST:PORT"),
        ("localhost:" + "9" * 5000, "not HOST:PORT"),
        ("a:1,b:2", "more than one HOST:PORT"),
        ("me@host:1", "neither a name nor an address"),
        ("two words:1", "neither a name nor an address"),
        ("some:words:1", "neither a name nor an address"),
        ("[words]:1", "neither a name nor an address"),
        ("::1:50051", r"in brackets, \[::1\]:50051"),
    ],
)
def test_addresses_that_are_none(address: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        split_address(address, "--server")
    if "brackets" not in words:
        with pytest.raises(BadInput) as error:
            split_address(address, "--listen")
        assert "brackets" not in str(error.value)


@pytest.mark.parametrize(
    "address", ["localhost:1", "[::1]:1", "[fe80::1%eth0]:1", "dns:50051", "http:80", "ünix:5"]
)
def test_addresses_that_are_some(address: str) -> None:
    assert split_address(address, "--server")[1] in (1, 5, 80, 50051)


def test_numbers_of_a_text() -> None:
    assert [whole_number(text) for text in ("12", "²", "-1", "", "9" * 10)] == [
        *(12, None, None, None, None)
    ]
    assert numbers("1,4", "--bodies") == (1, 4)
    for text in ("1,1", "²", "0", "1,,2", "9" * 5000):
        with pytest.raises(BadInput, match="each once"):
            numbers(text, "--bodies")
    assert value_of("-" * 10**5 + "1") == "-" * 10**5 + "1"
    with pytest.raises(BadInput, match="given twice"):
        attack_options(["decoder.epochs=1", "decoder.epochs=2"])
    with pytest.raises(BadInput, match=r"^--epochs -1"):
        validated(victim={"epochs": -1})


def test_an_empty_folder_s_name_is_not_where_one_stands(tmp_path: Path) -> None:
    words = ("attack", tmp_path, "--knows", tmp_path, "--out", "")
    assert "--out is given an empty value" in told(adversary, *words)


def test_repeats_has_one_name_and_the_old_one_works(tmp_path: Path) -> None:
    words = (tmp_path / "none", "--server", "localhost:1", "evaluate", "--dataset", "cifar10")
    for flag in ("--repeat", "--repeats"):
        assert "value for '--repeats'" in told(edge, *words, flag, "0")
        assert "value for '--repeats'" in told(edge, *words, f"{flag}=0")
        sweep = told(bench, "sweep-split-points", "--out", tmp_path / "r", *TINY, flag, "0")
        assert "value for '--repeats': 0" in sweep
    shown = CliRunner().invoke(edge, ["evaluate", "--help"]).output
    assert "--repeats" in shown
    assert "--repeat " not in shown


HOLD = """
import sys
from pathlib import Path
from splitlab.storage import sole
held = sole(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


def test_two_sweeps_into_one_folder(tmp_path: Path) -> None:
    config = SweepConfig(
        model="tiny_cnn", splits="1", attacks=("mean-image",), train_images=64, queries=32
    )
    run = tmp_path / "run"
    words = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BadInput, match="another process is writing there"):
            Sweep(run, config)
        assert not (run / "config.toml").exists()
        other.kill()
    begun = Sweep(run, config)
    with pytest.raises(BadInput, match="another process is writing there"):
        sole(run)
    begun.close()
    sole(run).release()


def test_what_a_shelf_keeps_is_seen(tmp_path: Path) -> None:
    assert shelf(None) == shelf(tmp_path / "none") == {}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "fit-1.pt").write_bytes(b"123")
    (tmp_path / "a" / "fit-1.pt.lock").touch()
    assert [(str(path), size) for path, (size, _) in shelf(tmp_path).items()] == [("a/fit-1.pt", 3)]


EARLY = """
import sys
from typer.testing import CliRunner
from bench.cli import app
for words in (
    "--device=mps", "--size=0", "--size=5", "--queries=0", "--victims=0", "--validation=0",
    "--train-images=0", "--repeats=0", "--repeats=65", "--keep-images=-1", "--set=decoder",
    "--set=decoder.epochs=nan", "--set=rmle.tv=1e999",
):
    done = CliRunner().invoke(app, ["sweep-split-points", words])
    flag, _, value = words.partition("=")
    assert done.exit_code == 2, (words, done.output)
    assert flag in done.output, done.output
    assert value.rpartition("=")[2] in done.output, done.output
assert CliRunner().invoke(app, ["train", "--out=x", "--split=y", "--device=tpu"]).exit_code == 2
assert not {"torch", "PIL", "numpy"} & set(sys.modules), "nothing is loaded for that"
"""


def test_plain_ranges_are_looked_at_before_anything_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_device_that_torch_knows_and_the_lab_does_not() -> None:
    with pytest.raises(BadInput, match="--device mps: wanted auto, cpu or cuda"):
        choose_device("mps")
