"""Names of images -> the side and class of each; nothing here reads a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from splitlab.data.listing import NOT_PICTURES
from splitlab.data.sides import Side, is_filler, side_of, sides_of
from splitlab.data.tables import Labels, labels_of
from splitlab.data.tally import Tally

ONE_CLASS = "images"
"""What all images are called that have no label."""
FEW = 0.1
"""Share of images in the root, beside folders, up to which they are strays and no class."""

BESIDE = "left out, images beside the folders"
NO_SIDE = "left out, folders that are neither training nor held-out images"
NO_LABEL = "left out, images without a label"
NO_IMAGE = "rows of a table whose image is not there"
Members = list[int]
Classes = dict[int, str]


@dataclass
class Layout:
    """Who is where.

    Args:
        sides: side -> image number -> class; only "train" where everything is one set.
        folders: side -> how the data calls it, for messages.
        tally: what was left out.
    """

    sides: dict[Side, Classes]
    folders: dict[Side, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


def arrange(names: Sequence[str], tables: Mapping[str, str], column: str | None = None) -> Layout:
    """Find sides, then classes: a folder each, or a column of a table where all lie together.

    Args:
        names: of the images, below the root.
        tables: name -> text of CSV files.
        column: which one holds the class; then folders are no classes.

    Raises:
        BadInput: held-out folders without a training folder, or no such column.
    """
    return _Arranger(names, tables, column).layout()


class _Arranger:
    def __init__(self, names: Sequence[str], tables: Mapping[str, str], column: str | None) -> None:
        self.names, self.tables, self.column = names, tables, column
        self.places = [PurePosixPath(name).parts for name in names]
        self.tally = Tally()
        self.used: set[str] = set()

    def layout(self) -> Layout:
        everyone = list(range(len(self.places)))
        depth, sides = self._find_sides(everyone)
        found = self._one_set(everyone) if sides is None else self._parted(everyone, depth, sides)
        if unused := sorted(set(self.tables) - self.used):
            self.tally.add(NOT_PICTURES, *unused)
        return found

    def _find_sides(self, members: Members) -> tuple[int, dict[str, Side] | None]:
        """At which depth folders name sides: below folders that wrap everything, if at all."""
        depth = 0
        while True:
            tops = self._tops(members, depth)
            sides = sides_of(tops)
            if sides is not None or len(tops) != 1:
                return depth, sides
            depth += 1

    def _parted(self, members: Members, depth: int, tops: dict[str, Side]) -> Layout:
        inside: dict[Side, Members] = {}
        folders: dict[Side, str] = {}
        for number in members:
            place = self.places[number]
            if len(place) <= depth + 1:
                self.tally.add(BESIDE, self.names[number])
            elif place[depth] in tops:
                side = tops[place[depth]]
                inside.setdefault(side, []).append(number)
                folders.setdefault(side, place[depth])
            else:
                self.tally.add(NO_SIDE, self.names[number])
        classes = {side: self._classes(own, depth + 1, side) for side, own in inside.items()}
        if not any(classes.values()):  # no labels anywhere: one class, as in a flat folder
            sides = {side: dict.fromkeys(own, ONE_CLASS) for side, own in inside.items()}
            return Layout(sides, folders, self.tally)
        if not classes["train"]:
            classes["train"] = dict.fromkeys(inside["train"], ONE_CLASS)
        for side, found in classes.items():
            if lost := [self.names[n] for n in inside[side] if n not in found]:
                self.tally.add(NO_LABEL, *lost)
        return Layout({s: found for s, found in classes.items() if found}, folders, self.tally)

    def _classes(self, members: Members, depth: int, side: Side) -> Classes:
        """Classes of one side's images; empty where they have no labels."""
        if self.column is None:
            while len(tops := self._tops(members, depth)) == 1:
                (top,) = tops
                if not is_filler(top) and side_of(top) != side:
                    break
                depth += 1
            if tops:
                return {
                    n: self.places[n][depth] for n in members if len(self.places[n]) > depth + 1
                }
        return self._from_tables(members, side)

    def _one_set(self, members: Members) -> Layout:
        depth = 0
        kept = members
        while True:
            tops = self._tops(kept, depth)
            strays = [n for n in kept if len(self.places[n]) <= depth + 1]
            if tops and 0 < len(strays) <= FEW * len(kept):
                self.tally.add(BESIDE, *(self.names[n] for n in strays))
                kept = [n for n in kept if len(self.places[n]) > depth + 1]
            elif strays or len(tops) != 1 or min(len(self.places[n]) for n in kept) <= depth + 2:
                break
            else:
                depth += 1
        classes = {
            n: self.places[n][depth] if len(self.places[n]) > depth + 1 else ONE_CLASS for n in kept
        }
        if self.column is not None or len(set(classes.values())) == 1:
            table = self._table(members, None)
            if table is not None:
                return self._by_table(members, table)
        return Layout({"train": classes}, {}, self.tally)

    def _by_table(self, members: Members, table: Labels) -> Layout:
        """One folder and a table with the class of each image, and perhaps its side."""
        sides: dict[Side, Classes] = {}
        folders: dict[Side, str] = {}
        told = set(table.side.values())
        parts = sides_of(told) if told else None
        for number in members:
            name = self.names[number]
            if name not in table.of:
                self.tally.add(NO_LABEL, name)
                continue
            side: Side = "train"
            if parts is not None:
                word = table.side.get(name, "")
                if word not in parts:
                    self.tally.add(NO_SIDE, name)
                    continue
                side = parts[word]
                folders.setdefault(side, word)
            sides.setdefault(side, {})[number] = table.of[name]
        return Layout(sides, folders, self.tally)

    def _from_tables(self, members: Members, side: Side) -> Classes:
        table = self._table(members, side)
        if table is None:
            return {}
        return {n: table.of[self.names[n]] for n in members if self.names[n] in table.of}

    def _table(self, members: Members, side: Side | None) -> Labels | None:
        """Labels of these images: from a table of their side, else from one of all images."""
        own, common = {}, {}
        for name, text in self.tables.items():
            place = PurePosixPath(name)
            sides = {found for p in (*place.parts[:-1], place.stem) if (found := side_of(p))}
            if sides == {side}:
                own[name] = text
            elif not sides or side is None:
                common[name] = text
        mine = [self.names[n] for n in members]
        table = labels_of(mine, own) if own and self.column is None else None
        table = table or labels_of(self.names, {**own, **common}, self.column)
        if table is not None:
            self.used.add(table.table)
            if table.absent:
                self.tally.add(NO_IMAGE, *table.absent)
        return table

    def _tops(self, members: Members, depth: int) -> set[str]:
        return {self.places[n][depth] for n in members if len(self.places[n]) > depth + 1}
