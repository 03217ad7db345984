"""A network link between client and server: what it delays, how fast it is, what it loses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from splitlab.errors import BadInput

RATES = {"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9}
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True)
class Link:
    """
    Args:
        name: of the profile, or the text it was read from.
        rtt: seconds for a word there and back on the idle link.
        up, down: bits a second towards the server and back.
        loss: share of the packets that are lost, each way.
    """

    name: str
    rtt: float
    up: float
    down: float
    loss: float = 0.0

    def __str__(self) -> str:
        text = f"rtt={self.rtt * 1000:g}ms,up={self.up / 1e6:g}mbps,down={self.down / 1e6:g}mbps"
        return text + (f",loss={self.loss * 100:g}%" if self.loss else "")


LINKS: Mapping[str, Link] = {
    "wifi": Link("wifi", 0.005, 50e6, 100e6),
    "lte": Link("lte", 0.050, 10e6, 40e6),
    "5g": Link("5g", 0.020, 50e6, 200e6),
    "fiber": Link("fiber", 0.004, 500e6, 500e6),
}
"""Round figures of such links in use, not of any standard; state your own where you know it."""


def parse_link(text: str) -> Link:
    """A profile's name, or `rtt=40ms,up=10mbps,down=50mbps[,loss=1%]`.

    Raises:
        BadInput: neither; a field that is unknown, twice, missing or out of its range.
    """
    if text in LINKS:
        return LINKS[text]
    if "=" not in text:
        raise BadInput(
            f"--link {text!r}: known are {', '.join(LINKS)}; or say it yourself, such as "
            "rtt=40ms,up=10mbps,down=50mbps,loss=1%"
        )
    found: dict[str, float] = {}
    for part in text.split(","):
        field, _, value = part.strip().partition("=")
        if field not in ("rtt", "up", "down", "loss") or field in found:
            raise BadInput(f"--link {text!r}: {part!r}; wanted rtt, up, down and loss, each once")
        found[field] = _number(text, field, value)
    missing = [field for field in ("rtt", "up", "down") if field not in found]
    if missing:
        raise BadInput(f"--link {text!r}: {', '.join(missing)} is missing")
    link = Link(text, found["rtt"], found["up"], found["down"], found.get("loss", 0.0))
    if not (link.rtt <= 60 and min(link.up, link.down) >= 1e3 and link.loss <= 0.5):
        raise BadInput(f"--link {text!r}: wanted rtt to 60s, rates from 1kbps, loss to 50%")
    return link


def _number(text: str, field: str, value: str) -> float:
    units = {"loss": {"%": 0.01, "": 1.0}, "rtt": TIMES}.get(field, RATES)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z%]*)", value.strip().lower())
    if match is None or match[2] not in units:
        wanted = ", ".join(unit or "a share" for unit in units)
        raise BadInput(f"--link {text!r}: {field}={value!r}; wanted a number with {wanted}")
    return float(match[1]) * units[match[2]]
