"""Whether attacks can attack what a run is going to train, asked before it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.errors import BadInput, MissingKnowledge, SplitLabError
from splitlab.split import cut


def check_everywhere(
    net: nn.Module,
    arch: ArchSpec,
    head_ends: Sequence[str],
    tail_start: str | None,
    wanted: Sequence[tuple[Attack, frozenset[str]]],
) -> None:
    """`check_attacks` at each of these places.

    Raises:
        BadInput: names the places where it cannot be done, and those where it can.
    """
    why: dict[str, SplitLabError] = {}
    for place in head_ends:
        try:
            check_attacks(net, arch, place, tail_start, wanted)
        except (BadInput, MissingKnowledge) as error:
            why[place] = error
    if not why:
        return
    first = next(iter(why.values()))
    left = [place for place in head_ends if place not in why]
    remedy = f"; with --splits {','.join(left)} it can be done" if left else ""
    raise BadInput(f"at {', '.join(why)}: {first}{remedy}") from first


def check_attacks(
    net: nn.Module,
    arch: ArchSpec,
    head_end: str,
    tail_start: str | None,
    wanted: Iterable[tuple[Attack, frozenset[str]]],
) -> None:
    """
    Args:
        net: of that architecture, trained or not; left as it is.
        head_end, tail_start: where it is cut.
        wanted: attacks that are run there, each with the fields of a grant that it is given.

    Raises:
        BadInput, MissingKnowledge: an attack that cannot be run there.
        UnknownName, NotCuttable, BadInput: as `cut`.
    """
    asking = [(one, granted) for one, granted in wanted if type(one).check is not Attack.check]
    if not asking:
        return
    parts = cut(net, head_end, tail_start, arch.input.shape)
    for attack, granted in asking:
        attack.check(
            ThreatModel(
                arch=arch,
                head_end=head_end,
                tail_start=tail_start,
                feature=FeatureSpec(shape=parts.head.output_shape),
                input=arch.input,
                head=parts.head if "head" in granted else None,
                bodies=nn.ModuleList([parts.body]) if "bodies" in granted else None,
                tail=parts.tail if "tail" in granted else None,
            )
        )
