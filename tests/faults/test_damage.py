"""Files of a store, a manifest, a model that were damaged: it is said, and what can be made again is made again."""

import json
import re
import shutil
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from musictools import files, runs
from musictools.models.card import ModelCard
from musictools.runs import manifests
from musictools.spectrograms import FrontEnd, SpectrogramStore

FRONT_END = FrontEnd(8000, 256, 128, 8)
SAID = r"damaged|built again"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for number in range(18):  # two blocks of rows; one clip is silent, one is no audio
        soundfile.write(folder / f"{number}.wav", rng.uniform(-0.5, 0.5, 3000) * (number != 3), 8000)
    (folder / "5.wav").write_bytes(b"no audio")
    return {number: folder / f"{number}.wav" for number in range(18)}


def build(folder, clips):
    return SpectrogramStore.build(folder, clips, front_end=FRONT_END, seconds=1, workers=1)


@pytest.fixture(scope="module")
def store(clips, tmp_path_factory):
    return build(tmp_path_factory.mktemp("store") / "a.zarr", clips)


@pytest.fixture
def copy(store, tmp_path):
    return shutil.copytree(store.folder, tmp_path / "a.zarr")


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "first byte": lambda path: flipped(path, 0),
    "middle byte": lambda path: flipped(path, path.stat().st_size // 2),
    "last byte": lambda path: flipped(path, -1),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "other bytes": lambda path: path.write_bytes(bytes(range(256))),
}


FEW = ("middle byte", "missing")


def same_rows(there, store):
    assert there.ids == store.ids
    for number in store.ids:
        np.testing.assert_array_equal(there.raw(number), store.raw(number))


@pytest.mark.parametrize("damage", [n if n in FEW else pytest.param(n, marks=pytest.mark.full) for n in DAMAGES])
@pytest.mark.parametrize("name", ["zarr.json", "S/zarr.json", "S/c.2.0.0", "rows/zarr.json", "rows/c.1.0"])
def test_a_damaged_store_gives_the_same_rows_and_says_what_it_made_again(store, copy, clips, name, damage):
    (copy / "rows.bin").unlink()  # the list of rows would make up for the rows' own entries
    DAMAGES[damage](copy / name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        same_rows(build(copy, clips), store)
    wanted = not (name == "rows/c.1.0" and damage == "missing")  # then its rows are absent, as after a killed build
    assert any(str(warning.message).startswith(str(copy)) for warning in said) or not wanted, said
    with warnings.catch_warnings(action="error"):
        same_rows(SpectrogramStore(copy), store)


@pytest.mark.parametrize("name", ["rows.bin", "failed.json"])
@pytest.mark.parametrize("damage", FEW)
def test_files_that_save_time_may_be_damaged(store, copy, clips, name, damage):
    DAMAGES[damage](copy / name)
    same_rows(build(copy, clips), store)


@pytest.mark.full
def test_bytes_of_a_row_and_of_the_description_count(store, copy, clips):
    (copy / "rows.bin").unlink()
    for name, step in (("S/c.2.0.0", 31), ("rows/c.0.0", 13), ("zarr.json", 53), ("S/zarr.json", 97)):
        content = (copy / name).read_bytes()
        for place in range(0, len(content), step):
            flipped(copy / name, place)
            with warnings.catch_warnings(action="ignore"):
                same_rows(build(copy, clips), store)
            shutil.rmtree(copy)
            shutil.copytree(store.folder, copy)
            (copy / "rows.bin").unlink()


def test_without_the_audio_a_damaged_row_is_refused(store, copy):
    flipped(copy / "S" / "c.2.0.0", 30)
    with pytest.raises(
        ValueError, match=r"a\.zarr: the spectrogram of clip 2 is damaged: it does not fit its checksum"
    ):
        SpectrogramStore(copy).raw(2)
    flipped(copy / "zarr.json", 200)
    with pytest.raises(ValueError, match=r"a\.zarr: the description of the store is damaged .* build it again"):
        SpectrogramStore(copy)


def test_the_audio_of_a_damaged_row_must_be_as_long_as_before(copy, clips, tmp_path):
    flipped(copy / "S" / "c.2.0.0", 30)
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(1000), 8000)
    with (
        pytest.warns(UserWarning, match=r"clip 2 is damaged.* computed again from .*short\.wav"),
        pytest.raises(ValueError, match=r"short\.wav: 8 frames, 24 when the store was built"),
    ):
        build(copy, clips | {2: short}).raw(2)


def test_a_folder_of_something_else_is_not_touched(tmp_path, clips):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"a\.zarr: is neither empty nor a spectrogram store"):
        build(tmp_path / "a.zarr", clips)
    assert [path.name for path in (tmp_path / "a.zarr").iterdir()] == ["thesis.tex"]


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    run = runs.start(tmp_path / "demo", notebook="02_train", parameters={})
    run.path("tables", "genres").write_text("genre,clips\nrock,3\n")
    run.model_path("network").write_bytes(bytes(range(256)))
    run.card("network", ModelCard(task="genre", model="t", outputs=["a"], length=1, step=1, front_end=None))
    run.say("An answer.")
    run.finish()
    return run


