"""The sources' own numbers: there, well formed, and consistent with each other where they can be."""

import re

import pandas as pd
import pytest

from musictools import published, tags


@pytest.mark.parametrize("name", published.names())
def test_every_table_is_readable_and_named_by_its_source(name):
    table = published.table(name)
    assert re.match(r"[a-z]+\d{4}_(\d+_\d+|section_\d+_\d+)_[a-z0-9_]+$", name)
    assert len(table) > 0
    assert not table.columns.str.startswith("Unnamed").any()
    assert not table.duplicated().any() or "layers" in name
    text = table.select_dtypes(exclude="number")
    assert not text.apply(lambda column: column.dropna().str.strip().ne(column.dropna()).any()).any()


def test_tables_3_1_to_5_1_of_the_thesis_are_there():
    have = " ".join(published.names())
    for number in ("2_1", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2", "4_3", "5_1"):
        assert f"rotheneder2023_{number}_" in have


@pytest.mark.parametrize("column", ["balanced", "semi_balanced"])
def test_spectrograms_of_table_3_1_add_up(column):
    table = published.table("rotheneder2023_3_1_mel_spectrograms").set_index("genre")[column]
    assert table.drop("total").sum() == pytest.approx(table["total"], abs=table["total"] * 0.001)
    # 13 frames of a clip, 242 clips of a genre, 1,000 at most
    assert table["country"] == 13 * 242
    assert table["rock"] == {"balanced": 13 * 242, "semi_balanced": 13 * 1000}[column]


def test_scores_are_fractions():
    table = published.table("rotheneder2023_3_4_genre_performance")
    assert table[["accuracy", "precision", "recall", "roc_auc"]].apply(lambda c: c.between(0.5, 1)).all(axis=None)
    assert set(table["model"]) == {"ckn19", "pg20"}


def test_layers_of_tables_3_2_and_3_3_add_up_but_for_the_known_misprint():
    ckn19 = published.table("rotheneder2023_3_2_layers_ckn19")["parameters"]
    pg20 = published.table("rotheneder2023_3_3_layers_pg20")["parameters"]
    assert ckn19.iloc[:-1].sum() == ckn19.iloc[-1] == 33_930_504
    assert pg20.iloc[-1] == 44_769_480
    assert pg20.iloc[:-1].sum() - pg20.iloc[-1] == 33_558_528 - 524_800  # dense twice, the fourth convolution never


def test_the_vocabulary_is_the_tables():
    pairs = published.table("rotheneder2023_5_1_equivalent_tags")
    assert not pairs["synonym"].duplicated().any()
    assert tags.vocabulary().synonyms["classic"] == tuple(pairs["synonym"][pairs["tag"] == "classic"])
    assert "female vocal" not in set(pairs["synonym"])
    assert set(tags.GENRES) <= set(published.table("rotheneder2023_5_1_excluded_tags")["tag"])


def test_reading_gives_a_fresh_table_each_time():
    first = published.table(published.names()[0])
    before = first.copy()
    first.drop(first.index, inplace=True)
    pd.testing.assert_frame_equal(published.table(published.names()[0]), before)
