"""A deployment in memory, cut and defended as a real one is, and not trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.point.recipe import Networked
from defenses import Stack
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.deployment import ClientHalf, Selector
from splitlab.deployment.manifest import ClientManifest
from splitlab.randomness import Secret
from splitlab.split import Parts, cut, widen


@dataclass(frozen=True)
class Sample:
    """
    Args:
        client: head, protectors and tail with the weights that the network was handed with.
        bodies: as many as the defence wants, all with the same weights.
    """

    client: ClientHalf
    bodies: nn.ModuleList


@torch.inference_mode(False)
def sample(
    net: nn.Module, arch: ArchSpec, stack: Stack, config: Networked, head_end: str
) -> Sample:
    """Cut `net` at `head_end` and `config.tail_start`."""
    parts: Parts = cut(net, head_end, config.tail_start, arch.input.shape)
    secret = Secret(bytes(32))
    selector = stack_selector(stack)
    shape = parts.head.output_shape
    protectors = stack.protectors(shape, secret)
    # Neither checked nor written: there are no files that it could speak of.
    manifest = ClientManifest.model_construct(
        model_name="",
        max_rows=1,
        classes=(),
        file="",
        sha256="",
        secret_sha256="",
        digest="",
        arch=arch,
        head_end=head_end,
        tail_start=config.tail_start,
        feature=FeatureSpec(shape=shape),
        outputs=(parts.body.output_shape,) * selector.total,
        wire=config.wire,
        defense=stack.spec,
    )
    tail = widen(parts.tail, len(selector.chosen))
    for module in (parts.head, parts.body, protectors, tail):
        module.eval().requires_grad_(False)
    client = ClientHalf(manifest, parts.head, protectors, stack, selector, tail, secret)
    return Sample(client, nn.ModuleList([parts.body] * selector.total))


def stack_selector(stack: Stack) -> Selector:
    """As many bodies as an Ensembler of the stack has, else one."""
    for defense in stack.defenses:
        total, chosen = getattr(defense, "N", None), getattr(defense, "P", None)
        if isinstance(total, int):
            return Selector(total, tuple(range(chosen if isinstance(chosen, int) else total)))
    return Selector(1, (0,))