def test_no_flipped_bit_of_a_record_passes(finished):
    path = manifests.record_path(finished.output_dir, "02_train")
    whole, content = manifests.read_record(finished.output_dir, "02_train"), path.read_bytes()
    for place in range(0, len(content), 5):
        flipped(path, place)
        there = manifests.read_record(finished.output_dir, "02_train")
        if there is not None:  # the name of the checksum itself was hit, or a blank between entries
            assert {name: there[name] for name in whole} == whole
        path.write_bytes(content)
    path.write_bytes(content[:-20])
    with pytest.raises(FileNotFoundError, match="02_train has no finished results"):
        runs.start(finished.output_dir, notebook="03_use", parameters={}).upstream("02_train")
    assert list(manifests.read_records(finished.output_dir)) == ["03_use"]


@pytest.mark.parametrize("name", ["tables/genres.csv", "models/network.keras", "cards/network.json"])
def test_results_that_changed_are_not_read(finished, name):
    flipped(finished.output_dir / name, 40 if name.startswith("cards") else 3)
    upstream = runs.start(finished.output_dir, notebook="03_use", parameters={}).upstream("02_train")
    with pytest.raises(ValueError, match=rf"{name} is not as 02_train wrote it: .* --profile demo --only 02"):
        upstream.model_path("network") if "network" in name else upstream.table("genres")


def test_a_card_knows_its_model(finished):
    path = finished.output_dir / "models" / "network.keras"
    card = ModelCard.read(path)
    assert card.model_sha256 == manifests.file_digest(path)
    flipped(path, 100)
    with pytest.raises(ValueError, match=r"network\.keras is damaged or not the model that its card .* describes"):
        ModelCard.read(path)
    assert card.write(path) == path.with_suffix(".json")
    assert ModelCard.read(path).outputs == ("a",)


def test_the_merged_manifest_is_written_again(finished):
    merged = finished.output_dir / "manifest.json"
    content = merged.read_bytes()
    merged.write_text("{")
    manifests.merge(finished.output_dir)
    assert merged.read_bytes() == content


def test_cached_results_are_computed_again_where_a_byte_differs(tmp_path):
    calls = []

    def compute(folder):
        calls.append(folder)
        (folder / runs.PROGRESS).mkdir(parents=True, exist_ok=True)
        (folder / "more.txt").write_text("more")
        (folder / ".tmp-999999-a").touch()  # of a writer that was killed meanwhile
        return np.arange(300)

    def call():
        return runs.cached(compute, folder=tmp_path, name="a", depends_on=1).tolist()

    assert call() == list(range(300))
    [place] = tmp_path.iterdir()
    assert not (place / runs.PROGRESS).exists()
    for place_of_byte in range(0, (place / "result.joblib").stat().st_size, 197):
        flipped(place / "result.joblib", place_of_byte)
        with pytest.warns(UserWarning, match=r"result\.joblib is damaged \(.*\)\. The result is computed again"):
            assert call() == list(range(300))
    before = len(calls)
    (place / runs.PROGRESS).mkdir()  # a process was killed at the very end
    assert call() == list(range(300))
    assert len(calls) == before
    assert not (place / runs.PROGRESS).exists()


def test_a_model_is_saved_with_equal_bytes_at_any_time(tmp_path, monkeypatch):
    import time

    def save(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3", "date_saved": str(time.time_ns())}))
            with archive.open("model.weights.h5", "w") as file:
                file.write(b"weights")

    files.save_model(tmp_path / "a.keras", SimpleNamespace(save=save))
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((2040, 1, 1, 0, 0, 0, 0, 1, 0)))
    files.save_model(tmp_path / "b.keras", SimpleNamespace(save=save))
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_addresses_in_memory_are_not_saved(tmp_path):
    import keras

    from musictools import models

    def addressed(offset):
        """Save a network as another process would: objects that layers share have other addresses there."""

        def save(path):
            model.save(tmp_path / "plain.keras")
            with zipfile.ZipFile(tmp_path / "plain.keras") as plain, zipfile.ZipFile(path, "w") as archive:
                for name in plain.namelist():
                    text = plain.read(name)
                    if name == "config.json":
                        assert b"shared_object_id" in text
                        text = re.sub(
                            rb'("shared_object_id": )(\d+)', lambda m: m[1] + b"%d" % (int(m[2]) + offset), text
                        )
                    archive.writestr(name, text)

        return SimpleNamespace(save=save)

    model = models.build("se_cnn", n_outputs=3, width=0.05, seed=0, input_shape=(16, 64, 1))
    for name, offset in (("a", 0), ("b", 4096)):
        files.save_model(tmp_path / f"{name}.keras", addressed(offset))
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    x = np.random.default_rng(0).random((2, 16, 64, 1), dtype=np.float32)
    read = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(read.predict(x, verbose=0), model.predict(x, verbose=0))
