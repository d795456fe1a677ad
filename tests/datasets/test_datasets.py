"""Loaders on miniature data sets in the official layouts, splits on random data, leakage by hand."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import datasets, models, spectrograms, training
from musictools.datasets import magnatagatune

SR = 16000


def tone(frequency, *, seconds=0.5):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(SR * seconds)) / SR)).astype(np.float32)


# --- MagnaTagATune --------------------------------------------------------------------------------------------------

CLIPS = [  # clip_id, path, artist, album, track_number, tags
    (2, "0/ann-one-01-a-0-29.mp3", "Ann", "One", 1, {"rock", "drum"}),
    (6, "0/ann-one-01-a-29-58.mp3", "Ann", "One", 1, {"rock", "metal"}),
    (10, "b/bob-two-03-b-0-29.mp3", "Bob", "Two", 3, {"classical", "violin", "strings"}),
    (11, magnatagatune.EMPTY[0], "Norine Braun", "Now And Zen", 8, {"pop"}),
    (12, "c/ann-three-01-c-0-29.mp3", "Ann", "Three", 1, set()),
    (20, "d/cyd-four-01-d-0-29.mp3", "Cyd", "Four", 1, {"techno", "beats"}),
    (21, "f/cyd-four-02-e-0-29.mp3", "Cyd", "Four", 2, {"pop", "drums"}),
]
TAGS = ["rock", "drum", "drums", "metal", "classical", "violin", "strings", "pop", "techno", "beats"]


def miniature(folder, *, subfolder="", with_audio=True):
    """MagnaTagATune with seven clips: 11 is empty as in the original, 20 is missing, 21 is garbage."""
    folder.mkdir(exist_ok=True, parents=True)
    annotations = pd.DataFrame(
        [[i, *(int(t in tags) for t in TAGS), path] for i, path, *_, tags in CLIPS],
        columns=["clip_id", *TAGS, "mp3_path"],
    )
    annotations.to_csv(folder / "annotations_final.csv", sep="\t", index=False, quoting=2)
    info = pd.DataFrame(
        [
            [i, n, f"Song {n}", artist, album, "http://x", 0, 29, "http://y", path]
            for i, path, artist, album, n, _ in [*CLIPS[::-1], (99, "9/x.mp3", "Eve", "Five", 1, ())]
        ],
        columns=[
            "clip_id",
            "track_number",
            "title",
            "artist",
            "album",
            "url",
            "segmentStart",
            "segmentEnd",
            "original_url",
            "mp3_path",
        ],
    )
    info.to_csv(folder / "clip_info_final.csv", sep="\t", index=False)
    for i, path, *_ in CLIPS if with_audio else ():
        file = folder / subfolder / path
        file.parent.mkdir(exist_ok=True, parents=True)
        if i in (11, 21):
            file.write_bytes(b"" if i == 11 else np.random.default_rng(0).bytes(3000))
        elif i != 20:
            soundfile.write(file, tone(100 * i), SR)
    return folder


@pytest.mark.parametrize("subfolder", ["", "mp3"])
def test_magnatagatune_is_read(tmp_path, subfolder):
    data = datasets.load("magnatagatune", data_dir=miniature(tmp_path, subfolder=subfolder))
    assert list(data.tracks.index) == [2, 6, 10, 12, 20, 21]
    assert list(data.unusable) == [11]
    for frame in (data.tags, data.genres, data.descriptors):
        assert frame.index.equals(data.tracks.index)
        assert frame.dtypes.eq(bool).all()
    assert list(data.tags.columns) == TAGS
    for i, _, artist, album, _, tags in CLIPS:
        if i != 11:
            assert set(data.tags.columns[data.tags.loc[i]]) == tags
            assert (data.tracks.at[i, "artist"], data.tracks.at[i, "album"]) == (artist, album)
    assert data.genres.loc[6, "metal"]
    assert not data.genres.loc[6, "rock"]
    assert set(data.descriptors.columns) == {"drums", "violin", "string", "beat"}
    assert data.tracks.at[2, "track"] == data.tracks.at[6, "track"] != data.tracks.at[10, "track"]
    y, sr = data.audio(10)
    assert sr == SR
    assert np.abs(np.fft.rfft(y)).argmax() * sr / len(y) == pytest.approx(1000, abs=3)


def test_magnatagatune_validates_every_file_of_the_archive(tmp_path):
    missing, invalid = datasets.load("magnatagatune", data_dir=miniature(tmp_path)).validate()
    assert set(missing) == {20}
    assert missing[20].endswith("cyd-four-01-d-0-29.mp3")
    assert set(invalid) == {11, 21}
    assert "empty (0 bytes)" in invalid[11]
    assert "not an audio file" in invalid[21]


def test_magnatagatune_without_audio_has_everything_else(tmp_path):
    data = datasets.load("magnatagatune", data_dir=miniature(tmp_path, with_audio=False))
    assert not data.has_audio
    assert data.genres["rock"].sum() == 1
    assert len(data.validate()[0]) == 7


def test_the_official_split_goes_by_folder(tmp_path):
    data = datasets.load("magnatagatune", data_dir=miniature(tmp_path, with_audio=False))
    assert data.split("official").to_dict() == {
        2: "train",
        6: "train",
        10: "train",
        12: "validation",
        20: "test",
        21: "test",
    }
    assert data.split("official", ids=[20, 2]).to_dict() == {2: "train", 20: "test"}


def test_checksums_follow_the_files_and_not_the_place(tmp_path):
    first = datasets.load("magnatagatune", data_dir=miniature(tmp_path / "a"))
    second = datasets.load("magnatagatune", data_dir=miniature(tmp_path / "b"))
    assert first.checksum() == second.checksum()
    assert first.tables_checksum == second.tables_checksum
    assert first.checksum([2]) != first.checksum([6]) != first.checksum()
    before = first.checksum()
    shutil.copy(first.path(10), first.path(2))
    assert first.checksum() != before


# --- GTZAN ----------------------------------------------------------------------------------------------------------


def tiny_gtzan(folder, *, suffix=".wav", genres="genres", numbers=range(3)):
    for k, genre in enumerate(("blues", "jazz")):
        (folder / genres / genre).mkdir(parents=True)
        for n in numbers:
            soundfile.write(
                folder / genres / genre / f"{genre}.{n:05d}{suffix}",
                tone(200 * (k + 1)),
                SR,
                **({"subtype": "PCM_16"} if suffix == ".au" else {}),
            )
    return folder


@pytest.mark.parametrize(("suffix", "genres"), [(".au", "genres"), (".wav", "genres_original"), (".ogg", "")])
def test_gtzan_is_read_in_all_its_layouts(tmp_path, suffix, genres):
    data = datasets.load("gtzan", data_dir=tiny_gtzan(tmp_path, suffix=suffix, genres=genres))
    assert list(data.tracks.index) == [f"{g}.{n:05d}" for g in ("blues", "jazz") for n in range(3)]
    assert data.genres.loc["jazz.00001"].to_dict() == {"blues": False, "jazz": True}
    y, sr = data.audio("jazz.00002", sr=8000)
    assert sr == 8000
    assert np.abs(np.fft.rfft(y)).argmax() * sr / len(y) == pytest.approx(400, abs=3)
    missing, invalid = data.validate()
    assert len(missing) == 994
    assert "blues.00003" in missing
    assert "blues.00000" not in missing
    assert data.clip_seconds() == pytest.approx(0.5)


def test_gtzan_names_a_file_that_is_broken(tmp_path):
    data = datasets.load("gtzan", data_dir=tiny_gtzan(tmp_path, suffix=".au"))
    (tmp_path / "genres" / "jazz" / "jazz.00001.au").write_bytes(b"garbage" * 100)
    assert "no AU header" in data.validate()[1]["jazz.00001"]
    assert data.clip_seconds() == pytest.approx(0.5)


@pytest.mark.parametrize("place", [".", "..", "../gtzan"])
def test_gtzan_takes_the_fault_filtered_lists(tmp_path, place):
    folder = tiny_gtzan(tmp_path / "songs")
    (folder / place).mkdir(exist_ok=True)
    for name, content in {
        "train": "blues/blues.00000.wav\njazz/jazz.00001.wav\n\n",
        "valid": "blues/blues.00002.wav\n",
        "test": "jazz/jazz.00000.wav\nrock/rock.00099.wav",
    }.items():
        (folder / place / f"fault_filtered_{name}.txt").write_text(content)
    data = datasets.load("gtzan", data_dir=folder)
    assert data.split("fault_filtered").to_dict() == {
        "blues.00000": "train",
        "jazz.00001": "train",
        "blues.00002": "validation",
        "jazz.00000": "test",
    }


@pytest.mark.real_data
def test_the_real_spectrograms_and_their_fault_filtered_lists(shared_data):
    data = datasets.load("gtzan_spectrograms", data_dir=shared_data / "gtzan_spectrograms")
    assert len(data) == 999
    counts = data.split("fault_filtered").value_counts().to_dict()
    assert counts == {"train": 442, "validation": 197, "test": 290}  # the one song of 1,000 that is not here was listed
    lists = [shared_data / "gtzan" / f"fault_filtered_{n}.txt" for n in ("train", "valid", "test")]
    assert [len(f.read_text().split()) for f in lists] == [443, 197, 290]
    assert (data.tracks["nearest_shading"] == 1).sum() == 38
    assert data.validate() == ({}, {})
    store = spectrograms.open_store(data, models.describe("ckn19").front_end)
    assert store["rock.00000"].shape == (128, 496)
    assert store["rock.00000"].max() <= 1


@pytest.mark.real_data
def test_real_audio_goes_from_file_to_trained_model(shared_data, tmp_path):
    """Decode, store, train, on real songs: the fit must tell classical music from metal, learnt by heart."""
    data = datasets.load("gtzan", data_dir=shared_data / "gtzan" / "prefix15")
    chosen = [f"{g}.{n:05d}" for g in ("classical", "metal") for n in range(8)]
    front_end = spectrograms.FrontEnd(11025, 512, 512, 32)
    store = spectrograms.open_store(data, front_end, ids=chosen, folder=tmp_path, workers=1)
    assert not store.failed
    x = spectrograms.Segments(store, chosen, length=32, step=96)
    labels = np.array([c.startswith("metal") for c in chosen], int)[x.clip]
    model = models.build("ckn19", n_outputs=2, input_shape=(32, 32, 1), width=0.05, seed=0)
    history = training.fit(model, x, np.eye(2)[labels], epochs=6, batch_size=8, best_by="loss")
    assert history["accuracy"].iloc[-1] > 0.8


# --- stored spectrograms --------------------------------------------------------------------------------------------


def test_spectrograms_may_be_stored(tmp_path):
    spec = np.random.default_rng(0).integers(0, 256, (4, 8, 30), dtype=np.uint8)
    spec[2] = 7
    np.savez(
        tmp_path / "songs.npz",
        spec=spec,
        name=["a", "b", "c", "d"],
        genre=["rock", "jazz", "rock", "polka"],
        shade=np.arange(4),
        unrelated=np.arange(9),
    )
    data = datasets.load("gtzan_spectrograms", data_dir=tmp_path)
    assert list(data.genres.columns) == ["jazz", "rock", "polka"]
    assert data.genres.sum().to_dict() == {"jazz": 1, "rock": 2, "polka": 1}
    assert data.tracks["shade"].to_list() == [0, 1, 2, 3]
    assert "unrelated" not in data.tracks
    assert data.validate() == ({}, {"c": "the spectrogram is constant"})
    assert data.split_kinds == ("random",)
    store = spectrograms.open_store(data, models.describe("ckn19").front_end)
    np.testing.assert_allclose(store["b"], spec[1] / 255, rtol=1e-6)
    with pytest.raises(ValueError, match="has no audio files"):
        data.audio("a")


# --- folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_genres(tmp_path):
    for path in ("rock/a.wav", "rock/Band/b.flac", "polka/c.ogg", ".hidden/d.wav", "rock/._a.wav", "rock/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("txt"):
            (tmp_path / path).write_text("no song")
        else:
            soundfile.write(tmp_path / path, tone(300), SR)
    data = datasets.load("folder", data_dir=tmp_path)
    assert list(data.tracks.index) == ["polka/c.ogg", "rock/Band/b.flac", "rock/a.wav"]
    assert data.tracks["artist"].to_list() == ["", "Band", ""]
    assert data.genres.loc["rock/a.wav"].to_dict() == {"polka": False, "rock": True}
    assert data.validate() == ({}, {})
    assert len(data.audio("rock/Band/b.flac")[0]) == 8000


def test_a_folder_with_labels(tmp_path):
    (tmp_path / "labels.csv").write_text(
        "path,genre,artist,tags\na.wav,rock;pop,Ann,drums; loud\nb.wav,,Ann,\nc.wav,jazz,,loud;jazz\n"
    )
    soundfile.write(tmp_path / "a.wav", tone(300), SR)
    data = datasets.load("folder", data_dir=tmp_path)
    assert list(data.genres.columns) == ["jazz", "pop", "rock"]
    assert data.genres.to_numpy().astype(int).tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert list(data.descriptors.columns) == ["drums", "loud"]
    assert data.descriptors.to_numpy().astype(int).tolist() == [[1, 1], [0, 0], [0, 1]]
    assert set(data.tags.columns) == {"drums", "loud", "jazz", "pop", "rock"}
    missing, invalid = data.validate()
    assert set(missing) == {"b.wav", "c.wav"}
    assert invalid == {}


def test_data_sets_split_themselves(tmp_path):
    data = datasets.load("magnatagatune", data_dir=miniature(tmp_path, with_audio=False))
    split = data.split("artist", shares={"train": 0.5, "test": 0.5}, seed=0)
    assert split.groupby(data.tracks["artist"]).nunique().max() == 1
    assert set(data.split("random", ids=[2, 10, 20, 21], shares={"x": 0.5, "y": 0.5}).index) == {2, 10, 20, 21}
    assert data.split("random").isin(["train", "test"]).all()


def test_every_data_set_says_where_it_comes_from():
    known = datasets._classes()
    assert list(datasets.available()) == list(known)
    here = {
        "composed",
        "folder",
        "gtzan",
        "gtzan_spectrograms",
        "magnatagatune",
        "million_song",
        "mir1k",
        "mtg_jamendo",
    }
    assert here <= set(known), "adding a data set must not break this test"
    for cls in known.values():
        assert cls.description
        assert cls.licence
        assert cls.where
        assert cls.__module__.startswith("musictools.datasets")
