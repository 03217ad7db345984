"""ONNX Runtime on the CPU, all bodies in one graph."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from cloud_server.engines.contract import EngineTask, Outputs, Runner, Unfit
from cloud_server.engines.onnx_graph import bodies_graph, missing_exporter


def missing() -> str:
    """What has to be installed."""
    own = "" if importlib.util.find_spec("onnxruntime") else "onnxruntime"
    return f"{own} {missing_exporter()}".strip()


def onnxruntime(task: EngineTask) -> Runner:
    """
    Raises:
        Unfit: not installed, or not for this network.
    """
    if wanted := missing():
        raise Unfit(f"{wanted} is not installed; pip install 'splitlab[onnxruntime]'")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = task.threads
    # A server's threads must not spin while its clients compute on the same machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    graph = bodies_graph(task.bodies, task.example)
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Unfit(f"ONNX Runtime does not load the graph ({error})") from error

    def run(feature: Tensor) -> Outputs:
        found = session.run(None, {"feature": feature.numpy()})
        return [torch.from_numpy(output) for output in found], ()

    return run
