"""MTG-Jamendo and the Million Song Dataset: miniatures in the official layouts, bad input, and the real tables."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from musictools import audio, datasets
from musictools.datasets import composed, million_song

HEAD = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
SONGS = {  # id: artist, album, part of split 0, tags; in the order of the files the longest row is not the first
    214: (14, 31, "train", ["genre---rock"]),
    215: (14, 31, "train", ["genre---pop", "genre---rock", "instrument---guitar", "mood/theme---happy"]),
    300: (15, 32, "validation", ["genre---rock", "instrument---guitar"]),
    407: (16, 33, "test", ["mood/theme---happy"]),
    1408: (16, 34, "test", ["genre---pop", "instrument---guitar", "instrument---voice", "mood/theme---sad"]),
}


def row(number, *, keep=("genre", "instrument", "mood")):
    artist, album, _, tags = SONGS[number]
    facts = [
        f"track_{number:07d}",
        f"artist_{artist:06d}",
        f"album_{album:06d}",
        f"{number % 100:02d}/{number}.mp3",
        "29.1",
    ]
    return "\t".join(facts + [tag for tag in tags if tag.startswith(tuple(keep))])


def write(path, *rows, head=HEAD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\r\n".join([head, *rows, ""]).encode())  # as the official files end their lines
    return path


def jamendo(folder, *, table="data/autotagging.tsv", splits="data/splits/split-0/", stem="autotagging_top50tags"):
    """Write the five songs in the official layout, without audio."""
    if table:
        write(folder / table, *map(row, SONGS))
    for part in ("train", "validation", "test") if splits is not None else ():
        rows = [row(n) for n, song in SONGS.items() if song[2] == part]
        write(folder / f"{splits}{stem}-{part}.tsv", *rows)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return composed.build(tmp_path_factory.mktemp("corpus") / "a", n_clips=3, seed=3, workers=2)


@pytest.fixture(scope="module")
def mp3s(corpus):
    paths = sorted(corpus.glob("?/*.mp3"))
    assert len(paths) == 3
    return paths


def place(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


# --- MTG-Jamendo ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"table": None},
        {"table": "autotagging.tsv", "splits": ""},
        {"table": None, "splits": ""},
        {"table": "data/autotagging_top50tags.tsv"},
        {"table": "autotagging.tsv", "splits": "splits/split-0/"},
    ],
)
def test_jamendo_is_read_wherever_its_tables_lie(tmp_path, layout):
    data = datasets.load("mtg_jamendo", data_dir=jamendo(tmp_path, **layout))
    assert list(data.tracks.index) == [f"track_{n:07d}" for n in SONGS]
    for number, (artist, album, _, tags) in SONGS.items():
        clip_id = f"track_{number:07d}"
        assert set(data.tags.columns[data.tags.loc[clip_id]]) == set(tags)
        facts = data.tracks.loc[clip_id, ["artist", "album", "path", "duration"]].to_list()
        assert facts == [f"artist_{artist:06d}", f"album_{album:06d}", f"{number % 100:02d}/{number}.mp3", 29.1]
    for frame in (data.tags, data.genres, data.descriptors):
        assert frame.index.equals(data.tracks.index)
        assert frame.dtypes.eq(bool).all()
    assert data.split("official").to_dict() == {f"track_{n:07d}": song[2] for n, song in SONGS.items()}
    assert data.split("official", ids=["track_0000407"]).to_dict() == {"track_0000407": "test"}


def test_jamendo_songs_may_have_several_genres(tmp_path):
    data = datasets.load("mtg_jamendo", data_dir=jamendo(tmp_path))
    assert list(data.tags.columns) == [
        "genre---pop",
        "genre---rock",
        "instrument---guitar",
        "instrument---voice",
        "mood/theme---happy",
        "mood/theme---sad",
    ]
    assert list(data.genres.columns) == ["genre---pop", "genre---rock"]
    assert data.genres.to_numpy().astype(int).tolist() == [[0, 1], [1, 1], [0, 1], [0, 0], [1, 0]]
    assert data.descriptors.equals(data.tags[data.tags.columns[2:]])


def test_jamendo_tables_of_one_category_each_are_joined(tmp_path):
    for subset, word in (("genre", "genre"), ("instrument", "instrument"), ("moodtheme", "mood")):
        rows = [row(n, keep=[word]) for n, song in SONGS.items() if any(tag.startswith(word) for tag in song[3])]
        write(tmp_path / "data" / f"autotagging_{subset}.tsv", *rows)
    joined = datasets.load("mtg_jamendo", data_dir=tmp_path)
    assert joined.split_kinds == ("random", "artist")
    whole = datasets.load("mtg_jamendo", data_dir=jamendo(tmp_path / "whole"))
    pd.testing.assert_frame_equal(joined.tags, whole.tags)
    pd.testing.assert_frame_equal(joined.tracks, whole.tracks)
    only_moods = tmp_path / "moods"
    write(only_moods / "autotagging_moodtheme.tsv", row(407))
    moods = datasets.load("mtg_jamendo", data_dir=only_moods)
    assert (moods.tags.shape, moods.genres.shape, moods.descriptors.shape) == ((1, 1), (1, 0), (1, 1))


def test_jamendo_subset_and_split_number_choose_the_official_split(tmp_path):
    jamendo(tmp_path)
    moods = tmp_path / "data/splits/split-3"
    write(moods / "autotagging_moodtheme-train.tsv", row(407, keep=["mood"]))
    write(moods / "autotagging_moodtheme-test.tsv", row(215, keep=["mood"]))
    data = datasets.load("mtg_jamendo", data_dir=tmp_path, subset="moodtheme", split_number=3)
    assert len(data) == 5
    assert data.split("official").to_dict() == {"track_0000215": "test", "track_0000407": "train"}
    assert datasets.load("mtg_jamendo", data_dir=tmp_path, split_number=4).split_kinds == ("random", "artist")
    flat = jamendo(tmp_path / "flat", splits="")  # flat files do not say which split they are: 0
    assert datasets.load("mtg_jamendo", data_dir=flat, split_number=1).split_kinds == ("random", "artist")
    jamendo(tmp_path / "whole", stem="autotagging")
    assert len(datasets.load("mtg_jamendo", data_dir=tmp_path / "whole", subset="").split("official")) == 5


def test_jamendo_keeps_a_song_without_tags_and_a_tag_that_a_split_lacks(tmp_path):
    write(tmp_path / "autotagging_top50tags-test.tsv", row(407, keep=()), row(1408))
    write(tmp_path / "autotagging_top50tags-validation.tsv", row(300) + "\t")  # an empty cell is no tag
    data = datasets.load("mtg_jamendo", data_dir=tmp_path)
    assert data.tags.sum(axis=1).to_dict() == {"track_0000300": 2, "track_0000407": 0, "track_0001408": 4}
    test = data.split("official") == "test"
    assert not data.tags.loc[test, "genre---rock"].any()


@pytest.mark.parametrize("root", ["", "audio"])
def test_jamendo_audio_is_decoded_in_full_or_low_quality(tmp_path, mp3s, root):
    jamendo(tmp_path)
    place(mp3s[0], tmp_path / root / "14/214.mp3")
    place(mp3s[1], tmp_path / root / "15/215.mp3")
    place(mp3s[0], tmp_path / root / "15/215.low.mp3")
    place(mp3s[2], tmp_path / root / "00/300.low.mp3")
    (tmp_path / root / "07").mkdir()
    (tmp_path / root / "07/407.mp3").write_bytes(b"no sound" * 100)
    data = datasets.load("mtg_jamendo", data_dir=tmp_path)
    assert data.has_audio
    for number, source in zip((214, 215, 300), mp3s, strict=True):
        y, sr = data.audio(f"track_{number:07d}")
        assert (sr, len(y)) == (composed.SR, composed.N_SAMPLES)
        np.testing.assert_array_equal(y, audio.load(source)[0])
    assert len(data.audio("track_0000300", sr=8000)[0]) == composed.N_SAMPLES // 2
    missing, invalid = data.validate()
    assert (set(missing), set(invalid)) == ({"track_0001408"}, {"track_0000407"})
    assert missing["track_0001408"].endswith("08/1408.mp3")
    assert data.clip_seconds() == pytest.approx(29.124)
    assert data.checksum(["track_0000214"]) != data.checksum(["track_0000215"])


def test_jamendo_without_audio_has_everything_else(tmp_path):
    data = datasets.load("mtg_jamendo", data_dir=jamendo(tmp_path))
    assert not data.has_audio
    assert len(data.validate()[0]) == 5
    with pytest.raises(ValueError, match="mtg_jamendo in .* has no audio files"):
        data.audio("track_0000214")


def test_jamendo_artists_are_known(tmp_path):
    data = datasets.load("mtg_jamendo", data_dir=jamendo(tmp_path))
    split = data.split("artist", shares={"train": 0.6, "test": 0.4})
    assert set(split) == {"train", "test"}
    assert split.groupby(data.tracks["artist"]).nunique().max() == 1
    leaks = datasets.leakage(data.split("official"), data.tracks).set_index("part")
    assert leaks.loc[["validation", "test"], ["track", "album", "artist"]].to_numpy().sum() == 0
    by_hand = pd.Series(["train", "test", "test", "train", "test"], index=data.tracks.index)
    leaks = datasets.leakage(by_hand, data.tracks).iloc[0]
    assert (leaks["clips"], leaks["track"]) == (3, 0)
    assert leaks["artist"] == pytest.approx(2 / 3)  # 215 by 14, 1408 by 16
    assert leaks["album"] == pytest.approx(1 / 3)  # 215 alone


def changed(folder, number, old, new):
    jamendo(folder, splits=None)
    text = (folder / "data/autotagging.tsv").read_text()
    assert old in row(number)
    (folder / "data/autotagging.tsv").write_text(text.replace(row(number), row(number).replace(old, new)))
    return folder


def unknown_song(folder):
    write(jamendo(folder) / "data/splits/split-0/autotagging_top50tags-test.tsv", row(407).replace("407", "408"))
    return folder


def song_in_two_splits(folder):
    write(jamendo(folder) / "data/splits/split-0/autotagging_top50tags-test.tsv", row(407), row(214))
    return folder


def contradiction(folder):
    jamendo(folder)
    write(folder / "data/splits/split-0/autotagging_top50tags-test.tsv", row(407).replace("artist_000016", "artist_7"))
    return folder


BAD_JAMENDO = {
    "a wrong folder": (lambda p: p, r"holds neither data/autotagging\.tsv.*get them from https://github\.com/MTG"),
    "another subset": (lambda p: jamendo(p, table=None, stem="autotagging_genre"), r"Another subset or split_number"),
    "an unknown song": (
        unknown_song,
        r"-test\.tsv: names 1 tracks that .*autotagging\.tsv does not have, for example "
        r"track_0000408\. Are table and split of one release",
    ),
    "a song in two splits": (song_in_two_splits, r"track_0000214 also stands in the split 'train'"),
    "a song twice": (
        lambda p: changed(p, 215, "track_0000215", "track_0000214"),
        r"line 3: track_0000214 stands there twice",
    ),
    "two artists": (contradiction, r"track_0000407 has \('artist_7', .*another table \('artist_000016'"),
    "a tag without category": (
        lambda p: changed(p, 300, "instrument---guitar", "guitar"),
        r"line 4: a tag must be genre---, instrument--- or mood/theme--- .* Got 'guitar'",
    ),
    "another category": (lambda p: changed(p, 300, "instrument---", "era---"), r"a tag must be .* Got 'era---guitar'"),
    "a tag without name": (lambda p: changed(p, 300, "---guitar", "---"), r"a tag must be .* Got 'instrument---'"),
    "a short row": (
        lambda p: changed(p, 407, "\t07/407.mp3\t29.1\tmood/theme---happy", ""),
        r"line 5: needs track, artist, album, path and duration.*'album_000033'\]",
    ),
    "spaces for tabs": (lambda p: changed(p, 407, "\t", "    "), r"line 5: needs track.* Got \['track_0000407    art"),
    "a path that climbs": (
        lambda p: changed(p, 407, "07/407", "../../secret"),
        r"line 5: PATH must look like 14/214\.mp3\. Got '\.\./\.\./secret\.mp3'",
    ),
    "a rooted path": (lambda p: changed(p, 407, "07/407", "/etc/407"), r"PATH must look like"),
    "no duration": (lambda p: changed(p, 407, "29.1", "long"), r"DURATION must be a positive number .* Got 'long'"),
    "an endless song": (lambda p: changed(p, 407, "29.1", "nan"), r"DURATION must be a positive number .* Got 'nan'"),
    "commas for tabs": (
        lambda p: write(p / "autotagging.tsv", head=HEAD.replace("\t", ",")).parent,
        r"first line must be TRACK_ID, .* Got 'TRACK_ID,ARTIST_ID",
    ),
    "an empty file": (lambda p: (p / "autotagging.tsv").write_text("") or p, r"first line must be .* Got nothing"),
    "no songs": (lambda p: write(p / "autotagging.tsv").parent, r"autotagging\.tsv: lists no songs"),
    "bytes": (lambda p: (p / "autotagging.tsv").write_bytes(b"\xff\xfe\x00") and p, r"not a text in UTF-8"),
}


@pytest.mark.parametrize("case", BAD_JAMENDO)
def test_bad_jamendo_is_refused_with_the_reason(tmp_path, case):
    make, message = BAD_JAMENDO[case]
    folder = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        datasets.load("mtg_jamendo", data_dir=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": "top100"}, r"subset must be one of '', 'genre', .*Got 'top100'"),
        ({"split_number": 5}, r"split_number must be an int from 0 to 4\. Got 5"),
        ({"split_number": "0"}, r"split_number must be .* Got '0'"),
        ({"top": 50}, r"mtg_jamendo takes no top"),
        ({"folder": "x"}, r"mtg_jamendo takes no folder"),
    ],
)
def test_bad_options_of_jamendo(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("mtg_jamendo", data_dir=jamendo(tmp_path), **options)


# --- Million Song Dataset -------------------------------------------------------------------------------------------

TEMPLATE = "{track_id[2]}/{track_id[3]}/{track_id[4]}/{track_id}.mp3"
TRACKS = {  # id: artist, title, folder, tags
    "TRAAAAK128F9318786": ("Ann", "One", "lastfm_train", [["rock", "100"], ["Hip-Hop", "40"], ["favorites", "2"]]),
    "TRAABCD12903CFD000": ("Ann", "Two", "lastfm_train", [["rock", 60], ["happy", 100]]),
    "TRBXYZA128F42E0001": ("Bob", "One", "lastfm_train", []),
    "TRCCCCC128F42E0002": ("Bob", "One", "lastfm_test", [["rock", "1"], ["happy", "0"], ["a;b", "7"]]),
    "TRDDDDD128F42E0003": ("Cyd", "Six", "lastfm_test", [["rock", "9"], ["rock", "8"], ["Hip-Hop", "9"]]),
}
FIRST = "lastfm_train/A/A/A/TRAAAAK128F9318786.json"


def lastfm(folder):
    """Write the five songs as Last.fm's files."""
    for track_id, (artist, title, part, tags) in TRACKS.items():
        path = folder / part / track_id[2] / track_id[3] / track_id[4] / f"{track_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(
                {
                    "artist": artist,
                    "timestamp": "2011-08-15 09:59:32.782649",
                    "similars": [],
                    "tags": tags,
                    "track_id": track_id,
                    "title": title,
                }
            )
        )
    return folder


