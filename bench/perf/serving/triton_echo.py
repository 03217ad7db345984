"""The same echo as a Triton server, for a Python that has `nvidia-pytriton` and nothing of ours.

`PYTHON bench/perf/serving/triton_echo.py` prints the port of Triton's gRPC service.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import numpy as np
from pytriton.model_config import ModelConfig, Tensor  # type: ignore[import-not-found]
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]

SHAPE = (64, 16, 16)
MAX_ROWS = 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def echo(requests: list[Any]) -> list[dict[str, Any]]:
    return [{"output_0": request["feature"]} for request in requests]


def main() -> None:
    grpc_port = free_port()
    config = TritonConfig(
        http_port=free_port(), grpc_port=grpc_port, metrics_port=free_port(), log_verbose=0
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="echo",
            infer_func=echo,
            inputs=[Tensor(name="feature", dtype=np.float32, shape=SHAPE)],
            outputs=[Tensor(name="output_0", dtype=np.float32, shape=SHAPE)],
            config=ModelConfig(max_batch_size=MAX_ROWS),
        )
        triton.run()
        print(grpc_port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
