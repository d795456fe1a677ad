"""Vocabulary, merging and counting by hand, and the thesis' numbers on the real annotations."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from musictools import datasets, tags
from musictools.datasets import leakage


def table(text):
    """A tag table from lines of tags: table("rock drums | metal") are two clips."""
    clips = [[tag.replace("_", " ") for tag in clip] for clip in (c.split() for c in text.split("|"))]
    names = sorted({tag for clip in clips for tag in clip})
    return pd.DataFrame([[n in clip for n in names] for clip in clips], columns=names, dtype=bool)


def on(frame):
    return [sorted(frame.columns[row]) for row in frame.to_numpy()]


def test_merging_by_hand():
    synonyms = {"drums": ("drums", "drum"), "beat": ("beat", "beats")}
    merged = tags.merge(table("drum | beats | drums beat | flute"), synonyms)
    assert on(merged) == [["drums"], ["beat"], ["beat", "drums"], ["flute"]]
    assert merged.dtypes.eq(bool).all()
    assert list(merged.columns) == ["beat", "drums", "flute"]


def test_merging_leaves_its_input_alone_and_what_is_not_there_out():
    raw = table("drum | drums")
    before = raw.copy()
    merged = tags.merge(raw, {"drums": ("drums", "drum", "percussion"), "harp": ("harp",)})
    assert list(merged.columns) == ["drums"]
    pd.testing.assert_frame_equal(raw, before)


def test_table_5_1_is_used_as_printed():
    v = tags.vocabulary()
    merged = tags.merge(
        table(
            "clasical | opera | female_opera | heavy_metal | techno | india | female_vocal | woman | "
            "quick | no_beat | synth | male_vocal"
        ),
        v.synonyms,
    )
    assert on(merged) == [
        ["classic"],
        ["classic"],
        ["classic"],
        ["metal"],
        ["electronic"],
        ["indian"],
        ["female vocal"],
        ["female vocals"],
        ["fast"],
        ["no drums"],
        ["synthesizer"],
        ["male vocals"],
    ]
    assert v.genres == ("rock", "indian", "pop", "new age", "country", "metal", "electronic", "classic")
    assert {"rap", "jazz", "not rock", "english"} <= set(v.excluded)
    assert not set(v.genres) & set(v.excluded)


def test_metal_takes_precedence_over_rock():
    genres = tags.vocabulary().genre_table(table("rock | rock heavy_metal | metal pop rock | pop rock | drums"))
    assert on(genres) == [["rock"], ["metal"], ["metal", "pop"], ["pop", "rock"], []]
    assert list(genres.columns) == list(tags.GENRES)
    assert genres.dtypes.eq(bool).all()


def test_descriptors_are_neither_genres_nor_excluded_and_sorted_by_frequency():
    raw = table("rock drums flute | drum jazz | harp flute drums not_rock english | techno")
    d = tags.vocabulary().descriptor_table(raw)
    assert list(d.columns) == ["drums", "flute", "harp"]
    assert on(d) == [["drums", "flute"], ["drums"], ["drums", "flute", "harp"], []]


def test_counts_break_ties_by_the_alphabet():
    t = table("b a | a c | c | d a")
    assert tags.counts(t).to_dict() == {"a": 3, "c": 2, "b": 1, "d": 1}
    assert list(tags.counts(t).index) == ["a", "c", "b", "d"]
    assert list(tags.top(t, 3).columns) == ["a", "c", "b"]


def test_co_occurrence_by_hand():
    t = table("a b | a b | a | c a | b")
    t["never"] = False
    C = tags.co_occurrence(t)
    assert C.loc["a", "b"] == pytest.approx(2 / 4)
    assert C.loc["b", "a"] == pytest.approx(2 / 3)
    assert C.loc["c", "a"] == 1
    assert C.loc["c", "b"] == 0
    assert C.loc["a", "a"] == C.loc["c", "c"] == 1
    assert C.loc["never"].isna().all()
    assert C.loc["a", "never"] == 0


def test_co_occurrence_equals_a_slow_loop():
    t = pd.DataFrame(np.random.default_rng(0).random((60, 7)) < 0.3, columns=list("abcdefg"))
    for i in t:
        for j in t:
            assert tags.co_occurrence(t).loc[i, j] == pytest.approx((t[i] & t[j]).sum() / t[i].sum())


def test_single_genre_clips():
    data = SimpleNamespace(
        genres=table("rock | rock pop | pop | rock").iloc[:, ::-1], descriptors=table("x y | x y z | x | x y z")
    )
    clips = tags.single_genre(data)
    assert clips.genres.to_dict() == {0: "rock", 2: "pop", 3: "rock"}
    assert clips.descriptors.index.equals(clips.genres.index)
    assert tags.single_genre(data, min_descriptors=2).genres.to_dict() == {0: "rock", 3: "rock"}
    none = tags.single_genre(data, min_descriptors=4)
    assert len(none.genres) == len(none.descriptors) == 0


# --- the real annotations -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_data):
    return datasets.load("magnatagatune", data_dir=shared_data / "magnatagatune")


@pytest.mark.real_data
def test_the_thesis_counts_come_out(real):
    assert len(real) == 25_860
    assert len(real.unusable) == 3
    assert real.tags.shape[1] == 188
    clips = tags.single_genre(real)
    assert clips.genres.value_counts().to_dict() == {
        "classic": 5_048,
        "electronic": 3_254,
        "rock": 1_269,
        "indian": 1_207,
        "metal": 484,
        "pop": 418,
        "country": 335,
        "new age": 295,
    }
    assert len(clips.genres) == 12_310
    assert len(real) - len(clips.genres) == 13_550
    assert real.descriptors.shape[1] == 108
    assert real.descriptors.any(axis=1).sum() == 20_236
    assert len(tags.single_genre(real, min_descriptors=3).genres) == 5_889
    assert real.descriptors.index.equals(real.genres.index)
    assert real.tracks.index.equals(real.tags.index)


@pytest.mark.real_data
def test_without_precedence_or_with_the_missing_synonym_other_numbers_come_out(real):
    v = tags.vocabulary()
    genres = tags.Vocabulary(v.synonyms, v.genres, v.excluded).genre_table(real.tags)
    assert ((genres.sum(axis=1) == 1) & genres["metal"]).sum() == 12
    synonyms = v.synonyms | {"female vocals": (*v.synonyms["female vocals"], "female vocal")}
    assert tags.Vocabulary(synonyms, v.genres, v.excluded, v.precedence).descriptor_table(real.tags).shape[1] == 107


@pytest.mark.real_data
def test_the_official_split_leaks_artists(real):
    split = real.split("official")
    assert split.value_counts().to_dict()["test"] == 5_329
    train = leakage(split.replace("validation", "left out"), real.tracks).set_index("part").loc["test"]
    assert train["clips"] == 5_329
    assert train["track"] == 0
    assert train["album"] == 0
    assert train["artist"] == pytest.approx(0.616, abs=5e-4)
    top = tags.top(real.tags, 50)
    assert (~top.loc[split.index[split == "test"]].any(axis=1)).mean() == pytest.approx(0.187, abs=5e-4)


@pytest.mark.real_data
def test_an_artist_split_of_the_real_tracks_leaks_nobody(real):
    split = real.split("artist", shares={"train": 0.7, "validation": 0.1, "test": 0.2}, seed=1)
    shares = split.value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.02)
    assert shares["test"] == pytest.approx(0.2, abs=0.02)
    assert (leakage(split, real.tracks)[["track", "album", "artist"]] == 0).all(axis=None)


@pytest.mark.parametrize(
    ("tag", "genre"),
    [
        ("classical", "classic"),
        ("heavy metal", "metal"),
        ("dance", "electronic"),
        ("genre---newage", "new age"),
        ("genre---world", "world"),
        ("Hip-Hop", "hip hop"),
        ("genre---hiphop", "hip hop"),
        ("jazz", "jazz"),
        ("english", None),
        ("not classical", None),
        ("instrument---guitar", None),
        ("ambient", None),
        ("beat", None),
    ],
)
def test_genres_among_the_tags_of_any_data_set(tag, genre):
    assert tags.genre_of(tag) == genre


def test_no_descriptor_of_the_vocabulary_is_a_genre(shared_data):
    data = datasets.load("magnatagatune", data_dir=shared_data / "magnatagatune")
    assert [tag for tag in data.descriptors if tags.genre_of(tag)] == []