def arrays(folder, *, tags="rock\nhappy\n", **values):
    folder.mkdir(exist_ok=True)
    (folder / "tags.txt").write_text(tags)
    for stem, y in (values or {"valid": [[0, 1], [1, 1]], "test": [[0, 1], [1, 0], [0, 0]]}).items():
        np.save(folder / f"{stem}_y.npy", np.asarray(y), allow_pickle=True)
    return folder


def test_million_songs_are_read_from_lastfm_files(tmp_path):
    data = datasets.load("million_song", data_dir=lastfm(tmp_path))
    assert list(data.tracks.index) == list(TRACKS)
    assert list(data.tags.columns) == ["rock", "Hip-Hop", "happy", "a;b", "favorites"]  # by frequency, then by name
    for track_id, (artist, title, _, tags) in TRACKS.items():
        assert set(data.tags.columns[data.tags.loc[track_id]]) == {tag for tag, _ in tags}
        assert data.tracks.loc[track_id, ["artist", "title"]].to_list() == [artist, title]
    assert list(data.genres.columns) == ["rock", "Hip-Hop"]
    assert list(data.descriptors.columns) == ["happy", "a;b", "favorites"]
    for frame in (data.tags, data.genres, data.descriptors):
        assert frame.index.equals(data.tracks.index)
        assert frame.dtypes.eq(bool).all()
    parts = {track_id: "train" if song[2] == "lastfm_train" else "test" for track_id, song in TRACKS.items()}
    assert data.split("official").to_dict() == parts


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"top": 2}, {"rock": 4, "Hip-Hop": 2}),
        ({"top": 3, "min_weight": 1}, {"rock": 4, "Hip-Hop": 2, "a;b": 1}),
        ({"min_weight": 50}, {"rock": 2, "happy": 1}),
        ({"min_weight": 8.5}, {"rock": 3, "Hip-Hop": 2, "happy": 1}),
    ],
)
def test_million_song_options_choose_the_tags(tmp_path, options, counts):
    data = datasets.load("million_song", data_dir=lastfm(tmp_path), **options)
    assert data.tags.sum().to_dict() == counts
    assert len(data) == 5


