"""Figures in the pages equal the committed records; the words around them say of what they are."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from handbook import ROOT, table_under
from PIL import Image

from bench.sweep.recommend import recommend
from splitlab.record import Record, RecordStore

RESULTS = ROOT / "results"
DEFAULT = "photo-patches-resnet20"


@cache
def records(run: str) -> dict[tuple[str, str, str], Record]:
    """(split point, attack, wire) -> record."""
    found = RecordStore(RESULTS / run).all()
    return {(r.split["name"].split("-")[0], r.config["attack"], r.config["wire"]): r for r in found}


@cache
def perf(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / "perf" / f"{name}.json").read_text())


def mean(found: dict[str, Any], metric: str) -> float:
    value = found[metric].mean
    assert value is not None
    return value


def quality(record: Record) -> str:
    return f"{mean(record.leakage, 'psnr'):.1f} dB / {mean(record.leakage, 'ssim'):.2f}"


def test_the_readme_table_is_the_records_of_the_default_sweep() -> None:
    *rows, floor = table_under((ROOT / "README.md").read_text(), "## Measured")
    by_index = {r.split["index"]: r.split["name"] for r in records(DEFAULT).values()}
    wanted = []
    for _, split in sorted(by_index.items()):
        decoder, rmle = (records(DEFAULT)[split, name, "FP32"] for name in ("decoder", "rmle"))
        macs = decoder.split["head_macs"] + decoder.split["rest_macs"]
        wanted.append(
            [
                split,
                quality(decoder),
                quality(rmle),
                f"{decoder.utility['accuracy']:.1f} %",
                f"{decoder.rate['payload_up'] / 1024:.1f}",
                f"{100 * decoder.split['head_macs'] / macs:.0f} %",
            ]
        )
    assert rows == wanted
    for column, attack in enumerate(("decoder", "rmle"), 1):
        floors = {
            f"{mean(r.floor, 'psnr'):.1f} dB"
            for (_, name, _), r in records(DEFAULT).items()
            if name == attack
        }
        assert floors == {floor[column]}


def test_the_picture_is_made_of_the_records() -> None:
    spec = importlib.util.spec_from_file_location("made", ROOT / "scripts" / "readme_picture.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with Image.open(script.OUT) as kept:
        assert np.array_equal(np.asarray(kept.convert("RGB")), script.picture())


@pytest.mark.parametrize(
    ("heading", "column", "engine"),
    [("## A split network", 1, "torch"), ("## A split network", 3, "auto")],
)
def test_times_of_a_split_network(heading: str, column: int, engine: str) -> None:
    for row in table_under((ROOT / "docs/speed.md").read_text(), heading):
        found = perf("split-cpu")[
            f"resnet18_cifar behind its stem, batch {row[0]}, engine {engine}"
        ]
        digits = 1 if int(row[0]) == 1 else 0
        for at, one in ((column, "split"), (column + 1, "whole")):
            assert row[at] == f"{found[one]['p50_ms']:.{digits}f} ms"


def test_times_of_an_echo() -> None:
    for size, *times in table_under(
        (ROOT / "docs/speed.md").read_text(), "## A feature on the wire"
    ):
        number, unit = size.split()
        found = perf("transport-cpu")[f"echo of {int(number) * {'KiB': 1, 'MiB': 1024}[unit]} KiB"]
        names = ("ours", "tls", "naive", "triton", "socket")
        wanted = [f"{t:.{2 if t < 0.1 else 1}f} ms" for t in (found["ms"][name] for name in names)]
        assert times == wanted


def test_times_over_a_slow_link() -> None:
    run = records("photo-patches-links")
    for split, *times in table_under((ROOT / "docs/cut.md").read_text(), "## Over a slow link"):
        latency = run[split, "decoder", "FP32"].latency
        assert times == [f"{latency[f'link {link}']['p50']:.0f} ms" for link in ("lte", "5g")]


def sentences() -> list[tuple[str, str]]:
    """(page, words that it holds, with their figures out of the records)."""
    default, links, wires = (
        records(name) for name in (DEFAULT, "photo-patches-links", "photo-patches-wires")
    )
    ten = {
        name: perf("engine-cpu")[f"N = 10, batch 1, {name}"]
        for name in ("torch", "openvino", "openvino bfloat16")
    }
    soak = perf("soak-cpu")
    hostile = {name: row for name, row in perf("hostile-cpu").items() if name != "environment"}
    calm = hostile.pop("no attack")["request"]["p99_ms"]
    grown = max(r["resident_mib"]["after"] - r["resident_mib"]["before"] for r in hostile.values())
    plain, narrow = (wires["layer2.1", "decoder", wire] for wire in ("FP32", "INT8"))
    saved = 100 * (1 - narrow.rate["payload_up"] / plain.rate["payload_up"])
    told = recommend(list(default.values()))
    best = records(DEFAULT)[told.split or "", "rmle", "FP32"]
    left = mean(best.leakage, "psnr") - mean(best.floor, "psnr")
    decoders = {split: r for (split, attack, _), r in default.items() if attack == "decoder"}
    return [
        (
            "README.md",
            f"behind `layer2.1` ({mean(decoders['layer2.1'].leakage, 'psnr'):.1f} dB) "
            f"and behind `avgpool` ({mean(decoders['avgpool'].leakage, 'psnr'):.1f} dB)",
        ),
        (
            "README.md",
            f"recommends `{told.split}` and warns that it still leaks {left:.1f} dB above",
        ),
        (
            "README.md",
            f"learns from {best.config['queries']:,} queries and is scored on "
            f"{decoders['conv1'].leakage['psnr'].items} victims",
        ),
        ("README.md", f"is scored on {best.leakage['psnr'].items}."),
        (
            "docs/cut.md",
            f"ResNet-20 cut behind `layer2.1`, INT8 saves {saved:.0f} % of the bytes up and costs "
            f"no accuracy. It hides nothing: the decoder reads "
            f"{mean(narrow.leakage, 'psnr'):.2f} dB in place of {mean(plain.leakage, 'psnr'):.2f}",
        ),
        (
            "docs/cut.md",
            f"right on {decoders['conv1'].utility['accuracy']:.1f} % of the victims",
        ),
        (
            "docs/cut.md",
            f"made one of {links['conv1', 'decoder', 'FP32'].utility['accuracy']:.1f} %",
        ),
        (
            "docs/speed.md",
            f"takes {ten['torch']['loop']['p50_ms']:.0f} ms in a plain loop, "
            f"{ten['torch']['request']['p50_ms']:.0f} ms with PyTorch, "
            f"{ten['openvino']['request']['p50_ms']:.0f} ms with OpenVINO and "
            f"{ten['openvino bfloat16']['request']['p50_ms']:.0f} ms with its BF16",
        ),
        (
            "docs/speed.md",
            "Batching requests of 16 clients raises throughput "
            f"{perf('serve-cpu')['16 clients']['ratio']:.1f} times",
        ),
        (
            "docs/operate.md",
            f"{soak['answered']:,} of {soak['sent']:,} requests were answered, none wrongly. "
            f"{sum(soak['failed'].values())} were told as failed",
        ),
        (
            "docs/operate.md",
            f"Its p99 was {max(r['request']['p99_ms'] for r in hostile.values()):.0f} ms at worst, "
            f"in place of {calm:.1f}. The server grew by {grown:.0f} MiB at most",
        ),
    ]


def test_sentences_have_the_figures_of_their_records() -> None:
    told = [
        (page, words, " ".join((ROOT / page).read_text().split())) for page, words in sentences()
    ]
    assert [(page, words) for page, words, text in told if words not in text] == []


def test_what_the_sentences_say_without_a_figure() -> None:
    """Not wrongly, rightly all the time, no accuracy lost, one machine of two cores."""
    assert perf("soak-cpu")["wrong"] == 0
    hostile = {name: row for name, row in perf("hostile-cpu").items() if name != "environment"}
    assert all(row["wrong"] == 0 and not row["failed"] for row in hostile.values())
    wires = records("photo-patches-wires")
    assert len({wires["layer2.1", "decoder", w].utility["accuracy"] for w in ("FP32", "INT8")}) == 1
    for name in ("split", "engine", "serve", "transport", "soak", "hostile"):
        environment = perf(f"{name}-cpu")["environment"]
        assert environment["cores"] == 2
        assert environment["cpu"].startswith("Intel(R) Xeon")
    rmle = {s: r for (s, attack, _), r in records(DEFAULT).items() if attack == "rmle"}
    failed = {s for s, r in rmle.items() if mean(r.leakage, "psnr") <= mean(r.floor, "psnr")}
    assert failed == set(), "both attacks read every cut"
    decoders = [r for (_, attack, _), r in records(DEFAULT).items() if attack == "decoder"]
    assert min(mean(r.leakage, "psnr") - mean(r.floor, "psnr") for r in decoders) > 3
    assert (
        max(decoders, key=lambda r: r.split["index"]).split["rest_macs"]
        / sum(r for k, r in decoders[0].split.items() if k.endswith("_macs"))
        < 0.01
    )


def test_the_words_read_are_those_of_the_summary_kept_from_before_there_was_one_frame() -> None:
    rows = json.loads((RESULTS / "ensembler-text" / "summary.json").read_text())["rows"]
    read = {(r["defense"], r["attack"]): f"{r['recovery']:.1f} %" for r in rows}
    names = (
        *("floor", "shadow, on shadow features", "shadow, on client features"),
        *("cipher, source and target", "ceiling: decoder with queries"),
    )
    table = table_under((RESULTS / "README.md").read_text(), "## ensembler-text")
    defenses = ("none", "gaussian:level=0.3")
    assert [row[1:] for row in table] == [[read[d, name] for d in defenses] for name in names]
