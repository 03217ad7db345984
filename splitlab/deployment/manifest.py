"""What `deployment.json` says in each half, and the digest that ties the halves together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from splitlab.checked import checked
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.errors import Corrupt
from splitlab.storage import canonical_json, read_json, sha256

REMEDY = "copy the half again from where `bench train` wrote it, or train again"
WireType = Literal["FP32", "FP16", "BF16", "INT8"]
Hex256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
M = TypeVar("M", bound=BaseModel)


class Shard(BaseModel):
    """Some of the bodies, in one file; a server is given one shard or more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bodies: tuple[int, ...]
    file: str
    sha256: Hex256


class _WithAnswers(BaseModel):
    """What both manifests have for a user's own network; others are written as before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: tuple[tuple[float, ...], ...] = Field(
        default=(), description="some of what each part answered, for a network of somebody's own"
    )

    @model_serializer(mode="wrap")
    def _without_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = dump(self)
        return {key: value for key, value in found.items() if key != "answers" or value}


class ServerManifest(_WithAnswers):
    """`server/deployment.json`. Nothing here depends on head, tail, selector, noise or seeds."""

    format: Literal["splitlab/server/1"] = "splitlab/server/1"
    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="random, 128 bits")]
    model_name: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,128}$")]
    arch: ArchSpec
    head_end: str
    tail_start: str | None
    feature: FeatureSpec
    outputs: tuple[tuple[int, ...], ...]
    wire: WireType
    max_rows: Annotated[int, Field(ge=1, le=65_536, description="rows of one micro-batch")]
    shards: tuple[Shard, ...]
    digest: str = ""

    def computed_digest(self) -> str:
        """SHA-256 of this manifest without its digest; it holds the hash of every shard."""
        return sha256(canonical_json(self.model_dump(mode="json", exclude={"digest"})))


class ClientManifest(_WithAnswers):
    """`client/deployment.json`; the selector and the secret key stand in `secret.json` beside.

    The key's 256 bits are in `secret_sha256` too, so that no selector can be guessed from it.
    """

    format: Literal["splitlab/client/1"] = "splitlab/client/1"
    model_name: str
    arch: ArchSpec
    head_end: str
    tail_start: str | None
    feature: FeatureSpec
    outputs: tuple[tuple[int, ...], ...]
    wire: WireType
    max_rows: int
    defense: str
    classes: tuple[str, ...]
    folders: dict[str, int] = Field(
        default={}, description="class of the data -> output, where these are not the same"
    )
    victims_hash: str = Field(default="", description="hash of the images kept for attacks")
    file: str
    sha256: Hex256
    secret_sha256: Hex256 = Field(description="hash of secret.json")
    digest: Hex256


_FORMATS = ["splitlab/server/1", "splitlab/client/1"]


def read_manifest(folder: Path, kind: type[M]) -> M:
    """The manifest in a half's folder.

    Raises:
        Corrupt: no manifest (a half-written deployment), another half's, or a damaged one.
    """
    path = folder / "deployment.json"
    side = kind.model_fields["format"].default.split("/")[1]
    if not folder.is_dir():
        raise Corrupt(folder, "there is no such folder", REMEDY)
    if not path.exists() and (folder / side / path.name).exists():
        raise Corrupt(
            folder, "is a whole deployment, and one half is wanted", f"give {folder / side}"
        )
    content: dict[str, Any] = read_json(path, REMEDY)
    try:
        manifest = checked(kind, content, path, REMEDY)
    except Corrupt as error:
        given = content.get("format", "no format")
        wanted = kind.model_fields["format"].default
        if given in _FORMATS and given != wanted:
            told = f"is the {given.split('/')[1]} half, and the {side} half is wanted"
            raise Corrupt(folder, told, f"give DEPLOYMENT/{side}") from error
        if given != wanted:
            raise Corrupt(path, f"is {given!r}, {wanted!r} was wanted", REMEDY) from error
        raise
    try:
        canonical_json(manifest.model_dump())  # JSON's mode would write null for what is no number
    except ValueError as error:  # NaN and Infinity, which Python reads and no JSON has
        raise Corrupt(path, "holds a number that is not finite", REMEDY) from error
    return manifest


def read_checked(path: Path, wanted: str) -> None:
    """Compare a file's SHA-256 with the manifest's.

    Raises:
        Corrupt: absent, or its bytes are not those that were written.
    """
    if not path.is_file():
        raise Corrupt(path, "there is no such file; the deployment is half-written", REMEDY)
    if sha256(path.read_bytes()) != wanted:
        raise Corrupt(path, "its bytes are not those that the manifest was written for", REMEDY)
