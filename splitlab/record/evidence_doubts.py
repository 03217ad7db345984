"""Doubts about how much the numbers of a run rest on: networks at chance, few images, saturation.

Each is a pure function of records, so that old ones are doubted too, as far as they tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from splitlab.record.binomial import no_better, wilson
from splitlab.record.record import Record

FEW_IMAGES = 500
"""That an attack learned from: a quarter of the default. A choice, no measured bound; below it a
figure may say more of the adversary's means than of the split point."""
FEW_VALIDATION = 16
"""A mean over so many images is known to a quarter of how much single images differ, which is what
neighbouring settings differ by."""
RESOLVED_POINTS = 10.0
"""Half of an accuracy's 95 % interval from which on no place keeps the accuracy provably."""
ROUNDING_DB = 10 * math.log10(12 * 255**2)
"""58.9 dB: the error of rounding to 8 bits. Differences beyond it are not in the victim's image."""
LOST_POINTS = 1.0
"""Of accuracy: from there on leakage compares only at equal accuracy."""
WIRE_ERROR = 1e-4
"""Of the logits, the most that an engine may deviate by in FP32."""
LEARNS_NOTHING = "nothing"
"""What an attack says that it learned from, to which images of its own are of no use."""
JUDGE_AT_CHANCE = "judge at chance"
"""How the reason begins why a record has no re-identification by features."""


def evidence_doubts(records: Sequence[Record]) -> list[str]:
    """All of these, in order, each said once."""
    checks: tuple[Callable[[Sequence[Record]], list[str]], ...] = (
        victim_at_chance,
        judge_at_chance,
        few_victims,
        few_images,
        few_validation,
        saturated,
        accuracy_lost,
        deviating_wire,
    )
    return list(dict.fromkeys(doubt for check in checks for doubt in check(records)))


def victims_of(record: Record) -> int:
    """Victims whose images crossed the wire, which the accuracy is a share of: what the record
    says, where fewer were sent than were asked for.
    """
    given = record.utility.get("victims") or record.config.get("victims")
    return int(given or max((value.items for value in record.leakage.values()), default=0))


def victim_at_chance(records: Sequence[Record]) -> list[str]:
    """A network that may be no better than always answering with the largest class."""
    whole = {told: "" for r in records if (told := _chance(r, "accuracy_whole"))}
    if whole:
        return [
            f"the network under attack is at chance ({told}): train it longer" for told in whole
        ]
    places = {r.split["name"]: told for r in records if (told := _chance(r, "accuracy"))}
    return [
        f"{name}: through the wire the network is at chance ({told})"
        for name, told in places.items()
    ]


def _chance(record: Record, name: str) -> str:
    """What this accuracy and chance are, "" where it is better or an older record tells neither."""
    accuracy, chance = record.utility.get(name), record.utility.get("majority")
    if accuracy is None or chance is None:
        return ""
    return chance_told(accuracy, victims_of(record), chance, "victims' images")


def chance_told(accuracy: float, count: int, chance: float, images: str) -> str:
    """What an accuracy and chance, in %, are among `count` of these images, "" where it is better
    than always answering with the largest class.
    """
    if not no_better(accuracy, count, chance):
        return ""
    return (
        f"{accuracy:z.1f} % of {count} {images}, {_interval(accuracy, count)}; the largest "
        f"class alone is {chance:z.1f} %"
    )


def judge_at_chance(records: Sequence[Record]) -> list[str]:
    """The network that re-identifies knows nothing, so that no such rate is shown."""
    whys = {value.why for r in records for value in r.leakage.values()}
    return [
        f"re-identification by features is not shown: {why}"
        for why in sorted(whys)
        if why.startswith(JUDGE_AT_CHANCE)
    ]


def few_victims(records: Sequence[Record]) -> list[str]:
    """So few that the accuracy of one split point cannot be told from another's."""
    for record in records:
        count, accuracy = victims_of(record), record.utility.get("accuracy")
        if accuracy is None or "accuracy_whole" not in record.utility:
            continue  # nothing answers, or the share is not of victims but of their words
        low, high = wilson(accuracy, count)
        if count and (high - low) / 2 > RESOLVED_POINTS:
            return [
                f"{count} victims: an accuracy of {accuracy:z.1f} % is known as "
                f"{_interval(accuracy, count)}, so that a loss of less than "
                f"{(high - low) / 2:z.0f} points does not show; give more --victims"
            ]
    return []


