"""The whole audio path on real recordings: folder, decode, store, a small genre model; skips where there are none."""

import numpy as np
import pytest

from musictools import datasets, models, spectrograms, tags
from musictools.experiments import genres, jobs

FRONT_END = models.describe("ckn19").front_end


@pytest.fixture(scope="module")
def songs(shared_data):
    folder = shared_data / "gtzan" / "prefix15"
    if not folder.is_dir():
        pytest.skip(f"no real songs here: {folder} is no folder")
    return datasets.load("folder", data_dir=folder)


@pytest.fixture(scope="module")
def store(songs, tmp_path_factory):
    return spectrograms.open_store(songs, FRONT_END, folder=tmp_path_factory.mktemp("store"), workers=2)


def test_every_song_is_decoded(songs, store):
    assert songs.genres.shape[1] == 10
    assert songs.genres.sum(axis=1).eq(1).all()
    assert songs.validate() == ({}, {})
    assert store.failed == {}
    assert len(store) == len(songs.tracks) >= 90
    for clip_id in songs.tracks.index[::17]:
        y, sr = songs.audio(clip_id, sr=16000)
        assert sr == 16000
        assert 14 <= len(y) / sr <= 21
        S = store[clip_id]
        assert S.shape == (128, FRONT_END.n_frames(len(y)))
        np.testing.assert_allclose(S, FRONT_END.compute(y), atol=0.24)  # 8 bits
        assert np.ptp(S) > 30  # music, not silence


def test_a_small_model_learns_genres_of_real_songs(songs, store, tmp_path):
    known = tags.single_genre(songs).genres
    known = known[known.isin(["classical", "metal", "hiphop"])]
    job = jobs.Job(model="ckn19", data="all", split="random", protocol="callbacks")
    tasks = genres.tasks(
        songs,
        known,
        [job],
        store,
        classes=sorted(known.unique()),
        limits={"all": 10},
        hold_out=0,
        test_share=0.3,
        epochs=8,
        batch_size=16,
        learning_rate=0.001,
        length=128,
        step=64,
        width=0.1,
        norm_momentum=0.8,
        validation_share=0.2,
    )
    (result,) = jobs.run(tasks, folder=tmp_path, workers=1)
    labels, predicted = genres.decisions(result, known)
    assert len(labels) == 9
    assert (labels == predicted).mean() >= 0.6  # chance: 0.33
    assert result.history["loss"].iloc[-1] < 0.7 * result.history["loss"].iloc[0]


def test_recordings_of_every_kind_are_decoded(shared_data, tmp_path):
    folder = shared_data / "songs"
    files = sorted([*folder.glob("*.ogg"), *folder.glob("*.mp3")])
    if not files:
        pytest.skip(f"no real songs here: {folder} holds none")
    rows = ["path,genre"]
    for number, path in enumerate(files):  # music, speech and animals; names with commas need quotes
        (tmp_path / f"{number}{path.suffix}").symlink_to(path)
        rows.append(f"{number}{path.suffix},{'music' if number % 2 else 'other'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = datasets.load("folder", data_dir=tmp_path)
    assert data.validate() == ({}, {})
    store = spectrograms.open_store(data, FRONT_END, folder=tmp_path / "store", workers=2)
    assert store.failed == {}
    assert store.ids == list(data.tracks.index)
    for clip_id in store.ids:
        S = store[clip_id]
        assert np.isfinite(S).all()
        assert S.max() - S.min() > 20
