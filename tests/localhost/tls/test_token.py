"""A server with a token answers who shows it, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from halves import Client, images

from cloud_server.guard.limits import Limits
from cloud_server.guard.patience import Patience
from cloud_server.guard.token_check import OPEN, TokenCheck
from cloud_server.server import CloudServer
from cloud_server.watch.health import Health
from edge_client.client import EdgeClient
from splitlab.errors import BadInput, ServerRefused
from splitlab.wire.messages import INFER
from splitlab.wire.token import read_token

Serve = Callable[..., CloudServer]
SECONDS = 120
TOKEN = "0123456789abcdef"


def test_it_is_asked_for_with_every_call(serve: Serve) -> None:
    server = serve(token=TOKEN)
    with EdgeClient(Client(), [server.address], token=TOKEN) as client:
        assert client.infer(images(3)).logits.shape[0] == 3
    for other in (None, TOKEN[:-1], TOKEN + "0", TOKEN.upper()):
        with (
            EdgeClient(Client(), [server.address], token=other) as client,
            pytest.raises(ServerRefused, match="UNAUTHENTICATED: this server asks for a token"),
        ):
            client.infer(images(1))


def test_no_method_is_open_but_a_check_of_health(serve: Serve) -> None:
    server = serve(token=TOKEN)
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        twice = (("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}"))
        watch = "/grpc.health.v1.Health/Watch"
        for method, metadata in (
            *((INFER, ()), (reflection, ()), (INFER, twice), ("/a/b", ())),
            *((watch, ()), ("/grpc.health.v1.Health/CheckMore", ())),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                list(channel.stream_stream(method)(iter([b""]), metadata=metadata))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_silent_checks_of_strangers_hold_neither_a_thread_nor_a_call(serve: Serve) -> None:
    server = serve(token=TOKEN, limits=Limits(peer_calls=2))
    silence = threading.Event()

    def nothing() -> Iterator[bytes]:
        silence.wait(SECONDS)
        yield from ()

    with ExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1)]  # a connection each
        channels = [
            stack.enter_context(grpc.insecure_channel(server.address, own)) for _ in range(9)
        ]
        for channel in channels:  # one after another: how many come at a moment is limited
            check = channel.stream_unary(OPEN).future(nothing(), timeout=SECONDS)
            answer = health_pb2.HealthCheckResponse.FromString(check.result())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with EdgeClient(Client(), [server.address], token=TOKEN, retries=0) as client:
            assert client.infer(images(3)).logits.shape[0] == 3
        silence.set()


def test_a_stranger_who_does_not_take_the_answer_is_let_go() -> None:
    patience, cancelled = Patience(1e6), threading.Event()
    check = TokenCheck(TOKEN, lambda _method, _code: None, Health(), patience)
    details: Any = SimpleNamespace(method=OPEN, invocation_metadata=())
    context = SimpleNamespace(add_callback=lambda _: True, cancel=cancelled.set)
    check.intercept_service(lambda _: None, details).stream_unary(iter(()), context)
    assert cancelled.wait(SECONDS)
    patience.close()


def test_it_never_goes_in_the_clear_off_loopback(serve: Serve) -> None:
    for insecure in (False, True):
        with pytest.raises(BadInput, match="hands the token to everyone"):
            serve(listen="0.0.0.0:0", token=TOKEN, insecure=insecure)
        with pytest.raises(BadInput, match="hands the token to everyone"):
            EdgeClient(Client(), ["192.0.2.1:50051"], token=TOKEN, insecure=insecure)


def test_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o640)
    with pytest.raises(BadInput, match="others may read it"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    for wrong in ("short", "two words of enough length", "a\tb" * 9, "two\nlines of enough length"):
        path.write_text(wrong)
        with pytest.raises(BadInput, match="at least 16 characters"):
            read_token(path)
    path.write_text("ä" * 20)
    with pytest.raises(BadInput, match="not ASCII"):
        read_token(path)
    with pytest.raises(BadInput, match="No such file"):
        read_token(tmp_path / "none")


def test_a_credential_of_systemd_has_its_group_s_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`LoadCredential` with `DynamicUser`: 0440, the mask of an access list of one user."""
    handed, beside = tmp_path / "credentials", tmp_path / "beside"
    for folder in (handed, beside):
        folder.mkdir()
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert read_token(handed / "token") == TOKEN
    with pytest.raises(BadInput, match="others may read it"):
        read_token(beside / "token")
    (handed / "link").symlink_to(beside / "token")
    with pytest.raises(BadInput, match="others may read it"):
        read_token(handed / "link")
    for mode in (0o444, 0o460, 0o450, 0o442):
        (handed / "token").chmod(mode)
        with pytest.raises(BadInput, match="others may read it"):
            read_token(handed / "token")
    for unset in ("", str(beside / "none")):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", unset)
        with pytest.raises(BadInput, match="others may read it"):
            read_token(beside / "token")
