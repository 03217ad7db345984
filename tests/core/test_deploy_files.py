"""What is shipped for containers and systemd: flags that exist, and one half for each role."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry

from cloud_server.watch.metrics_port import MetricsPort

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ROLES = {"cloud-server": ("cloud_server.cli", "serve"), "edge-client": ("edge_client.cli", None)}


def flags_of(role: str) -> set[str]:
    module, command = ROLES[role]
    found = typer.main.get_command(importlib.import_module(module).app)
    found = found.commands[command] if command else found
    return {name for p in found.params for name in [*p.opts, *p.secondary_opts]}


def check(words: list[str]) -> None:
    role = Path(words[0]).name
    named = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert named
    assert named <= flags_of(role), named - flags_of(role)


def test_compose_names_flags_and_gives_each_role_its_half_alone():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    check(services["server"]["command"])
    check(services["client"]["entrypoint"])
    for role, own, other in (("server", "server", "client"), ("client", "client", "server")):
        halves = [v for v in services[role]["volumes"] if "DEPLOYMENT" in v]
        assert len(halves) == 1
        assert f"}}/{own}:/half" in halves[0]
        assert not any(f"{other}.key" in volume for volume in services[role]["volumes"])
        assert (DEPLOY.parent / "deploy" / "Dockerfile").exists()


def test_the_unit_checks_the_half_and_serves_it():
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "splitlab-server.service").read_text())
    lines = dict(re.findall(r"^(Exec\w+)=(.*)$", text, re.M))
    assert set(lines) == {"ExecStartPre", "ExecStart"}
    for line in lines.values():
        check(shlex.split(line))
    served = shlex.split(lines["ExecStart"])
    served.remove("--log-requests")
    assert [word for word in shlex.split(lines["ExecStartPre"]) if word != "--check"] == served
    assert re.search(r"^LimitNOFILE=\d+$", text, re.M)


def test_metrics_in_a_container_are_read_from_outside_of_it_on_this_machine_alone():
    server = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]
    assert "--metrics=0.0.0.0:9090" in server["command"]
    assert "--metrics-open" in server["command"]
    assert "127.0.0.1:9090:9090" in server["ports"]


def test_containers_run_as_whoever_made_keys_and_token():
    """These are 0600, and without a capability no other user reads them."""
    text = (DEPLOY / "compose.yaml").read_text()
    user = "${SPLITLAB_UID:-10001}:${SPLITLAB_GID:-10001}"
    assert "#   export SPLITLAB_UID=$(id -u) SPLITLAB_GID=$(id -g)\n" in text
    for service in yaml.safe_load(text)["services"].values():
        assert service["user"] == user
        assert service["cap_drop"] == ["ALL"]
    # a home of 10001's alone would keep any other user out
    built = (DEPLOY / "Dockerfile").read_text()
    assert "WORKDIR /tmp\n" in built.split("FROM")[-1]


def test_the_builder_is_given_what_the_image_copies_and_nothing_else():
    lines = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    given = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert given == set(" ".join(copied).split())


def test_the_image_has_every_package():
    built = (DEPLOY / "Dockerfile").read_text()
    packages = re.search(r"packages = \[(.*)\]", (DEPLOY.parent / "pyproject.toml").read_text())
    for package in re.findall(r'"(\w+)"', packages[1]):
        assert f"COPY {package} {package}\n" in built


def installed(**given):
    """What the Dockerfile's RUN line would have pip install."""
    (line,) = re.findall(r"^RUN (.*)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    pip = "/venv/bin/pip install --no-cache-dir "
    assert pip in line
    said = f"printf %s {line.partition(pip)[2]}"
    done = subprocess.run(["sh", "-c", said], env=given, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_image_can_have_the_extras():
    assert installed() == installed(EXTRAS="") == "."
    assert installed(EXTRAS="onnxruntime,openvino") == ".[onnxruntime,openvino]"
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    built = (DEPLOY / "Dockerfile").read_text()
    named = re.findall(r"--build-arg EXTRAS=(\S+)", built)[0]
    assert set(named.split(",")) <= set(project["optional-dependencies"])
    first, second = built.split("\nFROM ")[1:]
    args = re.findall(r'^ARG (\w+)=""$', first, re.M)
    assert first.index("ARG PIP_INDEX_URL") < first.index("RUN")
    assert "ARG" not in second
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["build"]["args"] == {name: f"${{{name}:-}}" for name in args}


def test_the_client_waits_until_the_server_is_healthy_and_neither_takes_all_memory():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services["client"]["depends_on"] == {"server": {"condition": "service_healthy"}}
    for service in services.values():
        assert re.fullmatch(r"\$\{SPLITLAB_\w*MEMORY:-\d+g\}", service["mem_limit"])


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("serves", [True, False])
def test_the_server_is_healthy_where_it_listens_and_serves_its_metrics(listens, serves):
    server = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]
    kind, python, flag, probe = server["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    assert "--listen=0.0.0.0:50051" in server["command"]
    with contextlib.ExitStack() as stack:
        # bound and not listening: whoever knocks is refused, and nobody else gets the port
        grpc, metrics = (stack.enter_context(socket.socket()) for _ in range(2))
        for place in (grpc, metrics):
            place.bind(("127.0.0.1", 0))
        ports = {"50051": grpc.getsockname()[1], "9090": metrics.getsockname()[1]}
        if listens:
            grpc.listen()
        if serves:
            opened = MetricsPort(CollectorRegistry(), "127.0.0.1:0", off_loopback=False)
            stack.callback(opened.close)
            ports["9090"] = opened.port
        asked, count = re.subn(r"\b(50051|9090)\b", lambda m: str(ports[m[0]]), probe)
        assert count == len(ports)
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False)
    assert (done.returncode == 0) == (listens and serves), done.stderr
