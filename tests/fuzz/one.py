"""One target under atheris: `python tests/fuzz/one.py TARGET CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[0] / "localhost")]

with atheris.instrument_imports(include=["splitlab", "edge_client", "cloud_server"]):
    from memory import run
    from seeds import seeds
    from targets import TARGETS

if __name__ == "__main__":
    name, corpus = sys.argv[1], Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(data)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], lambda data: run(TARGETS[name], data))
    atheris.Fuzz()