def test_million_song_audio_is_found_by_the_template(tmp_path, mp3s):
    lastfm(tmp_path)
    place(mp3s[0], tmp_path / "A/A/A/TRAAAAK128F9318786.mp3")
    place(mp3s[1], tmp_path / "B/X/Y/TRBXYZA128F42E0001.mp3")
    (tmp_path / "C/C/C").mkdir(parents=True)
    (tmp_path / "C/C/C/TRCCCCC128F42E0002.mp3").write_bytes(b"")
    data = datasets.load("million_song", data_dir=tmp_path, path_template=TEMPLATE)
    for track_id, source in (("TRAAAAK128F9318786", mp3s[0]), ("TRBXYZA128F42E0001", mp3s[1])):
        y, sr = data.audio(track_id)
        assert (sr, len(y)) == (composed.SR, composed.N_SAMPLES)
        np.testing.assert_array_equal(y, audio.load(source)[0])
    missing, invalid = data.validate()
    assert set(missing) == {"TRAABCD12903CFD000", "TRDDDDD128F42E0003"}
    assert missing["TRAABCD12903CFD000"].endswith("/A/A/B/TRAABCD12903CFD000.mp3")
    assert set(invalid) == {"TRCCCCC128F42E0002"}
    assert data.path("TRBXYZA128F42E0001") == tmp_path / "B/X/Y/TRBXYZA128F42E0001.mp3"
    with pytest.raises(ValueError, match="million_song has no clip 'TRAAAAA'"):
        data.path("TRAAAAA")


