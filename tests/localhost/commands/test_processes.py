"""Real processes: a client, an eavesdropper, a server with its tap, and Triton's own client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from deployments import Process, deploy, network, pictures
from typer.testing import CliRunner

from defenses import parse
from edge_client.cli import app as edge
from splitlab.capture import Capture
from splitlab.data import load_splits
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.storage import read_json, read_tensors
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER

TRITON = """
import sys
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tiny_cnn")
meta = client.get_model_metadata("tiny_cnn", as_json=True)
assert meta["inputs"][0]["shape"] == ["-1", "8", "16", "16"], meta
z = np.load(sys.argv[2])
given = triton.InferInput("feature", z.shape, "FP32")
given.set_data_from_numpy(z)
wanted = triton.InferRequestedOutput("output_0")
answer = client.infer("tiny_cnn", [given], request_id="from-triton", outputs=[wanted])
assert answer.get_response().id == "from-triton"
np.save(sys.argv[3], answer.as_numpy("output_0"))

import queue
answers = queue.Queue()
client.start_stream(lambda result, error: answers.put((result, error)))
client.async_stream_infer("tiny_cnn", [given], request_id="streamed")
client.async_stream_infer("other", [given], request_id="refused")
result, error = answers.get(timeout=600)
assert error is None and np.array_equal(result.as_numpy("output_0"), answer.as_numpy("output_0"))
result, error = answers.get(timeout=600)
assert "unknown model 'other'" in str(error), error
client.stop_stream()
try:
    client.infer("other", [given])
except triton.InferenceServerException as error:
    assert error.status() == "StatusCode.NOT_FOUND", error.status()
else:
    raise SystemExit("a model that is not there answered")
"""


@dataclass(frozen=True)
class Scene:
    """One server with its tap, one relay in front of it, and a client's evaluation through both."""

    deployment: Path
    photos: Path
    server: Process
    relay: Process
    address: str
    digest: str
    root: Path

    @property
    def account(self) -> dict[str, Any]:
        return read_json(self.root / "out" / "evaluation.json")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("scene")
    deployment, photos = deploy(root / "d"), pictures(root / "photos")
    serve = ("-m", "cloud_server", str(deployment / "server"), "--listen", "127.0.0.1:0")
    # As users start it: nothing is loaded before. The others are forks, which start faster.
    with Process(*serve, "--tap", str(root / "tap"), "--threads", "1", fresh=True) as server:
        told = server.listening()
        address = f"{told['host']}:{told['port']}"
        listen = ("-m", "adversary", "tap", "--listen", "127.0.0.1:0", "--upstream", address)
        with Process(*listen, "--record", str(root / "relay")) as relay:
            between = relay.listening()
            client = (
                *("-m", "edge_client", str(deployment / "client")),
                *("--server", f"{between['host']}:{between['port']}", "--threads", "1"),
                *("evaluate", "--dataset", f"imagefolder:{photos}"),
                *("--repeat", "2", "--batch", "6", "--out", str(root / "out")),
            )
            with Process(*client) as evaluating:
                out, err, code = evaluating.ended()
            assert code == 0, err
            assert "accuracy" in out
            assert relay.finish()[0] == 0
            yield Scene(deployment, photos, server, relay, address, told["digest"], root)


def victims(scene: Scene) -> Any:
    return load_splits(f"imagefolder:{scene.photos}", size=16).victims


def test_the_answer_through_grpc_is_the_whole_network_s(scene: Scene) -> None:
    images = victims(scene)
    with torch.inference_mode():
        wanted = network()(images.floats())
    given = read_tensors(scene.root / "out" / "logits.safetensors")["logits"]
    assert torch.equal(given.argmax(1), wanted.argmax(1))
    assert float((given - wanted).abs().max() / wanted.abs().max()) <= 1e-5
    right = float((wanted.argmax(1) == images.labels).float().mean()) * 100
    assert scene.account["accuracy"] == pytest.approx(right)


def test_the_account_is_whole(scene: Scene) -> None:
    account, count = scene.account, len(victims(scene))
    assert (account["images"], account["repeats"], account["retries"]) == (count, 2, 0)
    assert account["rate"]["payload_up"] == 8 * 16 * 16 * 4
    assert account["rate"]["framed_up"] > account["rate"]["payload_up"]
    assert account["rate"]["framed_down"] > account["rate"]["payload_down"] > 0
    assert {"head", "encode", "network", "bodies", "tail", "total"} <= set(account["latency"])
    for stage in account["latency"].values():
        assert 0 <= stage["p50"] <= stage["p95"]


