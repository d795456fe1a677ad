"""Figures of notebook 09."""

import numpy as np
import pandas as pd
import pytest

from musictools import plots
from musictools.plots import structures as drawings

QUALITY = pd.DataFrame({
    "structure": ["k1c2", "k1c2", "crnn", "crnn"], "parameters": [1e5, 1e6, 1e5, 1e6], "seconds": [3.0, 9.0, 5.0, 20.0],
    "roc_auc": [0.6, 0.7, 0.65, 0.8], "low": [0.5, 0.6, 0.6, 0.75], "high": [0.7, 0.75, 0.7, 0.85],
})  # fmt: skip


@pytest.mark.parametrize("x", ["parameters", "seconds"])
def test_quality_has_a_line_per_structure(x):
    fig, ax = plots.figure()
    assert drawings.quality(QUALITY, x=x, xlabel="n", ax=ax) is ax
    lines = {container.get_label(): container for container in ax.containers}
    assert list(lines) == ["k1c2", "crnn"]
    assert lines["crnn"].lines[0].get_xydata().tolist() == QUALITY.loc[2:, [x, "roc_auc"]].to_numpy().tolist()
    ends = np.array([path.vertices[:, 1] for path in lines["k1c2"].lines[2][0].get_paths()])
    np.testing.assert_allclose(ends, QUALITY.loc[:1, ["low", "high"]])
    assert ax.get_xscale() == "log"


def test_bars_of_tags_begin_at_k2c1():
    table = pd.DataFrame({"tag": ["rock", "pop", "guitar"], "category": ["genres", "genres", "instruments"],
                          "rank": [2, 1, 3], "k2c1": [0.7, 0.6, 0.8], "k1c2": [0.6, 0.7, 0.8],
                          "crnn": [0.9, 0.8, 0.85]})  # fmt: skip
    fig, ax = plots.figure()
    drawings.tags_by_category(table, ax=ax)
    bars = {container.get_label(): list(container) for container in ax.containers}
    for name in ("k1c2", "crnn"):
        assert [bar.get_y() for bar in bars[name]] == pytest.approx(table["k2c1"].tolist())
        assert [bar.get_y() + bar.get_height() for bar in bars[name]] == pytest.approx(table[name].tolist())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["rock (2)", "pop (1)", "guitar (3)"]
    assert {text.get_text() for text in ax.texts} == {"genres", "instruments"}
