"""What a record says of the machine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from splitlab import machine


def test_engines_are_named_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2.8.0", "onnxruntime": "1.22.0"}

    def version(package: str) -> str:
        if package not in installed:
            raise PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(machine, "version", version)
    found = machine._versions()
    assert found["onnxruntime"] == "1.22.0"
    assert found["grpcio"] == "absent"
    assert not {"onnx", "openvino", "atheris"} & set(found)
