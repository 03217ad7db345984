"""`docs/recompute.py` on a run's folder, and a tensor made false."""

import contextlib
import io
import runpy
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

SCRIPT = Path(__file__).parents[2] / "docs" / "recompute.py"


def recompute(folder):
    """The script's exit status and words."""
    words = io.StringIO()
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        code = runpy.run_path(str(SCRIPT))["main"]([str(folder)])
    return code, words.getvalue()


def falsify(folder, change):
    """Apply `change` to the tensors of the first record that has some."""
    path = min((folder / "images").glob("*.safetensors"))
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, header)


def require_noticed(run, copy):
    """A run is met by its tensors, and a copy of which one is changed by 1 % of white is not."""
    code, text = recompute(run)
    assert code == 0, text
    for folder in ("records", "images"):
        shutil.copytree(run / folder, copy / folder)
    falsify(copy, lambda tensors: tensors["estimate"][0, 0].sub_(0.01).abs_())
    code, text = recompute(copy)
    assert code == 1
    assert text.count("NOT MET") == 1
