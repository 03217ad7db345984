"""Generate the Python code of the wire from proto/; with `--check`, only say whether it is fresh.

The output is committed, so that installing needs no compiler. It is generated with grpcio-tools
1.81.1, whose protobuf 6 code loads under protobuf 6 and 7.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "splitlab/wire/open_inference.proto"
OUTPUTS = tuple(
    f"splitlab/wire/open_inference_{suffix}" for suffix in ("pb2.py", "pb2.pyi", "pb2_grpc.py")
)
TOOLS_VERSION = "1.81.1"


def generate(target: Path) -> None:
    """Write every file of `OUTPUTS` below the folder `target`."""
    from grpc_tools import protoc

    status = protoc.main(
        [
            "protoc",
            f"-I{ROOT / 'proto'}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            SOURCE,
        ]
    )
    if status != 0:
        raise SystemExit(f"error: protoc failed with status {status} on proto/{SOURCE}")


def stale(fresh: Path) -> list[str]:
    """Outputs in the repository that differ from those below `fresh`, or are absent."""
    return [
        name
        for name in OUTPUTS
        if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != (fresh / name).read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where stale")
    check = parser.parse_args().check
    installed = importlib.metadata.version("grpcio-tools")
    if installed != TOOLS_VERSION:
        print(f"error: grpcio-tools {installed} is installed, {TOOLS_VERSION} is wanted; run")
        print(f"  pip install grpcio-tools=={TOOLS_VERSION}")
        return 2
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        generate(fresh)
        differing = stale(fresh)
        if check:
            for path in differing:
                print(f"error: {path} is stale; run `make stubs` and commit the result")
            return 1 if differing else 0
        for path in differing:
            (ROOT / path).write_bytes((fresh / path).read_bytes())
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
