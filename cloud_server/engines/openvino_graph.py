"""OpenVINO on the CPU, all bodies in one graph; in BF16 where that is asked for."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from cloud_server.engines.contract import EngineTask, Outputs, Runner, Unfit
from cloud_server.engines.onnx_graph import bodies_graph, missing_exporter


def missing() -> str:
    """What has to be installed."""
    own = "" if importlib.util.find_spec("openvino") else "openvino"
    return f"{own} {missing_exporter()}".strip()


def openvino(task: EngineTask) -> Runner:
    """
    Raises:
        Unfit: not installed, or not for this network.
    """
    if wanted := missing():
        raise Unfit(f"{wanted} is not installed; pip install 'splitlab[openvino]'")
    import openvino as ov

    core = ov.Core()
    if task.bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unfit("this machine's CPU takes no products in BF16, OpenVINO would use FP32")
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if task.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": task.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        model = core.read_model(bodies_graph(task.bodies, task.example), b"")
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise Unfit(f"OpenVINO does not compile the graph ({error})") from error
    request = compiled.create_infer_request()

    def run(feature: Tensor) -> Outputs:
        request.infer([feature.numpy()], share_inputs=True)
        # copies: the request's own memory is written anew with the next batch
        return [
            torch.from_numpy(request.get_output_tensor(i).data.copy())
            for i in range(len(task.bodies))
        ], ()

    return run
