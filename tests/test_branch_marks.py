"""Copies of notebooks that note the branches they take compute the same as the originals."""

import json

import pytest
from support import branches

SOURCE = """\
sizes = []
for n in (0, 3):
    if n > 1:  # a comment
        sizes.append(n or None)
    else:
        if not n:
            sizes.append("none")
word = "" if sizes else None
never = 1 if word else [k if k else -1 for k in (0, 2)]
"""


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "07_example.ipynb"
    cells = [{"cell_type": kind, "source": [SOURCE]} for kind in ("markdown", "code")]
    path.write_text(json.dumps({"cells": [*cells, {"cell_type": "code", "source": ["step = 1  # Hz"]}]}))
    return path


def test_marked_copies_compute_the_same_and_tell_what_they_did(notebook, tmp_path):
    (tmp_path / "marked").mkdir()
    log = tmp_path / "taken"
    branches.mark([notebook], tmp_path / "marked", log)
    text, code, untouched = (
        "".join(c["source"]) for c in json.loads((tmp_path / "marked" / notebook.name).read_text())["cells"]
    )
    assert text == SOURCE
    assert untouched == "step = 1  # Hz", "parameters keep their comments"
    assert code != SOURCE
    expected, actual = {}, {}
    exec(SOURCE, expected)
    exec(code, actual)
    assert {k: actual[k] for k in expected if k != "__builtins__"} == {
        k: v for k, v in expected.items() if k != "__builtins__"
    }
    taken = log.read_text().splitlines()
    assert taken == [
        "07 else: n > 1", "07 if: not n", "07 if: n > 1", "07 if: sizes", "07 else: word", "07 else: k", "07 if: k",
    ]  # fmt: skip
    assert branches.branches([notebook]) - set(taken) == {"07 else: not n", "07 else: sizes", "07 if: word"}