def test_a_tap_s_trouble_is_json_and_a_stop_is_a_good_one(scene: Scene, tmp_path: Path) -> None:
    serve = ("-m", "cloud_server", str(scene.deployment / "server"), "--listen", "127.0.0.1:0")
    tap = ("--tap", str(tmp_path / "tap"), "--log-requests", "--threads", "1")
    with Process(*serve, *tap) as server:
        told = server.listening()
        (tmp_path / "tap").rename(tmp_path / "moved")
        (tmp_path / "tap").write_text("not a folder")
        with (
            grpc.insecure_channel(f"{told['host']}:{told['port']}") as channel,
            pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"),
        ):
            channel.unary_unary(INFER)(b"\xff")
        code, errors = server.finish()
    lines = [json.loads(line) for line in errors.splitlines()]
    assert code == 0
    assert [line["event"] for line in lines] == ["request", "tap", "tap"]
    assert lines[1]["message"].startswith("tap: 1 frames are lost, serving goes on")
    assert server.stopped == {
        "event": "stopped",
        "finished": True,
        "tap": {"frames": 0, "dropped": 1},
    }


def test_the_join_table_leads_from_captured_features_to_images(scene: Scene) -> None:
    join = read_json(scene.root / "out" / "join.json")["rows"]
    ids, features = Capture.open(scene.root / "relay").features()
    images = victims(scene)
    assert set(ids) == set(join)
    assert len(ids) == 2 * len(images)
    half = ClientHalf.load(scene.deployment / "client", parse)
    with torch.inference_mode():
        z = half.head(images.floats())
    order = [join[each] for each in ids]
    assert float((features - z[order]).abs().max()) <= 1e-5
    assert order[: len(images)] != sorted(order[: len(images)])


def test_triton_s_own_client_is_answered(scene: Scene, tmp_path: Path) -> None:
    pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc]'")
    z = torch.randn(3, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "z.npy", z.numpy())
    paths = (str(tmp_path / "z.npy"), str(tmp_path / "y.npy"))
    done = subprocess.run(
        [sys.executable, "-c", TRITON, scene.address, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = ServerHalf.load(scene.deployment / "server").bodies[0](z)
    given = torch.from_numpy(np.load(tmp_path / "y.npy"))
    assert float((given - wanted).abs().max() / wanted.abs().max()) <= 1e-5


def test_infer_says_what_it_saw_and_what_it_did(scene: Scene, tmp_path: Path) -> None:
    photo = scene.photos / "test" / "cats" / "0.png"
    words = [str(scene.deployment / "client"), "--server", scene.address, "infer", str(photo)]
    table = CliRunner().invoke(edge, words, env={"COLUMNS": "200"})
    assert table.exit_code == 0, table.output
    assert "24x20" in table.output
    told = json.loads(CliRunner().invoke(edge, [*words, str(photo), "--json"]).output)
    assert [row["class"] for row in told["images"]] == [told["images"][0]["class"]] * 2
    assert 0.5 <= told["images"][0]["probability"] <= 1
    (tmp_path / "x.png").write_bytes(b"no picture")
    bad = CliRunner().invoke(edge, [*words, str(tmp_path / "x.png")])
    assert bad.exit_code == 2
    assert "x.png" in bad.output
    assert "Traceback" not in bad.output


def test_halves_of_two_deployments_are_told_apart(scene: Scene, tmp_path: Path) -> None:
    other = deploy(tmp_path / "other")
    words = [str(other / "client"), "--server", scene.address, "infer", str(scene.photos)]
    result = CliRunner().invoke(edge, words)
    assert result.exit_code == 2
    assert f"{scene.address} holds deployment {scene.digest[:12]}" in result.output


def test_sigterm_ends_the_server_in_order_and_the_taps_agree(scene: Scene) -> None:
    """Last in this file: it stops the server that the others use."""
    feature = torch.zeros(64, 8, 16, 16)
    tensors = tuple(encode(feature, "FP32"))
    with grpc.insecure_channel(scene.address) as channel:
        call = channel.unary_unary(INFER)
        raws = [Request("tiny_cnn", f"last-{i}", tensors).to_bytes() for i in range(24)]
        futures = [call.future(raw, timeout=600) for raw in raws]
        futures[0].result()
        scene.server.terminate()
        refused = {future.code() for future in futures} - {grpc.StatusCode.OK}
        # CANCELLED where gRPC closes a connection on which a request is still coming in
        assert refused <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        answered = sum(future.code() is grpc.StatusCode.OK for future in futures)
    code, errors = scene.server.finish()
    assert (code, errors) == (0, "")
    assert scene.server.stopped["finished"] is True
    tapped = Capture.open(scene.root / "tap")
    assert tapped.complete
    last = [e for e in tapped.exchanges() if e.request_id.startswith("last-")]
    assert sum(e.outputs is not None for e in last) == answered
    heard = {(e.request_id, e.first_row): e for e in Capture.open(scene.root / "relay").exchanges()}
    ours = {(e.request_id, e.first_row): e for e in tapped.exchanges()}
    assert len(heard) == scene.account["messages"]
    for key, exchange in heard.items():
        assert torch.equal(exchange.feature, ours[key].feature)
        assert exchange.content == ours[key].content
