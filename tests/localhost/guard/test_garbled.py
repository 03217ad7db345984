"""A message that cannot be read ends its call in words, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from cloud_server.server import CloudServer
from splitlab.wire.messages import SERVICE

Serve = Callable[..., CloudServer]
SECONDS = 120
GARBLED = b"\0" * 7


@pytest.mark.parametrize(
    "method",
    [f"/{SERVICE}/ServerLive", f"/{SERVICE}/ModelMetadata", "/grpc.health.v1.Health/Check"],
)
def test_calls_that_cannot_be_read_take_no_place_of_later_ones(serve: Serve, method: str) -> None:
    """More on one connection than it may have open."""
    server = serve()
    one = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.address, one) as channel:
        ask = channel.unary_unary(method)
        for _ in range(150):
            with pytest.raises(grpc.RpcError) as refused:
                ask(GARBLED, timeout=SECONDS)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.value.details().startswith("the message cannot be read (")


def test_a_stream_that_cannot_be_read_is_told_so(serve: Serve) -> None:
    server = serve()
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(150):
            with pytest.raises(grpc.RpcError) as refused:
                list(channel.stream_stream(method)(iter([GARBLED]), timeout=SECONDS))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