def few_images(records: Sequence[Record]) -> list[str]:
    """An attack that learned from fewer images than it takes; its leakage is a lower bound."""
    found: dict[tuple[str, int], list[str]] = {}
    for record in records:
        count = learned_from(record)
        if count is not None and count < FEW_IMAGES:
            own = found.setdefault((str(record.config.get("attack")), count), [])
            own.append(str(record.split.get("name")))
    return [
        f"{attack} learned from {count} images, fewer than {FEW_IMAGES} ({_places(places)}): an "
        "adversary with more recovers more; give more --queries"
        for (attack, count), places in found.items()
    ]


def learned_from(record: Record) -> int | None:
    """Images that an attack learned from, as granted; None for one that learns from none."""
    told = record.attack_facts.get("learned_from")
    queries = record.threat.get("observe")
    if told == LEARNS_NOTHING or (told is None and not queries):
        return None
    given = queries or record.threat.get("auxiliary")
    return int(given) if given else None


def few_validation(records: Sequence[Record]) -> list[str]:
    """Settings chosen on a handful of images, by an attack to which images are of use."""
    found: dict[tuple[str, int], list[str]] = {}
    for record in records:
        count = record.threat.get("validation")
        used = record.attack_facts.get("learned_from") != LEARNS_NOTHING
        if used and count and int(count) < FEW_VALIDATION:
            own = found.setdefault((str(record.config.get("attack")), int(count)), [])
            own.append(str(record.split.get("name")))
    return [
        f"{attack} had {count} validation images, fewer than {FEW_VALIDATION}, to choose its "
        f"settings by ({_places(places)})"
        for (attack, count), places in found.items()
    ]


def saturated(records: Sequence[Record]) -> list[str]:
    """Reconstructions nearer to the image than 8 bits can say."""
    found: dict[str, list[str]] = {}
    for record in records:
        value = record.leakage.get("psnr")
        if value is not None and value.mean is not None and value.mean > ROUNDING_DB:
            told = f"{record.split.get('name')} {value.mean:z.0f} dB"
            found.setdefault(str(record.config.get("attack")), []).append(told)
    return [
        f"{attack} recovers the image itself ({_places(places)}): above {ROUNDING_DB:z.1f} dB, the "
        "error of rounding to 8 bits, more dB are no more leakage"
        for attack, places in found.items()
    ]


def accuracy_lost(records: Sequence[Record]) -> list[str]:
    """Through the wire the network answers worse, or better, than the whole one."""
    found: dict[tuple[Any, ...], str] = {}
    for record in records:
        accuracy, whole = (record.utility.get(k) for k in ("accuracy", "accuracy_whole"))
        if accuracy is None or whole is None or abs(accuracy - whole) <= LOST_POINTS:
            continue
        more = "more" if accuracy > whole else "less"
        place = (record.split.get("name"), record.config.get("defense"), record.config.get("wire"))
        found.setdefault(
            place,
            f"{record.split.get('name')}: the accuracy through the wire is {accuracy:z.1f} %, "
            f"{abs(accuracy - whole):z.1f} points {more} than the whole network's; its leakage is "
            "not compared at equal accuracy",
        )
    return list(found.values())


def deviating_wire(records: Sequence[Record]) -> list[str]:
    """An undefended FP32 wire whose logits are not the whole network's."""
    found: dict[str, str] = {}
    for record in records:
        plain = record.config.get("defense") == "none" and record.config.get("wire") == "FP32"
        error = record.utility.get("relative_error", 0.0)
        if plain and error > WIRE_ERROR:
            name = str(record.split.get("name"))
            found.setdefault(
                name, f"{name}: logits through the wire deviate by {error:.1e} of the largest"
            )
    return list(found.values())


def _interval(percent: float, count: int) -> str:
    low, high = wilson(percent, count)
    return f"{low:z.1f} to {high:z.1f} %"


def _places(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
