"""FMA: a miniature in the official layout, bad input, faulty files, and the real table of the small subset."""

import csv

import numpy as np
import pandas as pd
import pytest

from musictools import audio, datasets
from musictools.datasets import fma

COLUMNS = [
    ("album", "title"),
    ("album", "tracks"),
    ("artist", "name"),
    ("set", "split"),
    ("set", "subset"),
    ("track", "genre_top"),
    ("track", "genres_all"),
    ("track", "title"),
]
TRACKS = {  # track id: the columns above
    2: ("AWOL - A Way Of Life", 7, "AWOL", "training", "small", "Hip-Hop", "[21]", "Food"),
    5: ("AWOL - A Way Of Life", 7, "AWOL", "training", "small", "Hip-Hop", "[21, 542]", "This World, again"),
    10: ("Constant Hitmaker", 2, "Kurt Vile", "validation", "small", "Pop", "[10]", "Freeway"),
    140: ("", 1, "", "test", "small", "Folk", "[17]", ""),
    200: ("Boil", 3, "Ärzte", "test", "medium", "Rock", "[12, 66]", "The\nend"),
    98565: ("", 1, "", "test", "small", "Hip-Hop", "[21]", ""),
    100000: ("Boil", 3, "Ärzte", "training", "large", "", "[]", "None"),
}
GENRES = {21: "Hip-Hop", 542: "Christian Rap", 10: "Pop", 17: "Folk", 12: "Rock", 66: "Metal"}
ECHONEST = {5: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 92.5, 0.7], 200: [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 120.0, 0.3]}


