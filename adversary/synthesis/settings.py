"""Settings of data-free synthesis, and those of papers and their code by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adversary.contract.attack import Preset
from splitlab.contracts.ranges import BatchSize, LearningRate, Probability, Steps, Weight
from splitlab.errors import UnknownName
from splitlab.named import wrong_setting

PixelCount = Annotated[int, Field(ge=0, le=1024, description="pixels")]
Beta = Annotated[float, Field(ge=0, lt=1, description="of Adam")]

LARGE = 128
AUTO, LAB, PUBLISHED = "auto", "lab", "dci"


class SynthesisSettings(BaseModel):
    """Of one batch after another, from noise. All weights act on normalised pixels.

    Args:
        steps: of Adam at full size; before them, `half_steps` at half of it.
        batch_size: images whose statistics are matched together.
        learning_rate: the highest, after `warm_up` steps.
        decay: whether it falls from there as a cosine, or stays.
        beta1, beta2: of Adam.
        statistics: weight of the batch norms' gap.
        first: of the first batch norm, beside the others.
        tv: weight of the total variation, the 2-norms of the differences to four neighbours.
        l2: weight of the 2-norm of an image, a mean over the batch.
        classes: weight of the cross-entropy to random classes; needs the whole network. The papers
            differ: DCI's equation has no such term, DeepInversion has it with weight 1.
        start: "white" noise, as the papers have it; or "natural" noise, as smooth and as nearly
            grey as photographs are (`adversary.synthesis.natural_noise`), the lab's own.
        roll: the batch is shifted by up to so many pixels each way, at every step.
        flip: probability that it is mirrored, at every step.
        clip: whether pixels are kept in [0, 1] after every step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Steps = 400
    half_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 0.1
    warm_up: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    decay: bool = True
    beta1: Beta = 0.5
    beta2: Beta = 0.9
    statistics: Weight = 1.0
    first: Weight = 1.0
    tv: Weight = 1e-3
    l2: Weight = 1e-5
    classes: Weight = 0.0
    start: Literal["white", "natural"] = "white"
    roll: PixelCount = 2
    flip: Probability = 0.5
    clip: bool = True

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> SynthesisSettings:
        """With these settings; {"preset": name} is filled in before them.

        Raises:
            UnknownName: no such preset.
            BadInput: a setting that there is not, or out of range.
        """
        fields = dict(options)
        preset = fields.pop("preset", None)
        if preset is not None:
            if preset not in PRESETS:
                raise UnknownName("preset of synthesis", str(preset), PRESETS)
            fields = {**PRESETS[preset].fields, **fields}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise wrong_setting("synthesis", error.errors(), cls.model_fields) from error


def fitting(options: Mapping[str, Any], size: int) -> tuple[str, SynthesisSettings]:
    """The settings for images of a side of `size` pixels, and the name of the preset behind them.

    Without a preset, or with {"preset": "auto"}, it is the published one, "dci", from `LARGE`
    pixels on, and below that "lab": the defaults of `SynthesisSettings`, which are for small ones.

    Raises:
        UnknownName, BadInput: as `SynthesisSettings.configured`.
    """
    fields = {key: value for key, value in options.items() if key != "preset"}
    preset = str(options.get("preset", AUTO))
    if preset == AUTO:
        preset = PUBLISHED if size >= LARGE else LAB
    if preset == LAB:
        return preset, SynthesisSettings.configured(fields)
    if preset not in PRESETS:
        raise UnknownName("preset of synthesis", preset, (AUTO, LAB, *PRESETS))
    return preset, SynthesisSettings.configured({"preset": preset, **fields})


_CODE = "NVlabs/DeepInversion"
_IMAGENET: Mapping[str, Any] = {
    "half_steps": 2000,
    "steps": 1000,
    "batch_size": 84,
    "learning_rate": 0.25,
    "warm_up": 100,
    "statistics": 0.01,
    "first": 10.0,
    "tv": 1e-4,
    "l2": 1e-5,
    "classes": 1.0,
    "roll": 30,
}
PRESETS: Mapping[str, Preset] = {
    "yin2020": Preset(
        _IMAGENET,
        f"{_CODE}, ImageNet, README and setting 0",
    ),
    "yin2020-cifar": Preset(
        {
            "steps": 2000,
            "batch_size": 256,
            "learning_rate": 0.05,
            "decay": False,
            "beta1": 0.9,
            "beta2": 0.999,
            "statistics": 10.0,
            "tv": 2.5e-5,
            "l2": 0.0,
            "classes": 1.0,
            "roll": 2,
            "flip": 0.0,
            "clip": False,
        },
        f"{_CODE}, CIFAR-10, README: parameters from the paper",
    ),
    "dci": Preset(
        {**_IMAGENET, "classes": 0.0},
        f"Dong et al., DCI, equation 4, with the regularisers of {_CODE}",
    ),
}