def test_million_songs_without_audio(tmp_path):
    data = datasets.load("million_song", data_dir=lastfm(tmp_path))
    assert not data.has_audio
    assert data.validate() == ({}, {})
    assert data.checksum() == data.checksum()
    for call in (data.audio, data.path):
        with pytest.raises(ValueError, match="has no audio files"):
            call("TRAAAAK128F9318786")


def test_million_song_artists_are_known(tmp_path):
    data = datasets.load("million_song", data_dir=lastfm(tmp_path))
    assert data.split("artist").groupby(data.tracks["artist"]).nunique().max() == 1
    leaks = datasets.leakage(data.split("official"), data.tracks).iloc[0]
    assert leaks["clips"] == 2
    assert leaks["artist"] == leaks["track"] == pytest.approx(1 / 2)  # Bob's "One" is there under two ids
    assert leaks["album"] == 0  # no album is known


def test_million_song_arrays(tmp_path):
    data = datasets.load("million_song", data_dir=arrays(tmp_path))
    assert list(data.tracks.index) == ["valid-000000", "valid-000001", "test-000000", "test-000001", "test-000002"]
    assert data.tags.to_numpy().astype(int).tolist() == [[0, 1], [1, 1], [0, 1], [1, 0], [0, 0]]
    assert data.split("official").to_list() == ["validation"] * 2 + ["test"] * 3
    assert data.split_kinds == ("random", "official")
    assert (list(data.genres), list(data.descriptors)) == (["rock"], ["happy"])
    assert list(datasets.load("million_song", data_dir=tmp_path, top=1).tags) == ["happy"]
    assert data.validate() == ({}, {})
    np.save(tmp_path / "train_y.npy", np.ones((4, 2), dtype=bool))
    assert (datasets.load("million_song", data_dir=tmp_path).split("official") == "train").sum() == 4


