"""Records made by hand, for tests of what is derived from them."""

from splitlab.record import METHOD_VERSION, Leakage, Record, point_hash

NAMES = ("conv1", "layer1", "layer2", "fc")


def interval(mean, unit="dB", leakage="rises", why=""):
    spread = {} if mean is None else {"low": mean - 1, "high": mean + 1}
    return Leakage(unit=unit, leakage=leakage, mean=mean, items=8, groups=6, why=why, **spread)


def record(
    split="conv1",
    *,
    psnr=30.0,
    floor=13.0,
    accuracy=80.0,
    attack="decoder",
    knowledge="undefended",
    box="black",
    defense="none",
    doubts=(),
    **environment,
):
    index = NAMES.index(split)
    config = {
        "model": "resnet20",
        "dataset": "photo-patches",
        "defense": defense,
        "split": split,
        "attack": attack,
        "knowledge": knowledge,
        "seed": 0,
        "victims": 128,
    }
    return Record(
        hash=point_hash(config, "d" * 64),
        method_version=METHOD_VERSION,
        config=config,
        data_hash="d" * 64,
        created="2026-01-01T00:00:00+00:00",
        split={
            "name": split,
            "index": index,
            "shape": [16, 32, 32],
            "bytes_per_image": 65536 >> index,
            "head_params": 10,
            "rest_params": 10,
            "head_macs": 10 + 30 * index,
            "rest_macs": 90 - 30 * index,
        },
        threat={"box": box, "observe": 2000 if attack == "decoder" else None},
        utility={"accuracy": accuracy, "accuracy_whole": 80.0, "agreement": 100.0},
        rate={"payload_up": float(65536 >> index), "framed_up": 66000.0},
        latency={"head": {"p50": 1.0, "p95": 2.0}, "total": {"p50": 3.0, "p95": 4.0}},
        leakage={
            "psnr": interval(psnr),
            "ssim": interval(0.5, "1"),
            "lpips_alex": interval(None, "1", "falls", why="no weights here"),
        },
        floor={"psnr": interval(floor), "ssim": interval(0.1, "1")},
        effort={"seconds": 1.0},
        doubts=doubts,
        environment={"commit": "c" * 40, "cpu": "a processor", "versions": {}, **environment},
    )


def over(links, **more):
    """Its latency over simulated links too: name -> p50 in ms."""
    made = record(**more)
    times = {f"link {name}": {"p50": ms, "p95": ms, "count": 8} for name, ms in links.items()}
    return made.model_copy(update={"latency": {**made.latency, **times}})
