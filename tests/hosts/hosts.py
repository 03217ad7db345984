"""Two hosts in one kernel: network namespaces with an address each and a cable between them."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from deployments import Process, environment

from bench.perf.serving import packet_relay

RELAY = Path(packet_relay.__file__)
NUMBERS = itertools.count(1)


@functools.cache
def why_not() -> str | None:
    """Why namespaces cannot be made here; None where they can."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return None


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Hosts:
    """`server` at 10.77.0.1 and `client` at 10.77.0.2; gone when the block is left.

    Args:
        relay: seconds there and back, bits a second to the server and to the client, and share of
            packets lost each way, of a `packet_relay.py` in place of the kernel's own cable.
    """

    server, client = "10.77.0.1", "10.77.0.2"

    def __init__(self, relay: tuple[float, float, float, float] | None = None) -> None:
        self._relayed, self._relay = relay, None

    def __enter__(self) -> Hosts:
        mark = f"{os.getpid() % 10000}{next(NUMBERS)}"
        self._names = {"server": f"s{mark}", "client": f"c{mark}"}
        self._cables = {"server": f"vs{mark}", "client": f"vc{mark}"}
        for name in self._names.values():
            ip("netns", "add", name)
        server, client = self._cables["server"], self._cables["client"]
        if self._relayed is None:
            ip("link", "add", server, "type", "veth", "peer", "name", client)
        else:
            numbers = map(str, (*self._relayed, 7))
            self._relay = subprocess.Popen(
                [sys.executable, str(RELAY), server, client, *numbers],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._relay.stdout.readline() == "ready\n"
        for role, address in (("server", self.server), ("client", self.client)):
            ip("link", "set", self._cables[role], "netns", self._names[role])
            self._inside(role, "address", "add", f"{address}/24", "dev", self._cables[role])
            self._inside(role, "link", "set", "lo", "up")
        self.restore()
        if self._relay is not None:
            for role, cable in self._cables.items():  # whatever this machine's own choice is
                route = ("10.77.0.0/24", "dev", cable, "congctl", "cubic")
                self._inside(role, "route", "change", *route)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._relay is not None:
            self._relay.kill()
            self._relay.communicate()
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def cut(self) -> None:
        """Pull the cable out on the server's side."""
        self._inside("server", "link", "set", self._cables["server"], "down")

    def restore(self) -> None:
        """Put it back."""
        for role in ("server", "client"):
            self._inside(role, "link", "set", self._cables[role], "up")

    def shape(self, role: str, rate_mbps: float) -> None:
        """Let the kernel send no faster from one of the hosts; nothing is dropped."""
        burst = max(2000, int(rate_mbps * 1e6 / 8 / 1000))  # a millisecond's worth
        shaped = subprocess.run(
            [
                *("tc", "-n", self._names[role], "qdisc", "replace", "dev", self._cables[role]),
                *("root", "tbf", "rate", f"{rate_mbps}mbit", "burst", str(burst), "latency", "5s"),
            ],
            capture_output=True,
            text=True,
        )
        assert shaped.returncode == 0, shaped.stderr

    def words(self, role: str, *words: str) -> list[str]:
        """A Python command as it is run on one of the hosts."""
        return ["ip", "netns", "exec", self._names[role], sys.executable, *words]

    def _inside(self, role: str, *words: str) -> None:
        ip("-n", self._names[role], *words)


class OnHost(Process):
    """A role's process on one of the hosts."""

    def __init__(self, hosts: Hosts, role: str, *words: str) -> None:
        self._process = subprocess.Popen(
            hosts.words(role, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.stopped = {}
        self._said: SimpleQueue[str] = SimpleQueue()
        self._all: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def kill(self) -> None:
        """Without a word, as a power cut does."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def go(self) -> None:
        """Answer what waits for a line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def line(self) -> str:
        """Its next line on standard output."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def said(self) -> str:
        """Its next line on standard error."""
        return self._said.get(timeout=600)

    def ended(self) -> tuple[int, str]:
        """(exit code, all of standard error) of what ends by itself."""
        code = self._process.wait(timeout=600)
        self._listener.join()
        return code, "".join(self._all)

    def _listen(self) -> None:
        """Always, so that the process never waits for a reader."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._all.append(line)
            self._said.put(line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