def lastfm_with(folder, **values):
    path = lastfm(folder) / FIRST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


class Trap:
    """Unpickling this fails the test."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was read",)


def pickled(folder):
    (folder / "train_list_pub.cP").write_bytes(pickle.dumps(Trap()))
    return folder


def twice(folder):
    target = lastfm(folder) / "lastfm_test/A/A/A"
    target.mkdir(parents=True)
    shutil.copy(folder / FIRST, target)
    return folder


BAD_SONGS = {
    "a wrong folder": (lambda p: p, r"holds neither lastfm_train or lastfm_test nor tags\.txt\. Is it the folder"),
    "empty folders": (lambda p: (p / "lastfm_train").mkdir() or p, r"hold no files like A/B/C/TRABC"),
    "a pickle": (pickled, r"train_list_pub\.cP is a pickle, which is not read: it could run anybody's code"),
    "a pickle called npy": (lambda p: arrays(p, test=np.array([[Trap(), 1]])), r"test_y\.npy: not an array of numbers"),
    "a song twice": (twice, r"TRAAAAK128F9318786 stands there twice"),
    "broken JSON": (lambda p: (lastfm(p) / FIRST).write_text('{"artist": ') and p, r"786\.json: not JSON"),
    "a list": (lambda p: (lastfm(p) / FIRST).write_text("[]") and p, r"must hold the texts track_id, .* Got \[\]"),
    "no title": (lambda p: lastfm_with(p, title=None), r"must hold the texts track_id, artist and title"),
    "another id": (lambda p: lastfm_with(p, track_id="TRAAAAK128F9318787"), r"track_id must be the file's name"),
    "tags that are words": (lambda p: lastfm_with(p, tags=["rock"]), r"tags must be a list of \[name, weight\]\. Got"),
    "tags without weight": (lambda p: lastfm_with(p, tags=[["rock", "much"]]), r"tags must be .* Got \[\['rock', 'mu"),
    "no arrays": (lambda p: (p / "tags.txt").write_text("rock") and p, r"none of train_y\.npy, valid_y\.npy, test_y"),
    "no tags": (lambda p: arrays(p, tags="\n"), r"must name at least one tag, each once, .* Got 0"),
    "a tag twice": (lambda p: arrays(p, tags="rock\nrock\n"), r"each once, a tag a line\. Got 2, 1 different"),
    "a tag too many": (lambda p: arrays(p, tags="a\nb\nc\n"), r"shape \(songs, 3\), as tags\.txt names 3 .* \(2, 2\)"),
    "scores": (lambda p: arrays(p, test=[[0.3, 0.7]]), r"must hold 0 and 1 only, .* Got float64 \(1, 2\)"),
    "text called npy": (lambda p: (arrays(p) / "test_y.npy").write_text("hello") and p, r"not an array of numbers"),
}


@pytest.mark.parametrize("case", BAD_SONGS)
def test_bad_million_songs_are_refused_with_the_reason(tmp_path, case):
    make, message = BAD_SONGS[case]
    folder = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        datasets.load("million_song", data_dir=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path_template": "{artist}/{track_id}.mp3"}, r"path_template may hold \{track_id\} .* Got 'artist' in"),
        ({"path_template": "{track_id.__class__}"}, r"may hold .* Got 'track_id\.__class__'"),
        ({"path_template": "{track_id[18]}/{track_id}"}, r"may hold .* Got 'track_id\[18\]'"),
        ({"path_template": "{track_id[x]}/{track_id}"}, r"may hold .* Got 'track_id\[x\]'"),
        ({"path_template": "{track_id!r}"}, r"may hold"),
        ({"path_template": "{track_id:>99}"}, r"may hold"),
        ({"path_template": "{}/{track_id}"}, r"may hold .* Got ''"),
        ({"path_template": "{track_id"}, r"has unpaired braces"),
        ({"path_template": "}{track_id}"}, r"unpaired braces"),
        ({"path_template": "a.mp3"}, r"must hold \{track_id\}, or songs share a file"),
        ({"path_template": "{track_id[2]}.mp3"}, r"must hold \{track_id\}"),
        ({"path_template": "../{track_id}.mp3"}, r"must be relative and stay in its folder, without '\.\.'"),
        ({"path_template": "a/../../{track_id}.mp3"}, r"must be relative and stay"),
        ({"path_template": "..\\{track_id}.mp3"}, r"must be relative and stay"),
        ({"path_template": "/{track_id}.mp3"}, r"must be relative and stay"),
        (
            {"path_template": {"track_id": None}},
            r"path_template must be a str\. .*command line it needs quotation marks",
        ),
        ({"top": 0}, r"top must be a positive int\. Got 0"),
        ({"top": True}, r"top must be a positive int\. Got True"),
        ({"min_weight": 101}, r"min_weight must be a number from 0 to 100\. Got 101"),
        ({"min_weight": "1"}, r"min_weight must be .* Got '1'"),
        ({"subset": "x"}, r"million_song takes no subset"),
    ],
)
def test_bad_options_of_million_songs(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("million_song", data_dir=lastfm(tmp_path), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_weight": 1}, r"min_weight must be 0 for arrays, which have no weights\. Got 1"),
        ({"path_template": TEMPLATE}, r"path_template must be empty for arrays, whose songs have no ids"),
    ],
)
def test_arrays_take_no_weight_and_no_template(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("million_song", data_dir=arrays(tmp_path), **options)


# --- the real tables ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_jamendo(shared_data, tmp_path_factory):
    """Write the real tracks, known as parquet, in the official layout with all parts of split 0."""
    table = pd.read_parquet(shared_data / "mtg_jamendo" / "tracks.parquet")
    folder = tmp_path_factory.mktemp("jamendo")
    top50 = set((shared_data / "mtg_jamendo" / "top50.txt").read_text().split())
    rows, split = [], {"train": [], "validation": [], "test": []}
    for track in table.itertuples():
        facts = [track.track_id, track.artist_id, track.album_id, track.path, str(track.duration)]
        tags = [
            f"{category}---{tag}"
            for category, names in (
                ("genre", track.genre),
                ("instrument", track.instrument),
                ("mood/theme", track.mood_theme),
            )
            for tag in names
        ]
        rows.append("\t".join(facts + tags))
        if track.split0_autotagging_top50tags in split:
            kept = [tag for tag in tags if tag in top50]
            split[track.split0_autotagging_top50tags].append("\t".join(facts + kept))
    write(folder / "data/autotagging.tsv", *rows)
    for part, lines in split.items():
        write(folder / f"data/splits/split-0/autotagging_top50tags-{part}.tsv", *lines)
    return table, datasets.load("mtg_jamendo", data_dir=folder)


@pytest.mark.real_data
def test_the_real_jamendo_is_whole(real_jamendo, shared_data):
    table, data = real_jamendo
    assert len(data) == 55_525
    categories = data.tags.columns.str.split("---").str[0].value_counts().to_dict()
    assert categories == {"genre": 87, "instrument": 41, "mood/theme": 59}
    assert data.genres.shape[1] == 87
    assert data.descriptors.shape[1] == 41 + 59
    assert (data.genres.sum(axis=1) == 1).sum() == (table["genre"].map(len) == 1).sum() == 11_946
    counts = pd.read_csv(shared_data / "mtg_jamendo" / "tag_counts.csv", keep_default_na=False)
    names = counts["category"].str.replace("_", "/") + "---" + counts["tag"]
    assert data.tags.sum().to_dict() == dict(zip(names, counts["tracks"], strict=True))
    assert data.tags.to_numpy().sum() == sum(table[c].map(len).sum() for c in ("genre", "instrument", "mood_theme"))


@pytest.mark.real_data
def test_the_real_jamendo_splits_keep_artists_apart(real_jamendo):
    _, data = real_jamendo
    split = data.split("official")
    assert split.value_counts().to_dict() == {"train": 32_136, "test": 11_356, "validation": 10_888}
    leaks = datasets.leakage(split, data.tracks)
    assert leaks[["track", "album", "artist"]].to_numpy().sum() == 0


@pytest.mark.real_data
def test_the_real_jamendo_split_files_lying_flat(real_jamendo, shared_data):
    _, whole = real_jamendo
    folder = shared_data / "mtg_jamendo"
    data = datasets.load("mtg_jamendo", data_dir=folder)
    split = data.split("official")
    assert split.value_counts().to_dict() == {"test": 11_356, "validation": 10_888}
    for part in ("test", "validation"):
        lines = (folder / f"autotagging_top50tags-{part}.tsv").read_text().splitlines()
        assert (split == part).sum() == len(lines) - 1
        assert data.tags[split == part].to_numpy().sum() == sum(line.count("---") for line in lines)
    assert list(data.tags.columns) == sorted((folder / "top50.txt").read_text().split())
    assert data.tags.equals(whole.tags.loc[data.tags.index, data.tags.columns])
    artists = data.tracks["artist"]
    assert not set(artists[split == "test"]) & set(artists[split == "validation"])
    assert datasets.leakage(split, data.tracks, train="validation")["artist"].to_list() == [0]
    assert not data.has_audio


@pytest.mark.real_data
def test_the_real_million_song_arrays(shared_data):
    data = datasets.load("million_song", data_dir=shared_data / "msd")
    assert data.split("official").value_counts().to_dict() == {"test": 28_540, "validation": 12_634}
    assert data.tags.shape == (41_174, 50)
    assert list(data.tags.columns) == (shared_data / "msd" / "tags.txt").read_text().split("\n")[:50]
    assert data.genres.shape[1] == len(million_song.GENRES) == 28  # choi2018, 3.1: 28 genres of 50 tags
    assert data.tags.any(axis=1).all()
    y = np.load(shared_data / "msd" / "test_y.npy")
    assert (data.tags.loc["test-000123"].to_numpy() == y[123]).all()
