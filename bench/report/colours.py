"""Colours of curves, told apart in print as well."""

from __future__ import annotations

COLOURS = ("#1f5fa8", "#c2502e", "#3d8b54", "#8457a3", "#a8812a", "#4a9aa3", "#882255", "#332288")
