"""Which output of a network a class folder stands for: names, maps, and what is refused."""

import json

import pytest
import torch

from splitlab.data import ImageSet, Splits, places, read_label_map, read_output_names
from splitlab.errors import BadInput, Corrupt

LINES = ["n01440764 tench, Tinca tinca", "n02012849 crane", "n03126707 crane", "sea_snake"]


def names(tmp_path, text, ending="txt"):
    path = tmp_path / f"names.{ending}"
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return read_output_names(path)


def test_a_line_an_output_and_every_name_of_it_is_found(tmp_path):
    outputs = names(tmp_path, "\ufeff" + "\n".join(LINES) + "\n\n")
    assert [one[0] for one in outputs] == LINES
    folders = ["tench", "Tinca tinca", "n01440764", "n01440764_tench", "Sea-Snake", "n03126707"]
    assert list(places(folders, outputs).values()) == [0, 0, 0, 0, 3, 2]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        ({"0": ["n0", "cat"], "1": ["n1", "dog"]}, ["n0 cat", "n1 dog"]),
        ({"1": "dog", "0": "cat"}, ["cat", "dog"]),
        ({"dog": 1, "cat": 0}, ["cat", "dog"]),
    ],
)
def test_json(tmp_path, content, shown):
    outputs = names(tmp_path, content, "json")
    assert [one[0] for one in outputs] == shown
    assert places(["dog", "cat"], outputs) == {"dog": 1, "cat": 0}


@pytest.mark.parametrize("content", [[], {}, 3, {"1": "dog"}, ["cat", 3], [""], {"a": "b"}])
def test_json_of_another_form(tmp_path, content):
    with pytest.raises(Corrupt):
        names(tmp_path, content, "json")


def test_what_is_refused(tmp_path):
    with pytest.raises(BadInput, match="line 2 is empty"):
        names(tmp_path, "cat\n\ndog")
    with pytest.raises(BadInput, match="line 1 is empty"):
        names(tmp_path, "")
    with pytest.raises(BadInput, match=r"--classes .*No such file"):
        read_output_names(tmp_path / "none.txt")
    outputs = [tuple(line.split()) for line in LINES]
    with pytest.raises(BadInput, match=r"'crane'.*outputs 1, 2 have that name.*--label-map"):
        places(["crane"], outputs)
    with pytest.raises(BadInput, match=r"'sea_snak'.*nearest: sea_snake.*--label-map"):
        places(["sea_snak"], outputs)


def test_a_label_map_says_it_by_name_or_by_number(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("folder,output\nvogel,2\nschlange,sea_snake\n\n")
    known = read_label_map(path)
    assert known == {"vogel": 2, "schlange": "sea_snake"}
    outputs = [(line,) for line in LINES]
    assert places(["schlange", "vogel"], outputs, known) == {"schlange": 3, "vogel": 2}
    (tmp_path / "map.json").write_text(json.dumps(known))
    assert read_label_map(tmp_path / "map.json") == known
    with pytest.raises(BadInput, match="'fisch' of the data set is not in it"):
        places(["fisch"], outputs, known)
    with pytest.raises(BadInput, match="-> 4: outputs are numbered 0 to 3"):
        places(["vogel"], outputs, {"vogel": 4})


@pytest.mark.parametrize("text", ["vogel", "vogel,", "vogel,1,2", "a,1\na,2"])
def test_lines_that_are_no_map(tmp_path, text):
    (tmp_path / "map.csv").write_text(f"b,1\n{text}\n")
    with pytest.raises(BadInput, match=r"--label-map .*line [23]"):
        read_label_map(tmp_path / "map.csv")


def test_relabelled_splits_keep_images_and_take_the_outputs_as_classes():
    def part(labels):
        pixels = torch.randint(0, 255, (len(labels), 3, 8, 8), dtype=torch.uint8)
        return ImageSet(pixels, torch.tensor(labels), ("b", "a"), torch.arange(len(labels)))

    splits = Splits(part([0, 1]), part([1]), part([0]), part([1, 0]))
    new = splits.relabelled(["x", "y", "z"], {"a": 2, "b": 1})
    assert new.classes == new.victims.classes == ("x", "y", "z")
    assert [p.labels.tolist() for p in new.partitions.values()] == [[1, 2], [2], [1], [2, 1]]
    assert torch.equal(new.train.images, splits.train.images)
    assert new.folders == {"a": 2, "b": 1}
    assert new.hash != splits.hash
