"""Plans of profiles: they count what the experiments would really train, and say what is missing."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import zarr

from musictools import datasets, models, runs, spectrograms, tags
from musictools.experiments import calibration, data_sizes, genres, plans, structures, taggers, workloads
from musictools.runs import execution

PROFILES = sorted(path.name for path in (runs.root() / "params").iterdir() if path.is_dir())
TIMING = calibration.Timing(
    start=2.0, step=0.5, forward=0.01, parameters=1000, activations=10, maps={"input": [1, 8, 8], "pool1": [4, 4, 4]}
)


class Frames:
    """A store that knows the lengths of spectrograms only."""

    checksum = ""

    def __init__(self, data, front_end):
        self.ids, self._n = list(data.tracks.index), front_end.n_frames(round(data.clip_seconds() * front_end.sr))

    def n_frames(self, clip_id):
        return self._n


class Rates(dict):
    """The same timing for every network."""

    def __missing__(self, network):
        return TIMING


RATES = calibration.Rates(
    networks=Rates(), compose=1, decode=1, spectrogram=1, pair=1e-9, pair_cell=1e-9, forest=1e-9, machine=1e-9,
    mapping_fit=1, mapping_step=1, cores=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus():
    """Tables of a corpus with the sizes that plans assume; nothing is rendered."""
    size = data_sizes.data_size({"dataset": "composed", "n_clips": 400})
    names = [genre for genre, n in size.genres.items() for _ in range(n)]
    index = pd.Index(range(len(names)), name="clip_id")
    tracks = pd.DataFrame({"artist": [f"artist {k // 4}" for k in index], "album": "", "title": "", "path": ""}, index)
    words = pd.DataFrame({f"tag {k}": np.random.default_rng(k).random(len(index)) < 0.2 for k in range(60)}, index)
    data = datasets.Dataset(
        "", tracks=tracks, tags=words, genres=pd.get_dummies(pd.Series(names, index), dtype=bool), descriptors=words
    )
    data.clip_seconds = lambda ids=None: size.seconds
    data.split_kinds = ("random", "artist")
    return data


def parameters(profile, notebook):
    params = runs.root() / "params" / profile
    path = runs.root() / "notebooks" / f"{notebook}.ipynb"
    return runs.resolve(path, params / "common.yaml", params / f"{notebook}.yaml")


def counted(plan):
    return sum(training.count for training in plan["trainings"])


@pytest.mark.parametrize("profile", ["smoke", "demo", "thesis"])
def test_genre_trainings_are_those_of_the_grid(profile, corpus):
    p = parameters(profile, "02_train_genre_model") | {"held_out": {"hold_out": 40}}
    size = data_sizes.data_size({"dataset": "composed", "n_clips": 400})
    plan = workloads.NOTEBOOKS["02_train_genre_model"](p, size)
    single = tags.single_genre(corpus).genres
    grid = genres.grid(
        models=p["models"], limits=list(p["limits"]), callbacks=p["callbacks"], splits=p["splits"], seeds=p["seeds"]
    )
    options = {name: p[name] for name in (
        "limits", "test_share", "epochs", "batch_size", "learning_rate", "length", "step", "width", "validation_share",
    )}  # fmt: skip
    store = Frames(corpus, models.describe(p["models"][0]).front_end)
    tasks = genres.tasks(
        corpus, single, grid, store, classes=list(corpus.genres), hold_out=40, leave_out=p["leave_out"], **options
    )
    assert counted(plan) == len(tasks)
    real = sum((task.split == "train").sum() for task in tasks) * size.segments(
        p["models"][0], length=p["length"], step=p["step"]
    )
    planned = sum(training.count * training.segments for training in plan["trainings"]) / (1 - p["validation_share"])
    assert planned == pytest.approx(real, rel=0.08)
    assert {training.network.batch_size for training in plan["trainings"]} == {tasks[0].protocol.batch_size}


@pytest.mark.parametrize("profile", ["smoke", "demo", "thesis"])
def test_tagger_trainings_are_those_of_the_grid(profile, corpus):
    p = parameters(profile, "03_compare_taggers")
    plan = workloads.NOTEBOOKS["03_compare_taggers"](p, data_sizes.data_size({"dataset": "composed", "n_clips": 400}))
    names = p["models"] or list(models.names("tagger"))
    grid = taggers.grid(
        models=names, n_tags=p["n_tags"], labels=p["labels"], imbalance=p["imbalance"], extra_model=p["extra_model"]
    )
    assert counted(plan) == len(grid) + len(p["slides_models"])
    stores = {name: Frames(corpus, models.describe(name).front_end) for name in models.names("tagger")}
    labels = dict.fromkeys(("annotated", "complete"), corpus.descriptors)
    split = pd.Series(["train", "validation", "test", "hold_out"] * 80, corpus.tracks.index[:320])
    options = {name: p[name] for name in ("width", "epochs", "overrides")}
    tasks = taggers.tasks(grid, stores, labels, split, **options)
    tasks += taggers.slides_tasks(corpus, stores, models=p["slides_models"], **options)
    real = sorted(
        (task.job.model, task.width, task.protocol.batch_size, sum(phase["epochs"] for phase in task.protocol.phases))
        for task in tasks
    )
    planned = sorted(
        (t.network.model, t.network.width, t.network.batch_size, t.epochs) for t in plan["trainings"]
        for _ in range(t.count)
    )  # fmt: skip
    assert planned == real


@pytest.mark.parametrize("profile", ["smoke", "demo", "thesis"])
def test_trainings_of_structures_are_those_of_the_tasks(profile, corpus):
    p = parameters(profile, "09_compare_network_structures")
    size = data_sizes.data_size({"dataset": "composed", "n_clips": 400})
    plan = workloads.NOTEBOOKS["09_compare_network_structures"](p, size)
    split = pd.Series(["train", "validation", "test"], corpus.tracks.index[:3])
    options = {name: p[name] for name in ("sizes", "seeds", "width", "epochs", "batch_size")}
    tasks = structures.tasks(Frames(corpus, models.describe("k2c2_1m").front_end), corpus.descriptors, split, **options)
    real = sorted((task.model, task.width, task.batch_size, task.epochs) for task in tasks)
    planned = sorted(
        (t.network.model, t.network.width, t.network.batch_size, t.epochs) for t in plan["trainings"]
        for _ in range(t.count)
    )  # fmt: skip
    assert planned == real
    assert {t.segments for t in plan["trainings"]} == {p["clips"] or 280}


def test_trainings_of_preprocessings_count_an_stft_by_its_bins():
    p = parameters("demo", "10_compare_input_preprocessing")
    size = data_sizes.data_size({"dataset": "composed", "n_clips": 400})
    (training,) = workloads.NOTEBOOKS["10_compare_input_preprocessing"](p, size)["trainings"]
    on_mel, on_stft = p["initialisations"] + 12 * p["repeats"] - 1 + 1, 2
    assert training.count == round(on_mel + on_stft * 257 / 96)
    assert (training.segments, training.epochs) == (p["train_clips"], p["epochs"])


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_can_be_planned(profile):
    made = plans.make(profile)
    assert made
    assert all(plan.hours(RATES) >= 0 for plan in made)
    text = plans.report(made, RATES)
    assert "nan" not in text
    assert all(plan.notebook in text for plan in made)
    assert "Without calibration" in plans.report(made, None)


def test_shared_stores_count_once(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path))
    alone = plans.make("demo", only=["02"])[0]
    first, second = plans.make("demo", only=["01", "02"])
    assert alone.disk == first.disk
    assert second.disk == 0
    assert "compose" in first.work
    assert "compose" not in second.work


def test_stored_spectrograms_are_not_planned_again(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path))
    data = datasets.load("composed", n_clips=12, seed=3)
    front_end = models.describe("ckn19").front_end

    def plan(**more):
        return plans.make("smoke", only=["02"], parameters={"n_clips": 12, "corpus_seed": 3} | more)[0]

    whole = plan()
    assert whole.disk == data_sizes.data_size({"n_clips": 12}).store_bytes(front_end)
    assert whole.work == {"spectrogram": 12}, "the corpus is there"
    store = spectrograms.open_store(data, front_end, workers=1)
    on_disk = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    assert on_disk == pytest.approx(whole.disk, rel=0.1)
    stored = plan()
    assert (stored.disk, stored.work) == (0, {"spectrogram": 0})
    assert plan(corpus_seed=4).work == {"compose": 12, "spectrogram": 12}
    other = store.folder.rename(store.folder.with_name(f"composed-{'0' * 12}-{front_end.key}.zarr"))
    assert plan() == whole, "the store is of another corpus"
    other.rename(store.folder)
    (store.folder / "rows.bin").unlink()
    rows = zarr.open_group(store.folder, mode="r+")["rows"]
    rows[:9] = 0  # as after a build that was interrupted
    part = plan()
    assert (part.disk, part.work) == (whole.disk * 9 // 12, {"spectrogram": 9})
    zarr.open_group(store.folder, mode="r+").attrs["version"] = 1
    assert plan() == whole, "a store of another format version is built again"


def test_official_sizes_are_those_of_the_tables(shared_data):
    data = datasets.load("magnatagatune", data_dir=shared_data / "magnatagatune")
    official = data_sizes.DataSize(name="magnatagatune", **data_sizes.OFFICIAL["magnatagatune"])
    there = data_sizes.data_size({"dataset": "magnatagatune", "data_dir": str(data.folder)})
    assert dataclasses.replace(there, has_audio=True) == official


def test_a_data_set_that_is_not_here_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path))
    monkeypatch.setenv("MUSICTOOLS_SHARED_DATA", str(tmp_path / "none"))
    made = plans.make("thesis", only=["02"])
    assert made[0].clips == 25_860
    assert "magnatagatune: no such folder" in plans.obstacles(made)[0]


def test_a_data_set_without_counts_of_genres_is_planned_as_far_as_it_goes(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path))
    monkeypatch.setenv("MUSICTOOLS_SHARED_DATA", str(tmp_path / "none"))
    made = plans.make("thesis", only=["01", "02", "03"], parameters={"dataset": "million_song"})
    size = data_sizes.DataSize(name="million_song", **data_sizes.OFFICIAL["million_song"])
    assert made[0].work == {"decode": 943_347, "spectrogram": 943_347}
    assert made[0].disk == size.store_bytes(models.describe("ckn19").front_end)
    assert (made[1].trainings, made[1].missing) == ((), ("clips per genre of million_song",))
    hold_out = 2000
    left = 505_216 * (1 - hold_out / 943_347) * 0.8 * 0.9
    network = made[2].trainings[0].network.model
    assert made[2].trainings[0].segments == pytest.approx(left * size.segments(network), rel=1e-4)


def test_whole_songs_are_planned_with_their_mean_length():
    index = [f"song {k}" for k in range(1000)]
    tracks = pd.DataFrame({"artist": "", "album": "", "title": "", "path": "a.mp3", "duration": 100.0}, index)
    tracks.loc[index[::2], "duration"] = 300.0
    words = pd.DataFrame({"rock": True}, index)
    data = datasets.Dataset("", tracks=tracks, tags=words, genres=words, descriptors=words[[]])
    assert data_sizes._seconds(data) == 200.0
    asked = []
    data = datasets.Dataset("", tracks=tracks.drop(columns="duration"), tags=words, genres=words, descriptors=words[[]])
    data.clip_seconds = lambda ids: asked.extend(ids) or 7.0
    assert data_sizes._seconds(data) == 7.0
    assert asked == index[::5]


def test_a_full_disk_is_an_obstacle(monkeypatch, tmp_path):
    made = plans.make("demo", only=["02"], output_root=tmp_path)
    assert plans.obstacles(made) == []
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=0))
    assert plans.obstacles(made) == [f"about {made[0].disk / 1e9:.0f} GB of disk are needed, 0 GB are free"]
    assert plans.obstacles([dataclasses.replace(made[0], finished=True)]) == []


def test_feature_maps_count_before_a_rebuild(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path))
    made = plans.make("demo", only=["06"], output_root=tmp_path)
    networks, maps = [], made[0].map_work(RATES)[0]
    assert maps > 0
    monkeypatch.setattr(calibration, "sizes", lambda given: networks.extend(given) or RATES)
    for free, reasons, built in [
        (made[0].disk + made[0].most_map_bytes, 0, False),
        (made[0].disk + maps, 0, True),
        (made[0].disk + maps - 1, 1, True),
        (made[0].disk - 1, 1, False),  # too little even without maps
    ]:
        networks.clear()
        monkeypatch.setattr("shutil.disk_usage", lambda place, free=free: SimpleNamespace(free=free))
        assert len(plans.obstacles(made)) == reasons
        assert set(networks) == (made[0].networks if built else set())


def test_trainings_that_do_not_fit_into_the_memory_are_an_obstacle(monkeypatch):
    monkeypatch.setattr("musictools.runs.parallel.has_gpu", lambda: False)
    network = calibration.Network("ckn19", 1.0, 64, 128, 1)
    training = workloads.Training(network=network, outputs=8, count=8, epochs=1, segments=64, scored=0)
    plan = plans.NotebookPlan(notebook="02", trainings=(training,), at_once=4)
    timing = RATES.networks[network]
    each = plans.PROCESS_BYTES + 16 * timing.parameters + 8 * 64 * timing.activations
    assert plan.training_bytes(RATES) == 4 * each
    monkeypatch.setattr("musictools.runs.machine_memory", lambda: 4 * each)
    assert plans.obstacles([plan], rates=RATES) == []
    monkeypatch.setattr("musictools.runs.machine_memory", lambda: 4 * each - 1)
    (reason,) = plans.obstacles([plan], rates=RATES)
    assert reason.startswith("02: 4 trainings at once need about")
    assert "one at a time needs" in reason
    asked = []
    monkeypatch.setattr(calibration, "sizes", lambda given: asked.extend(given) or RATES)
    assert len(plans.obstacles([plan])) == 1
    assert asked == [network]
    narrow = dataclasses.replace(training, network=dataclasses.replace(network, width=0.25))
    assert plans.obstacles([dataclasses.replace(plan, trainings=(narrow,))]) == []
    assert plans.obstacles([dataclasses.replace(plan, missing=("audio",))], rates=RATES) == ["audio"]
    assert plans.obstacles([dataclasses.replace(plan, finished=True)], rates=RATES) == []
    monkeypatch.setattr("musictools.runs.parallel.has_gpu", lambda: True)
    assert plans.obstacles([plan], rates=RATES) == []


@pytest.mark.full
def test_sizes_of_networks_are_those_of_timed_ones():
    network = calibration.Network("ckn19", 0.05, 4, 64, 1)
    (counted,) = calibration.sizes([network, network]).networks.items()
    timed = calibration.time_network(network)
    assert counted == (network, dataclasses.replace(timed, start=0, step=0, forward=0))


def test_seconds_of_trainings():
    network = calibration.Network("ckn19", 1.0, 64, 128)
    training = workloads.Training(network=network, outputs=8, count=3, epochs=10, segments=640, scored=100)
    assert training.seconds(RATES) == pytest.approx(3 * (2 + 10 * 10 * 0.5 + 100 * 0.01))
    plan = plans.NotebookPlan(notebook="x", trainings=(training,), at_once=8)
    assert plan.hours(RATES) == pytest.approx(training.seconds(RATES) / 2 / 3600)  # two cores


def test_a_disk_budget_limits_feature_maps():
    p = parameters("thesis", "06_probe_feature_maps")
    size = data_sizes.data_size({"dataset": "composed", "n_clips": 400})
    fields = {
        key: value for key, value in workloads.NOTEBOOKS["06_probe_feature_maps"](p, size).items() if key != "stores"
    }
    whole = plans.NotebookPlan(notebook="06", **fields).disk_bytes(RATES)
    fields = workloads.NOTEBOOKS["06_probe_feature_maps"](p | {"disk_gb": whole / 2e9}, size)
    fields.pop("stores")
    assert plans.NotebookPlan(notebook="06", **fields).disk_bytes(RATES) == pytest.approx(whole / 2)


def test_a_network_is_timed():
    timing = calibration.time_network(calibration.Network("ckn19", 0.05, 4, 64, 1))
    assert 0 < timing.forward < 60
    assert 0 < timing.step < 60
    assert timing.start > 0
    assert list(timing.maps) == ["input", "pool1", "pool2", "pool3"]
    assert timing.parameters == models.build("ckn19", n_outputs=50, width=0.05, input_shape=(128, 64, 1)).count_params()


def test_every_notebook_of_a_profile_has_a_plan():
    params, notebooks = runs.root() / "params", runs.root() / "notebooks"
    jobs = execution.plan(
        "thesis", only=None, parameters=None, notebooks_dir=notebooks, params_dir=params, folder=runs.root() / "thesis"
    )
    assert {job.name for job in jobs} - set(workloads.NOTEBOOKS) <= {"00_index"}