def written(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def layout(folder, *, tracks=TRACKS, columns=COLUMNS, genres=GENRES, echonest=ECHONEST):
    """Write FMA's tables as the official files are: rows of names, then one with the name of the index only."""
    tables, blank = folder / "fma_metadata", [""] * len(columns)
    head = [["", *names] for names in zip(*columns, strict=True)]
    written(tables / "tracks.csv", [*head, ["track_id", *blank], *([n, *row] for n, row in tracks.items())])
    if genres:
        rows = [["genre_id", "#tracks", "parent", "title", "top_level"]]
        written(tables / "genres.csv", rows + [[n, 1, 0, title, n] for n, title in genres.items()])
    if echonest:
        extra = ("echonest", "metadata", "album_name")
        names = [("echonest", "audio_features", name) for name in fma.FEATURES] + [extra]
        head = [["", *part] for part in zip(*names, strict=True)]
        rows = [[n, *values, "album"] for n, values in echonest.items()]
        written(tables / "echonest.csv", [*head, ["track_id", *[""] * len(names)], *rows])
    return folder


def test_tables_of_the_miniature(tmp_path):
    data = datasets.load("fma", data_dir=layout(tmp_path))
    assert list(data.tracks.index) == ["000002", "000005", "000010", "000140", "098565"]
    first = data.tracks.loc["000002"]
    assert first[["artist", "album", "title", "path"]].tolist() == [
        "AWOL",
        "AWOL - A Way Of Life",
        "Food",
        "000/000002.mp3",
    ]
    assert data.path("098565") == tmp_path / "fma_small" / "098" / "098565.mp3"
    assert {genre: list(data.genres.index[data.genres[genre]]) for genre in data.genres} == {
        "Folk": ["000140"],
        "Hip-Hop": ["000002", "000005", "098565"],
        "Pop": ["000010"],
    }
    assert list(data.tags) == ["Folk", "Hip-Hop", "Pop", "Christian Rap"]
    assert list(data.tags.index[data.tags["Christian Rap"]]) == ["000005"]
    for table in (data.tags, data.genres, data.descriptors):
        assert table.index.equals(data.tracks.index)
        assert table.dtypes.eq(bool).all()
    assert data.split("official").to_dict() == {
        "000002": "train",
        "000005": "train",
        "000010": "validation",
        "000140": "test",
        "098565": "test",
    }
    assert data.faulty == {"098565": "less than 2 s of audio"}
    assert not data.has_audio


def test_echonest_is_read_for_the_clips_that_have_it(tmp_path):
    data = datasets.load("fma", data_dir=layout(tmp_path))
    assert list(data.echonest.columns) == list(fma.FEATURES)
    assert {clip_id: row.tolist() for clip_id, row in data.echonest.iterrows()} == {"000005": ECHONEST[5]}
    medium = datasets.load("fma", data_dir=tmp_path, subset="medium")
    assert list(medium.echonest.index) == ["000005", "000200"]
    assert medium.echonest.at["000200", "tempo"] == 120
    without = datasets.load("fma", data_dir=layout(tmp_path / "without", echonest=None))
    assert without.echonest.shape == (0, 8)


def test_larger_subsets_hold_the_smaller_ones(tmp_path):
    layout(tmp_path)
    sizes = {subset: len(datasets.load("fma", data_dir=tmp_path, subset=subset)) for subset in fma.SUBSETS}
    assert sizes == {"small": 5, "medium": 6, "large": 7, "full": 7}
    large = datasets.load("fma", data_dir=tmp_path, subset="large")
    assert not large.genres.loc["100000"].any()
    assert large.tags.loc["000200"][["Rock", "Metal"]].tolist() == [True, True]
    assert large.tracks.loc["000200", ["artist", "title"]].tolist() == ["Ärzte", "The\nend"]
    (tmp_path / "fma_large").mkdir()
    assert datasets.load("fma", data_dir=tmp_path).path("000002").parts[-3] == "fma_large"  # the same clips
    assert datasets.load("fma", data_dir=tmp_path, subset="full").path("000002").parts[-3] == "fma_full"


def test_tables_may_lie_flat_and_without_genres(tmp_path):
    layout(tmp_path / "a", genres=None)
    data = datasets.load("fma", data_dir=tmp_path / "a" / "fma_metadata")
    pd.testing.assert_frame_equal(data.tags, data.genres)


def test_unknown_artists_are_not_one_artist(tmp_path):
    data = datasets.load("fma", data_dir=layout(tmp_path))
    assert data.tracks["artist"].tolist() == ["AWOL", "AWOL", "Kurt Vile", "unknown 000140", "unknown 098565"]
    split = data.split("artist", shares={"train": 0.5, "test": 0.5})
    assert split["000002"] == split["000005"]


def test_missing_short_and_damaged_files_are_listed(tmp_path):
    data_dir, rng = layout(tmp_path), np.random.default_rng(0)
    for track_id, seconds in ((2, 29.5), (5, 1.5)):
        path = data_dir / "fma_small" / "000" / f"{track_id:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, 0.1 * rng.standard_normal(round(8000 * seconds)).clip(-5, 5), sr=8000)
    (data_dir / "fma_small" / "000" / "000010.mp3").write_bytes(b"no audio at all" * 9)
    (data_dir / "fma_small" / "098").mkdir()
    (data_dir / "fma_small" / "098" / "098565.mp3").write_bytes(b"")
    data = datasets.load("fma", data_dir=data_dir)
    assert data.has_audio
    missing, invalid = data.validate()
    assert set(missing) == {"000140"}
    assert set(invalid) == {"000005", "000010", "098565"}
    assert "holds 1.5 s instead of 30 s" in invalid["000005"]
    assert data.clip_seconds() == 30
    assert data.audio("000002")[1] == 8000


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"columns": COLUMNS[:3]}, "lacks the columns set / split, set / subset, track / genre_top, track / title"),
        ({"tracks": {}}, "tracks.csv: lists no tracks of the subset 'small'"),
        ({"tracks": {2.5: TRACKS[2]}}, "track ids must be int. Got 2.5 first"),
        ({"tracks": {200: TRACKS[200]}}, "lists no tracks of the subset 'small'"),
        ({"tracks": {2: (*TRACKS[2][:6], "[999]", "x")}}, r"genres_all must be lists of ids in genres.csv \(999\)"),
        ({"tracks": {2: (*TRACKS[2][:6], "21", "x")}}, "genres_all must be lists of ids"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, change, match):
    if "columns" in change:
        change["tracks"] = {n: row[:3] for n, row in TRACKS.items()}
    with pytest.raises(ValueError, match=match):
        datasets.load("fma", data_dir=layout(tmp_path, **change))


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"fma_metadata/tracks.csv; get it from https://github.com/mdeff/fma"):
        datasets.load("fma", data_dir=tmp_path)
    with pytest.raises(ValueError, match="subset must be one of small, medium, large, full. Got 'tiny'"):
        datasets.load("fma", data_dir=layout(tmp_path), subset="tiny")
    twice = tmp_path / "fma_metadata" / "tracks.csv"
    twice.write_text(twice.read_text() + ",".join(["2", *["x"] * len(COLUMNS)]) + "\n")
    with pytest.raises(ValueError, match="track 2 stands there twice"):
        datasets.load("fma", data_dir=tmp_path)
    twice.write_text("track_id;title\n2;Food\n")
    with pytest.raises(ValueError, match=r"tracks.csv: (not a table with 2 rows|lacks the columns)"):
        datasets.load("fma", data_dir=tmp_path)


def test_the_small_subset_has_eight_genres_of_a_thousand(tmp_path, shared_data):
    """The real tracks of the small subset, written in the official layout."""
    real = pd.read_parquet(shared_data / "fma" / "fma_small_tracks.parquet").set_index("track_id")
    genres = pd.read_csv(shared_data / "fma" / "genres.csv", index_col="genre_id")["title"]
    number = {title: n for n, title in genres.items()}
    text = real[["filename", "genre_top", "title", "artist", "split"]].fillna("")
    rows = {
        n: ("", 1, row.artist, row.split, "small", row.genre_top, f"[{number[row.genre_top]}]", row.title)
        for n, row in zip(text.index, text.itertuples(), strict=True)
    }
    data = datasets.load("fma", data_dir=layout(tmp_path, tracks=rows, genres=genres.to_dict()))
    assert data.genres.sum().to_dict() == dict.fromkeys(
        ["Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock"], 1000
    )
    assert data.genres.sum(axis=1).eq(1).all()
    assert data.tracks["path"].tolist() == real.sort_index()["filename"].tolist()
    assert list(data.faulty) == [f"{n:06d}" for n in fma.FAULTY]
    split = data.split("artist")
    assert not set(data.tracks["artist"][split == "train"]) & set(data.tracks["artist"][split == "test"])
