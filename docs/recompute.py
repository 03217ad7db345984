#!/usr/bin/env python3
"""Recompute a run's MSE, PSNR and SSIM from its folder alone, without the lab's code.

    python docs/recompute.py RUN

RUN is a folder of `bench sweep-split-points` or `bench reproduce`. Only numpy, safetensors and
scikit-image are used. For each record it takes the float32 images from `images/RECORD.safetensors`
and says whether

1. each victim's MSE, PSNR and SSIM, of the reconstruction and of the floor (the mean auxiliary
   image), are what scikit-image computes from its images;
2. the mean over all victims is the figure that the record, and so the page, shows.

Where a run keeps fewer images than it scored (`--keep-images`), 1 is for those that are kept, and
the line says of how many; 2 is always over all, from the list of per-victim numbers.

Tolerances: MSE 1e-5 of its value (1e-12 at least), PSNR 1e-4 dB, SSIM 1e-5. A PSNR is at most
100 dB, which an MSE of 1e-10 reaches. SSIM is of scikit-image's Gaussian window of 11 pixels
(sigma 1.5, population covariance, per channel); smaller images have another window and are left
out. All means are of per-image values.

Exit status: 0 where every figure is met, 1 where one is not, 2 where there is nothing to compare.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

CEILING_DB = 100.0
TOLERANCE = {"mse": (1e-5, 1e-12), "psnr": (0.0, 1e-4), "ssim": (0.0, 1e-5)}
"""Metric -> relative and absolute."""


def measured(truth, estimate):
    """Metric -> value of one pair of images [3, S, S]; SSIM only from 11 pixels on."""
    true, guess = truth.astype(np.float64), estimate.astype(np.float64)
    with np.errstate(divide="ignore"):
        decibel = peak_signal_noise_ratio(true, guess, data_range=1.0)
    found = {"mse": mean_squared_error(true, guess), "psnr": min(decibel, CEILING_DB)}
    if min(true.shape[1:]) >= 11:
        found["ssim"] = structural_similarity(
            true,
            guess,
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    return found


def near(metric, value, wanted):
    """Whether two numbers agree within the tolerance of their metric; NaN never does."""
    relative, absolute = TOLERANCE[metric]
    return bool(abs(value - wanted) <= max(relative * abs(wanted), absolute))


def read(path):
    """Tensors by name, and the header."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def unlike(record, tensors, header):
    """What of one record is not met, a line each."""
    count, total = len(tensors["estimate"]), len(tensors["victim"])
    told = []
    if header.get("record") != record["hash"]:
        told.append("the tensors are of another record")
    if tensors["truth"].shape != tensors["estimate"].shape:
        return [*told, "truth and estimate have different shapes"]
    if len(json.loads(header.get("ids", "[]"))) != total:
        told.append("ids and victims are of different number")
    if (record["kept"]["victims"], record["kept"]["of"]) != (count, total):
        told.append(f"{count} of {total} victims are kept, the record says otherwise")
    for prefix, figures in (("", record["leakage"]), ("floor_", record["floor"])):
        for row in range(count):
            guess = tensors["floor"] if prefix else tensors["estimate"][row]
            for metric, value in measured(tensors["truth"][row], guess).items():
                listed = float(tensors[prefix + metric][row])
                if not near(metric, value, listed):
                    victim = int(tensors["victim"][row])
                    told.append(
                        f"{prefix}{metric} of victim {victim}: {value:.6g}, listed {listed:.6g}"
                    )
        for metric in TOLERANCE:
            figure = figures.get(metric, {}).get("mean")
            if figure is None or prefix + metric not in tensors:
                continue
            mean = float(tensors[prefix + metric].astype(np.float64).mean())
            if not near(metric, mean, figure):
                told.append(f"{prefix}{metric}: mean {mean:.6g}, the record has {figure:.6g}")
    return told


def check(run, path):
    """(whether it is met, or None where nothing is kept; what to say) of one record."""
    record = json.loads(path.read_text())
    config = record["config"]
    name = f"{record['split']['name']}, {config['attack']}, {config['knowledge']}"
    name = f"{config['measurement']}, seed {config['seed']}" if "measurement" in config else name
    kept = record.get("kept")
    if not kept or not kept["victims"]:
        return None, f"{name}: no tensors are kept"
    try:
        tensors, header = read(run / "images" / kept["file"])
        told = unlike(record, tensors, header)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        return False, f"{name}: cannot be read ({type(error).__name__}: {error})"
    amount = f"{kept['victims']} of {kept['of']} victims"
    if not told:
        figures = {m: record["leakage"][m]["mean"] for m in TOLERANCE if m in record["leakage"]}
        shown = ", ".join(f"{m} {v:.6g}" for m, v in figures.items() if v is not None)
        return True, f"{name}: met ({shown}; images of {amount})"
    more = f"; {len(told) - 3} more" if len(told) > 3 else ""
    return False, f"{name}: NOT MET ({amount}): {'; '.join(told[:3])}{more}"


def main(arguments):
    """Print a line a record and return the exit status."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "records").is_dir():
        print("usage: recompute.py RUN, the folder of a run with records/", file=sys.stderr)
        return 2
    run = Path(arguments[0])
    outcomes = []
    for path in sorted((run / "records").glob("*.json")):
        outcome, line = check(run, path)
        outcomes.append(outcome)
        print(line)
    done = [one for one in outcomes if one is not None]
    print(f"{sum(done)} of {len(done)} records met, {len(outcomes) - len(done)} without tensors")
    return 2 if not done else int(not all(done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
