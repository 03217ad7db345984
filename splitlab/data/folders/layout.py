"""Names of images -> the side and class of each; nothing here reads a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from splitlab.data.folders.doubts import MASKS, repeated_inside, seeming_masks
from splitlab.data.folders.sides import Side, domains_of, is_filler, seems_a_side, side_of, sides_of
from splitlab.data.folders.tables import FILE, LABEL, Labels, columns_of, labels_of
from splitlab.data.folders.tally import Tally, listed
from splitlab.errors import BadInput

ONE_CLASS = "images"
"""What all images are called that have no label."""
FEW = 0.5
"""Share of images in the root, beside folders, up to which they are strays and no class."""

BESIDE = "left out, images beside the folders"
A_CLASS = f"images beside the folders, used as a class of their own ({ONE_CLASS})"
BELOW = "folders of one side inside a class, used like any other (name a class alone to part it)"
DOMAINS = "folders that are a side and a class, by the words of their names"
SIDE_AS_CLASS = "used as classes, though their names mean a side of the data"
NO_SIDE = "left out, folders that are neither training nor held-out images"
NO_LABEL = "left out, images without a label"
TORN = "left out, images whose rows in a table name different classes or sides"
SIDE_UNKNOWN = "a column of sides that is not used (wanted train and test or val, it has {words})"
NOT_UNDERSTOOD = (
    "tables not understood as classes of images, not used (columns: {columns}; behind the path "
    "?label=COLUMN names the class's)"
)
NO_ROWS = "tables not used, as no row names one image alone"
NOT_USED = "tables not used, as the folders are the classes"
DIFFERS = (
    "tables not used, though they name another class than the folders for {count} images "
    "(behind the path ?label=COLUMN uses one)"
)
MISSING = (
    "left out, images whose label in a table means that there is none ({word}; rename it if it is "
    "a class)"
)
LONGER = "rows of a table with more cells than its header, not used (put a comma in quotes)"
NO_IMAGE = "rows of a table whose image is not there"
Listed = list[int]
ClassOf = dict[int, str]


@dataclass
class Layout:
    """Who is where.

    Args:
        sides: side -> image number -> class; only "train" where everything is one set.
        folders: side -> how the data calls it, for messages.
        tally: what was left out.
    """

    sides: dict[Side, ClassOf]
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
        self.told: set[str] = set()
        """Tables whose rows were told of, and images that they leave out."""

    def layout(self) -> Layout:
        everyone = list(range(len(self.places)))
        depth, sides = self._find_sides(everyone)
        found = self._one_set(everyone) if sides is None else self._parted(everyone, depth, sides)
        for name in sorted(set(self.tables) - self.used):
            self._say_unused(name, found)
        members = sorted(number for own in found.sides.values() for number in own)
        if masks := seeming_masks([self.names[number] for number in members]):
            self.tally.add(MASKS, *masks)
        return found

    def _say_unused(self, name: str, found: Layout) -> None:
        """Why a table labels nothing: folders do, or it was not understood."""
        columns = columns_of(name, self.tables[name], self.names)
        try:
            table = labels_of(self.names, {name: self.tables[name]})
        except BadInput as error:
            self.tally.add(f"tables that are not used ({error})", name)
            return
        if table is None:
            named = {*columns} & {*FILE} and {*columns} & {*LABEL}
            told = listed(columns, most=8) or "none"
            self.tally.add(NO_ROWS if named else NOT_UNDERSTOOD.format(columns=told), name)
            return
        given = {self.names[n]: c for own in found.sides.values() for n, c in own.items()}
        differ = sum(given.get(image, label) != label for image, label in table.of.items())
        self.tally.add(DIFFERS.format(count=differ) if differ else NOT_USED, name)

    def _find_sides(self, members: Listed) -> tuple[int, dict[str, Side] | None]:
        """At which depth folders name sides: below folders that wrap everything, if at all."""
        depth = 0
        while True:
            tops = self._tops(members, depth)
            self._part_domains(members, depth, tops)
            tops = self._tops(members, depth)
            sides = sides_of(tops)
            if sides is not None or len(tops) != 1:
                return depth, sides
            depth += 1

    def _part_domains(self, members: Listed, depth: int, tops: set[str]) -> None:
        """`trainA/1.jpg` counts as `train/a/1.jpg`, unless folders inside name classes."""
        domains = domains_of(tops)
        if domains is None or len(self._tops(members, depth + 1)) > 1:
            return
        self.tally.add(DOMAINS, *sorted(tops))
        for number in members:
            place = self.places[number]
            if len(place) > depth + 1:
                self.places[number] = (*place[:depth], *domains[place[depth]], *place[depth + 1 :])

    def _parted(self, members: Listed, depth: int, tops: dict[str, Side]) -> Layout:
        inside: dict[Side, Listed] = {}
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
            lost = [self.names[n] for n in inside[side] if n not in found]
            if lost := [name for name in lost if name not in self.told]:
                self.tally.add(NO_LABEL, *lost)
        return Layout({s: found for s, found in classes.items() if found}, folders, self.tally)

    def _classes(self, members: Listed, depth: int, side: Side) -> ClassOf:
        """Classes of one side's images; empty where they have no labels."""
        if self.column is None:
            while len(tops := self._tops(members, depth)) == 1:
                (top,) = tops
                if not is_filler(top) and side_of(top) != side:
                    break
                depth += 1
            if tops:
                if side == "train":
                    self._say_repeated(members, depth)
                return {
                    n: self.places[n][depth] for n in members if len(self.places[n]) > depth + 1
                }
        return self._from_tables(members, side)

    def _one_set(self, members: Listed) -> Layout:
        depth = 0
        kept = members
        beside: Listed = []
        while True:
            tops = self._tops(kept, depth)
            strays = [n for n in kept if len(self.places[n]) <= depth + 1]
            if tops and 0 < len(strays) <= FEW * len(kept):
                beside += strays
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
        self._say(kept, depth, beside, classes)
        return Layout({"train": classes}, {}, self.tally)

    def _say(self, kept: Listed, depth: int, beside: Listed, classes: ClassOf) -> None:
        """What a reader should know of classes that are folders."""
        if beside:
            self.tally.add(BESIDE, *(self.names[n] for n in beside))
        strays = [self.names[n] for n in kept if len(self.places[n]) <= depth + 1]
        if strays and len(strays) < len(kept):
            self.tally.add(A_CLASS, *strays)
        if odd := sorted({name for name in classes.values() if seems_a_side(name)}):
            self.tally.add(SIDE_AS_CLASS, *odd)
        inside = {
            self.places[n][depth : depth + 2] for n in kept if len(self.places[n]) > depth + 2
        }
        sides = {inner: side_of(inner) for _, inner in inside}
        if "train" in sides.values() and len({*sides.values()} - {None}) > 1:
            self.tally.add(BELOW, *sorted("/".join(two) for two in inside if sides[two[1]]))
        else:
            self._say_repeated(kept, depth)

    def _say_repeated(self, members: Listed, depth: int) -> None:
        """Folds or months that hold the classes: which of both was taken, nothing else shows."""
        inside: dict[str, set[str]] = {top: set() for top in self._tops(members, depth)}
        for number in members:
            place = self.places[number]
            if len(place) > depth + 2:
                inside[place[depth]].add(place[depth + 1])
        if (doubt := repeated_inside(inside)) is not None:
            self.tally.add(doubt[0], *doubt[1])

    def _by_table(self, members: Listed, table: Labels) -> Layout:
        """One folder and a table with the class of each image, and perhaps its side."""
        sides: dict[Side, ClassOf] = {}
        folders: dict[Side, str] = {}
        told = set(table.side.values())
        parts = sides_of(told) if told else None
        if told and parts is None and {side_of(word) for word in told} != {"train"}:
            self.tally.add(SIDE_UNKNOWN.format(words=listed(sorted(told))), table.table)
        for number in members:
            name = self.names[number]
            if name not in table.of:
                if name not in self.told:
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

    def _from_tables(self, members: Listed, side: Side) -> ClassOf:
        table = self._table(members, side)
        if table is None:
            return {}
        return {n: table.of[self.names[n]] for n in members if self.names[n] in table.of}

    def _table(self, members: Listed, side: Side | None) -> Labels | None:
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
            self._say_rows(table)
        return table

    def _say_rows(self, table: Labels) -> None:
        """Rows that label no image, once a table."""
        if table.table in self.told:
            return
        without = {image: word for image, word in table.missing.items() if word}
        self.told |= {table.table, *table.torn, *without}
        for image, word in without.items():
            self.tally.add(MISSING.format(word=word), image)
        for reason, names in (
            (TORN, table.torn),
            (NO_IMAGE, table.absent),
            (LONGER, table.longer),
        ):
            if names:
                self.tally.add(reason, *names)

    def _tops(self, members: Listed, depth: int) -> set[str]:
        return {self.places[n][depth] for n in members if len(self.places[n]) > depth + 1}
