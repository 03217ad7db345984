"""Recipes of papers by name; R and A numbers are those of the lab's specification.

Where a paper's code hands SGD all parameters alike, norms and biases decay too (`decay_norms`).
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from splitlab.errors import BadInput, UnknownName
from splitlab.named import named_fields, shown, typed_fields, wrong_setting
from splitlab.training.recipe import LONG, TrainRecipe

RECIPES: dict[str, TrainRecipe] = {
    "lab": TrainRecipe(),
    "long": LONG,
    # Koh et al. 2024, "On the Vulnerability of Skip Connections to Model Inversion Attacks",
    # table 12: FaceScrub and Stanford Dogs, 224 px.
    "rolss": TrainRecipe(
        epochs=100,
        batch_size=128,
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="multi-step",
        warmup=0.0,
        milestones=(0.75, 0.9),
        crop=0.85,
        jitter=(0.2, 0.2, 0.1, 0.1),
    ),
    # The same paper, IR-152 on CelebA, 64 px.
    "rolss-ir152": TrainRecipe(
        epochs=100,
        batch_size=64,
        learning_rate=0.01,
        nesterov=False,
        weight_decay=1e-4,
        decay_norms=True,
        schedule="constant",
        warmup=0.0,
    ),
    # The judge of class inversion, Inception-v3.
    "rolss-judge": TrainRecipe(
        epochs=100,
        batch_size=128,
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="multi-step",
        warmup=0.0,
        milestones=(0.8,),
        crop=0.85,
        jitter=(0.2, 0.2, 0.1, 0.1),
    ),
    # Zhang et al., "How Does a Deep Learning Model Architecture Impact Its Privacy?" (USENIX
    # Security 2024): victims of membership inference, until 99 % of the clean training
    # images are told rightly; shift, flip, and that norms and biases do not decay are ours.
    "architecture-membership": TrainRecipe(
        epochs=300,
        batch_size=256,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.0,
        shift=4,
        mixup=0.8,
        cutmix=1.0,
        until=0.99,
    ),
    # The same paper: victims of attribute inference.
    "architecture-attribute": TrainRecipe(
        epochs=100,
        batch_size=256,
        learning_rate=0.01,
        nesterov=False,
        decay_norms=True,
        schedule="constant",
        warmup=0.0,
        flip=False,
    ),
    # Ho et al. 2024, "Model Inversion Robustness: Can Transfer Learning Help?", VGG-16 (T-1).
    "tl-dmi": TrainRecipe(
        epochs=200,
        batch_size=64,
        learning_rate=0.08,
        nesterov=False,
        weight_decay=1e-4,
        decay_norms=True,
        schedule="constant",
        warmup=0.0,
    ),
}


def recipe_fields(text: str | None, epochs: int | None) -> dict[str, Any]:
    """What differs from the default, of "NAME:FIELD=VALUE,..." and a number of epochs.

    Raises:
        UnknownName: no recipe of this name.
        BadInput: a field that a recipe has not, out of range, or given twice.
    """
    if text is None:
        return {} if epochs is None else {"epochs": epochs}
    name, fields = named_fields(text)
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    if epochs is not None and "epochs" in fields:
        raise BadInput(f"--epochs {epochs} and --recipe {shown(text)}: epochs twice; keep one")
    given = typed_fields(fields, TrainRecipe.model_fields)
    if epochs is not None:
        given["epochs"] = epochs
    try:
        made = TrainRecipe.model_validate({**RECIPES[name].model_dump(), **given})
    except ValidationError as error:
        raise wrong_setting(
            f"--recipe {shown(text)}", error.errors(), TrainRecipe.model_fields
        ) from error
    return made.model_dump(exclude_defaults=True)
