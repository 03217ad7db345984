"""A network as data: enough to rebuild it anywhere from JSON and a state dict."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from splitlab.contracts import own_code
from splitlab.errors import BadInput
from splitlab.named import fields_in, named_fields, value_of

Size = Annotated[int, Field(ge=1, le=2048, description="side of a square image, in pixels")]
Classes = Annotated[int, Field(ge=1, le=1_000_000, description="number of classes")]


def is_own(name: str) -> bool:
    """Whether a network's name is "package.module:factory"."""
    return own_code.parted(name) is not None


class InputSpec(BaseModel):
    """What the head is fed. Images are RGB in [0, 1]; normalisation is part of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["image", "tokens", "latent"] = "image"
    channels: Annotated[int, Field(ge=1, le=16)] = 3
    size: Size = 32
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return (self.channels, self.size, self.size)


class ArchSpec(BaseModel):
    """Name, arguments and variants of a network; `splitlab.models.build` turns it into a module.

    `name` is one of the lab's own ("resnet20"), of torchvision ("torchvision/resnet18") or of timm
    ("timm/repvgg_a0"); a bare name is looked up in that order. Or it is a user's own,
    "package.module:factory", built where `own_code` permits it. `arguments` go to the builder,
    `variants` are changes of the architecture that a defence makes (e.g. {"skip": [1, 1, 1, 0]}).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    classes: Classes = 10
    arguments: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, Any] = Field(default_factory=dict)
    input: InputSpec = InputSpec()

    @classmethod
    def named(cls, text: str, *, classes: int = 10, input: InputSpec | None = None) -> ArchSpec:
        """ "repvgg_a0:form=deploy" -> its name and arguments, for so many classes and this input.

        "package.module:factory:width=32" has a name with a colon; a module without a package is
        taken for one only where it is permitted already.

        Raises:
            BadInput: an argument is no field=value, stands there twice, or is no value of JSON.
        """
        first, _, rest = text.strip().partition(":")
        factory, _, more = rest.partition(":")
        if is_own(f"{first}:{factory}") and ("." in first or first in own_code.permitted()):
            name, fields = f"{first}:{factory}", fields_in(more, text)
        else:
            name, fields = named_fields(text)
        arguments = {key: value_of(value) for key, value in fields.items()}
        for key, value in arguments.items():
            try:  # the deployment's manifest is JSON
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise BadInput(
                    f"{key}={fields[key]} in {text.strip()!r}: wanted a finite number, True, False "
                    "or a word"
                ) from error
        return cls(name=name, classes=classes, arguments=arguments, input=input or InputSpec())
