"""No defence: the feature goes onto the wire as the head made it (Ensembler's row "NONE")."""

from __future__ import annotations

from typing import ClassVar

from splitlab.contracts import Defense


class NoDefense(Defense):
    """Every hook does nothing."""

    name: ClassVar[str] = "none"
    source: ClassVar[str] = "the undefended baseline of every paper"
