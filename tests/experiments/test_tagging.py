"""Taggers at work: protocols, divided clips, jobs, and songs with tones planted in them."""

import dataclasses
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from musictools import models, training
from musictools.datasets import splits
from musictools.datasets.base import Dataset
from musictools.datasets.composed.dataset import Composed
from musictools.experiments import genres, jobs, protocols, taggers
from musictools.experiments import tagger_tables as comparison
from musictools.spectrograms import ArrayStore, Segments

SR = 16000

# --- Protocols ------------------------------------------------------------------------------------------------------


def test_the_protocol_of_the_thesis():
    """rotheneder2023, 5.1.2-5.1.7."""
    for model, rate, batch in (
        ("se_cnn", 1e-4, 32),
        ("short_chunk", 1e-4, 16),
        ("fcn4", 1e-4, 64),
        ("vgg_cnn", 1e-3, 128),
        ("musicnn", 1e-3, 64),
        ("crnn", 1e-4, 16),
    ):
        plan = protocols.protocol("rotheneder2023", model)
        assert plan.phases == ({"optimizer": "adam", "learning_rate": rate, "epochs": 120, "hold": 80, "decay": 0.1},)
        assert (plan.batch_size, plan.patience, plan.per_clip) == (batch, 30, 0)
        assert plan.best_by == "val_binary_accuracy"


def test_the_protocol_of_the_slides():
    """Won et al. 2020, which tagger_slides repeats."""
    plan = protocols.protocol("tagger_slides", "musicnn")
    assert [(p["optimizer"], p["learning_rate"], p["epochs"]) for p in plan.phases] == [
        ("adam", 1e-4, 80),
        ("sgd", pytest.approx(1e-3), 20),
        ("sgd", pytest.approx(1e-4), 20),
        ("sgd", pytest.approx(1e-5), 20),
    ]
    assert not any("hold" in p for p in plan.phases)  # rates fall between phases only
    assert (plan.batch_size, plan.patience, plan.best_by, plan.per_clip) == (16, None, "val_loss", 1)


def test_stacked_cnn_has_a_batch_size_for_every_tag_set():
    sizes = {n: protocols.protocol("rotheneder2023", "stacked_cnn", n_tags=n).batch_size for n in (50, 80, 108)}
    assert sizes == {50: 8, 80: 16, 108: 32}
    assert protocols.protocol("rotheneder2023", "stacked_cnn", n_tags=108, batch_size=4).batch_size == 4
    assert {protocols.protocol("rotheneder2023", "se_cnn", n_tags=n).batch_size for n in (50, 108)} == {32}


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_stacked_cnn_is_trained_twice(name):
    once, twice = protocols.protocol(name, "se_cnn"), protocols.protocol(name, "stacked_cnn")
    assert len(twice.phases) == 2 * len(once.phases)
    assert twice.phases[: len(once.phases)] == twice.phases[len(once.phases) :]


def test_fewer_epochs_shrink_every_number():
    plan = protocols.protocol("rotheneder2023", "se_cnn", epochs=12)
    assert (plan.phases[0]["epochs"], plan.phases[0]["hold"], plan.patience) == (12, 8, 3)
    assert plan.phases[0]["decay"] * (12 - 8) == pytest.approx(0.1 * (120 - 80))  # the last rate is the same
    plan = protocols.protocol("tagger_slides", "se_cnn", epochs=14)
    assert [p["epochs"] for p in plan.phases] == [8, 2, 2, 2]
    for epochs in range(4, 140):
        plan = protocols.protocol("tagger_slides", "se_cnn", epochs=epochs)
        assert sum(p["epochs"] for p in plan.phases) == epochs
        assert min(p["epochs"] for p in plan.phases) >= 1
    assert protocols.protocol("rotheneder2023", "se_cnn", epochs=1).patience == 3  # at least


def test_other_rates_keep_their_ratios():
    plan = protocols.protocol("tagger_slides", "se_cnn", learning_rate=1e-2, batch_size=4, per_clip=3)
    assert [p["learning_rate"] for p in plan.phases] == pytest.approx([1e-2, 1e-1, 1e-2, 1e-3])
    assert (plan.batch_size, plan.per_clip) == (4, 3)
    assert protocols.protocol("tagger_slides", "se_cnn", per_clip=0).per_clip == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "slides"}, "protocol must be one of rotheneder2023, tagger_slides. Got 'slides'"),
        ({"epochs": 0}, "epochs must be positive or None. Got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive or None. Got -1.0"),
        ({"batch_size": 0}, "batch_size must be positive or None. Got 0"),
        ({"per_clip": -1}, "per_clip must be at least 0 or None. Got -1"),
    ],
)
def test_wrong_protocols_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        protocols.protocol(**{"name": "rotheneder2023", "model": "se_cnn", **options})


# --- Which clips and labels -----------------------------------------------------------------------------------------

GENRES = ("rock", "pop", "metal", "classic")


def fake(n=480, *, per_artist=6, artists=None):
    """Clips of artists with one genre each; every fifth clip has no genre, every seventh two."""
    ids = pd.Index(np.arange(n) * 3 + 7, name="clip_id")
    number = np.arange(n) // per_artist
    genres = pd.DataFrame({g: number % 4 == k for k, g in enumerate(GENRES)}, index=ids)
    genres.iloc[::7, 0] = genres.iloc[::7, 1] = True
    genres.iloc[::5] = False
    tracks = pd.DataFrame(
        {"artist": [f"a{k}" for k in number] if artists is None else artists, "album": "", "title": "", "path": ""},
        index=ids,
    )
    tags = pd.DataFrame(
        np.random.default_rng(0).random((n, 4)) < (0.1, 0.4, 0.3, 0.2),
        index=ids,
        columns=["harp", "drums", "slow", "loud"],
    )
    data = Dataset("nowhere", tracks=tracks, tags=tags, genres=genres, descriptors=tags)
    data.split_kinds, data.name = ("random", "artist"), "fake"
    return data


@pytest.mark.parametrize(("hold_out", "unseen_share"), [(60, 0.5), (100, 0.25), (40, 0.0), (200, 0.9), (290, 0.5)])
def test_parts_are_complete_and_unseen_artists_are_nowhere_else(hold_out, unseen_share):
    data = fake()
    parts = splits.tagger_split(data, data.tracks.index, hold_out=hold_out, unseen_share=unseen_share, seed=1)
    assert parts.index.equals(data.tracks.index)
    assert set(parts["part"]) - {"unused"} == {"train", "validation", "test", "hold_out"}
    assert set(parts["artist"]) <= {"seen", "unseen"}
    held = parts[parts["part"] == "hold_out"]
    assert abs(len(held) - hold_out) <= 1
    assert (data.genres.loc[held.index].sum(axis=1) == 1).all()
    assert abs((held["artist"] == "unseen").sum() - unseen_share * hold_out) <= 6  # artists are whole
    artist = data.tracks["artist"]
    unseen = set(artist[parts["artist"] == "unseen"])
    assert not unseen & set(artist[parts["part"].isin(["train", "validation", "test"])])
    assert not unseen & set(artist[parts["artist"] == "seen"])
    assert set(parts.loc[parts["artist"] == "unseen", "part"]) <= {"hold_out", "unused"}
    assert (parts.loc[parts["part"] == "unused", "artist"] == "unseen").all()
    if unseen_share < 0.9:
        assert set(artist[held.index[held["artist"] == "seen"]]) & set(artist[parts["part"] == "train"])


def test_shares_are_of_what_is_left():
    data = fake()
    parts = splits.tagger_split(
        data, data.tracks.index, hold_out=80, unseen_share=0.0, test_share=0.2, validation_share=0.1
    )["part"]
    counts = parts.value_counts()
    assert counts.to_dict() == {"train": 288, "test": 80, "validation": 32, "hold_out": 80}
    strata = splits.strata(data.genres)
    left = strata[parts != "hold_out"].value_counts(normalize=True)
    for part in ("train", "test"):  # genres are spread evenly
        assert (strata[parts == part].value_counts(normalize=True) - left).abs().max() < 0.02


def test_equal_seeds_divide_equally_and_only_the_clips_named():
    data = fake()
    ids = data.tracks.index[::2]
    one, same, other = (splits.tagger_split(data, ids, hold_out=50, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)
    assert one.index.equals(ids)


@pytest.mark.parametrize("missing", ["", None])
def test_clips_without_an_artist_share_it_with_nobody(missing):
    data = fake(artists=[missing] * 480)
    parts = splits.tagger_split(data, data.tracks.index, hold_out=60)
    assert (parts["part"] == "hold_out").sum() == 60
    assert (parts["part"] == "train").sum() > 200


@pytest.mark.parametrize(
    "options",
    [{"hold_out": 0}, {"hold_out": 480}, {"hold_out": 10, "unseen_share": 1.0}, {"hold_out": 10, "test_share": 1.2}],
)
def test_impossible_divisions_are_refused(options):
    data = fake()
    with pytest.raises(
        ValueError,
        match=r"hold_out must lie between 0 and .* and unseen_share|hold_out must be at least 1|shares must be",
    ):
        splits.tagger_split(data, data.tracks.index, **options)


def test_annotated_labels_come_most_frequent_first():
    data = fake()
    labels = taggers.label_table(data, n_tags=3)
    assert list(labels.columns) == ["drums", "slow", "loud"]
    loud = data.descriptors.index[data.descriptors["loud"]]
    assert taggers.label_table(data, n_tags=1, clips=loud).equals(data.descriptors[["loud"]])
    pd.testing.assert_frame_equal(taggers.label_table(data), data.descriptors)
    for kind in ("complete", "true"):
        with pytest.raises(ValueError, match=f"labels must be 'annotated', or 'complete' .* Got '{kind}' for fake"):
            taggers.label_table(data, kind=kind)
    with pytest.raises(ValueError, match="n must be an int and lie between"):
        taggers.label_table(data, n_tags=5)


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    return Composed(tmp_path_factory.mktemp("corpus") / "a", n_clips=10, seed=3, workers=2)


def test_complete_labels_hold_what_annotators_forgot(composed):
    """Nearly everything that was written is true (wrong tags are rare), and much that is true was not written."""
    written, true = (taggers.label_table(composed, kind=kind, n_tags=20) for kind in ("annotated", "complete"))
    assert written.columns.equals(true.columns)
    assert written.index.equals(true.index)
    assert true.dtypes.eq(bool).all()
    assert (written & ~true).to_numpy().sum() <= 0.03 * (~true).to_numpy().sum()
    assert (true & ~written).to_numpy().sum() >= 0.2 * written.to_numpy().sum()
    with pytest.raises(ValueError, match="Got 'all' for composed"):
        taggers.label_table(composed, kind="all")


# --- One job --------------------------------------------------------------------------------------------------------

CLIPS, TAGS = 24, 3
JOB = jobs.Job(model="se_cnn", n_tags=TAGS, labels="annotated", protocol="rotheneder2023")


def job_task(*, epochs=12, **options):
    """A small job: clips of 16 bands and 100 frames, three inputs each; a tag lifts its own bands."""
    rng = np.random.default_rng(0)
    ids = [f"c{k:02d}" for k in range(CLIPS)]
    labels = pd.DataFrame(rng.random((CLIPS, TAGS)) < 0.5, index=ids, columns=["a", "b", "c"])
    S = rng.integers(0, 80, (CLIPS, 16, 100))
    for k in range(TAGS):
        S[labels.to_numpy()[:, k], 5 * k : 5 * k + 4] += 150
    part = pd.Series(np.repeat(["train", "validation", "test", "hold_out"], [12, 4, 4, 4]), index=ids)
    plan = protocols.protocol("rotheneder2023", "se_cnn", epochs=epochs, batch_size=8, learning_rate=0.01)
    return jobs.Task(
        **{
            "job": JOB,
            "store": ArrayStore(S.astype(np.uint8), ids),
            "labels": labels,
            "split": part,
            "length": 64,
            "step": 18,
            "width": 0.1,
            "norm_momentum": 0.5,
            "protocol": plan,
            **options,
        }
    )


def run(task, folder=None):
    return jobs.run([task], folder=folder, workers=1)[0]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    return folder, run(job_task(), folder)


def assert_same_result(one, other):
    pd.testing.assert_frame_equal(one.history, other.history)
    for part in one.scores:
        np.testing.assert_array_equal(one.scores[part], other.scores[part])
        np.testing.assert_array_equal(one.clip[part], other.clip[part])


def test_a_job_scores_the_segments_of_every_split(job):
    folder, result = job
    task = job_task()
    assert result.classes == ("a", "b", "c")
    assert list(result.history["epoch"]) == list(range(len(result.history)))
    assert len(result.history) <= 12
    assert set(result.scores) == set(result.clip) == {"validation", "test", "hold_out"}
    for split, scores in result.scores.items():
        assert scores.shape == (4 * 3, TAGS)
        assert ((scores > 0) & (scores < 1)).all()
        assert list(result.clip[split]) == list(np.repeat(task.split.index[task.split == split], 3))
    assert result.parameters > 0
    assert result.seconds > 0
    assert result.clips_per_second > 0
    model = models.load(result.model_file)
    frames = Segments(task.store, list(task.labels.index[-4:]), length=64, step=18)
    np.testing.assert_allclose(model.predict_on_batch(frames[:]), result.scores["hold_out"], atol=1e-6)
    assert result.job.name == "se_cnn-top3-annotated-rotheneder2023-0"
    assert not list(folder.rglob("fit"))


def test_whole_clips_may_be_cut_in_other_steps_than_those_of_training(job):
    """Clips of 100 columns: three segments in steps of 18, two in steps of 32."""
    result = run(job_task(epochs=1, clip_step=32))
    assert {part: len(scores) for part, scores in result.scores.items()} == {"validation": 8, "test": 12, "hold_out": 8}
    assert {part: len(clip) for part, clip in result.clip.items()} == {"validation": 8, "test": 12, "hold_out": 8}
    assert result.train_segments == job[1].train_segments


def test_a_tagger_may_have_no_held_out_clips():
    task = job_task()
    result = run(dataclasses.replace(task, split=task.split[task.split != "hold_out"]))
    assert list(result.scores) == ["validation", "test"]


@pytest.mark.parametrize(
    ("gpus", "workers", "wanted"), [(0, 5, 5), (0, None, None), (1, 5, 1), (2, 5, 2), (2, None, 2)]
)
def test_no_more_trainings_at_once_than_gpus(gpus, workers, wanted, monkeypatch):
    asked = {}
    monkeypatch.setattr(jobs, "count_gpus", lambda: gpus)
    monkeypatch.setattr(jobs.runs, "map", lambda compute, tasks, **options: asked.update(options) or [])
    jobs.run([], workers=workers)
    assert asked["workers"] == wanted


def test_every_training_takes_a_gpu_of_its_own(tmp_path):
    """A lock is that of an open file, so that a second claim in this process is like one of another process."""
    assert [jobs._claim(2, tmp_path) for _ in range(2)] == [0, 1]
    with pytest.raises(RuntimeError, match="All 2 GPUs are in use by other trainings"):
        jobs._claim(2, tmp_path, patience=0)
    jobs._LOCKS.pop(-2).close()
    assert jobs._claim(2, tmp_path) == 0
    while jobs._LOCKS:
        jobs._LOCKS.pop().close()


def test_a_job_is_done_once(job, monkeypatch):
    folder, result = job
    trained = []
    fit_phases = training.fit_phases
    monkeypatch.setattr(training, "fit_phases", lambda *a, **k: (trained.append(1), fit_phases(*a, **k))[1])
    assert_same_result(run(job_task(), folder), result)
    assert not trained
    assert_same_result(run(job_task()), result)  # no folder, no cache; and the same by seed
    assert len(trained) == 1


def test_a_job_is_done_again_when_anything_changed_or_its_file_is_gone(tmp_path, monkeypatch):
    done = []

    def train(task, threads, folder):
        done.append(task.job)
        return jobs.Result(job=task.job, classes=("a",), history=pd.DataFrame(), scores={}, clip={}, seconds=len(done))

    def number_of(task):
        return run(task, tmp_path).seconds

    monkeypatch.setattr(jobs, "_train", train)
    task = job_task()
    assert number_of(task) == jobs.run([job_task()], folder=tmp_path, workers=1, threads=2)[0].seconds == 1
    swapped = task.split.replace({"test": "train", "train": "test"})
    changes = [
        {"labels": ~task.labels},
        {"labels": task.labels.rename(columns={"a": "x"})},
        {"split": swapped},
        {"split": task.split.iloc[[1, 0, *range(2, CLIPS)]]},
        {"step": 9},
        {"clip_step": 9},
        {"width": 0.2},
        {"job": dataclasses.replace(JOB, seed=1)},
        {"job": dataclasses.replace(JOB, imbalance="focal")},
        {"protocol": protocols.protocol("tagger_slides", "se_cnn")},
        {"store": SimpleNamespace(checksum="other data")},
    ]
    for number, change in enumerate(changes, start=2):
        assert number_of(dataclasses.replace(task, **change)) == number
        assert number_of(dataclasses.replace(task, **change)) == number
    assert number_of(task) == 1
    for file in tmp_path.rglob("result.joblib"):
        file.unlink()
    assert number_of(task) == len(changes) + 2


@pytest.mark.parametrize("damage", ["cut", "one byte", "other classes", "model", "no model"])
def test_a_damaged_result_is_named_and_computed_again(tmp_path, monkeypatch, damage):
    result = jobs.Result(job=JOB, classes=("a",), history=pd.DataFrame(), scores={}, clip={}, parameters=12345)

    def train(task, threads, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.keras").write_text("weights")
        return result

    monkeypatch.setattr(jobs, "_train", train)
    whole = run(job_task(), tmp_path)
    [file] = tmp_path.rglob("result.joblib")
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:100])
    elif damage == "one byte":  # the number would be another one, and joblib would not notice
        place = content.index((12345).to_bytes(2, "little"))
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damage == "other classes":  # a result that is whole and not valid
        object.__setattr__(whole, "scores", {"test": np.zeros((2, 1))})
        monkeypatch.setattr(jobs, "_train", lambda task, threads, folder: whole)
        file.unlink()
        run(job_task(), tmp_path)
        object.__setattr__(whole, "scores", {})
    elif damage == "model":
        (file.parent / "model.keras").write_text("weightz")
    else:
        (file.parent / "model.keras").unlink()
    fault = {"model": "model.keras does not fit its checksum", "no model": "model.keras is missing"}.get(damage, ".*")
    monkeypatch.setattr(jobs, "_train", train)
    with pytest.warns(
        UserWarning, match=rf"result\.joblib is damaged \(.*{fault}.*\)\. The result is computed again\."
    ):
        assert run(job_task(), tmp_path).parameters == 12345
    assert (file.parent / "model.keras").read_text() == "weights"
    with warnings.catch_warnings(action="error"):
        assert run(job_task(), tmp_path).parameters == 12345


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": pd.Series("train", [f"c{k:02d}" for k in range(CLIPS)])}, "no clips for: test, validation"),
        ({"split": pd.Series(["train", "test"], ["c00", "elsewhere"])}, "1 clips of the split have no labels, such as"),
        ({"step": 0}, "greater than 0"),
        ({"norm_momentum": 1.0}, "less than 1"),
        ({"protocol": "adam"}, "Protocol"),
        ({"job": jobs.Job(model="ckn19", protocol="plain")}, "Every clip must have exactly one genre"),
    ],
)
def test_tasks_that_cannot_be_trained_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(job_task(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": "true"}, "labels"),
        ({"n_tags": 0}, "'genre' exactly where n_tags is 0"),
        ({"seed": -1}, "seed"),
        ({"imbalance": "some"}, "imbalance"),
        ({"model": ""}, "model"),
    ],
)
def test_jobs_that_do_not_exist_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(JOB, **change)


def test_scores_without_clips_are_refused():
    with pytest.raises(ValueError, match=r"scores of 'test' must have shape \(0, 2\). Got \(1, 2\)"):
        jobs.Result(job=JOB, classes=("a", "b"), history=pd.DataFrame(), scores={"test": np.zeros((1, 2))}, clip={})


def test_a_genre_job_learns_one_class_a_clip():
    """A genre lifts its own bands; some training clips validate, since the split names none for that."""
    ids, genre = list(range(18)), np.arange(18) % 3
    S = np.random.default_rng(0).integers(0, 80, (18, 16, 40))
    for clip in ids:
        S[clip, 5 * genre[clip] : 5 * genre[clip] + 4] += 150
    result = run(
        jobs.Task(
            job=jobs.Job(model="ckn19", protocol="callbacks"),
            store=ArrayStore(S.astype(np.uint8), ids),
            length=16,
            step=8,
            labels=pd.DataFrame(np.eye(3, dtype=bool)[genre], columns=list("abc")),
            validation_share=0.25,
            split=pd.Series(np.repeat(["train", "test"], [12, 6])),
            width=0.05,
            norm_momentum=0.5,
            protocol=protocols.genre_protocol("callbacks", epochs=6, batch_size=8, learning_rate=0.01),
        )
    )
    assert set(result.scores) == {"test"}
    assert result.train_segments == 9 * 4
    assert result.job.name == "ckn19-callbacks-0"
    assert {"accuracy", "val_accuracy", "val_loss"} <= set(result.history)
    np.testing.assert_allclose(result.scores["test"].sum(axis=1), 1, rtol=1e-5)
    truth = pd.Series(np.array(list("abc"))[genre])
    assert genres.table([result], truth, repeats=1)["accuracy"].iloc[1] >= 5 / 6


def test_a_job_learns(job):
    clips = comparison.clip_scores(job[1])
    labels = job_task().labels
    assert clips.name == "se_cnn"
    table = comparison.clip_table([clips], labels)
    assert table["roc_auc"].iloc[0] > 0.9


def test_validation_takes_as_many_inputs_of_a_clip_as_training():
    clip = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    np.testing.assert_array_equal(jobs._spread(clip, 0), np.arange(8))
    for per_clip in (1, 2, 3):
        chosen = jobs._spread(clip, per_clip)
        wanted = np.minimum(np.bincount(clip), per_clip)
        np.testing.assert_array_equal(np.bincount(clip[chosen], minlength=3), wanted)
        assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(jobs._spread(clip, 1)[[0, 2]], [1, 7])


# --- Phases, patience, inputs of a clip, losses ---------------------------------------------------------------------


def build(seed=3):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(3, activation="sigmoid"),
        ]
    )


def examples(n=40):
    rng = np.random.default_rng(0)
    x = rng.random((n, 6)).astype(np.float32)
    return x, (x[:, :3] > 0.5).astype(np.float32)


OPTIONS = {
    "batch_size": 8,
    "loss": "binary_crossentropy",
    "metrics": ("binary_accuracy",),
    "best_by": "val_loss",
    "optimizer": "adam",
    "seed": 1,
}
FIRST = {"learning_rate": 0.05, "epochs": 4}


def fit_phases(model, phases, **options):
    x, y = examples()
    return training.fit_phases(model, x[10:], y[10:], phases, validation=(x[:10], y[:10]), **OPTIONS | options)


def assert_weights(model, weights):
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_a_second_phase_starts_from_the_best_weights_of_the_first():
    """With a learning rate of next to nothing they are the weights at its end; best is not the last epoch here."""
    x, y = examples()
    alone = build()
    history = training.fit(
        alone, x[10:], y[10:], validation=(x[:10], y[:10]), **OPTIONS | FIRST | {"epochs": 12, "learning_rate": 0.5}
    )
    assert history["val_loss"].argmin() < len(history) - 1
    model = build()
    both = fit_phases(model, [FIRST | {"epochs": 12, "learning_rate": 0.5}, {"learning_rate": 1e-12, "epochs": 2}])
    assert_weights(model, alone.get_weights())
    assert list(both["epoch"]) == list(range(14))
    assert list(both["phase"]) == [0] * 12 + [1] * 2
    pd.testing.assert_frame_equal(both[both["phase"] == 0].drop(columns="phase"), history)
    np.testing.assert_allclose(both["val_loss"].iloc[-1], history["val_loss"].min(), rtol=1e-5)


@pytest.mark.parametrize("with_folder", [True, pytest.param(False, marks=pytest.mark.full)])
def test_a_phase_that_makes_things_worse_is_taken_back(with_folder, tmp_path):
    x, y = examples()
    alone, model = build(), build()
    training.fit(alone, x[10:], y[10:], validation=(x[:10], y[:10]), **OPTIONS | FIRST)
    both = fit_phases(
        model,
        [FIRST, {"learning_rate": 50.0, "epochs": 2}, {"learning_rate": 1e-12, "epochs": 1}],
        folder=tmp_path / "fit" if with_folder else None,
    )
    assert both.loc[both["phase"] == 1, "val_loss"].min() > both.loc[both["phase"] == 0, "val_loss"].min()
    assert_weights(model, alone.get_weights())
    assert not (tmp_path / "fit").exists()


def test_without_a_best_the_last_phase_counts():
    model, other = build(), build()
    fit_phases(model, [FIRST, {"learning_rate": 5.0, "epochs": 2}], best_by=None)
    fit_phases(other, [FIRST], best_by=None)
    assert np.abs(model.get_weights()[0] - other.get_weights()[0]).max() > 1


def test_phases_that_are_done_are_not_done_again(tmp_path, monkeypatch):
    phases = [FIRST, {"learning_rate": 0.01, "epochs": 3}]
    undisturbed = build()
    history = fit_phases(undisturbed, phases)
    rates, fit = [], training.fit

    def dying(model, x, y, **options):
        rates.append(options["learning_rate"])
        if rates == [0.05, 0.01]:
            raise KeyboardInterrupt
        return fit(model, x, y, **options)

    monkeypatch.setattr(training, "fit", dying)
    with pytest.raises(KeyboardInterrupt):
        fit_phases(build(), phases, folder=tmp_path / "fit")
    model = build(seed=9)
    again = fit_phases(model, phases, folder=tmp_path / "fit")
    assert rates == [0.05, 0.01, 0.01]
    pd.testing.assert_frame_equal(again, history, check_exact=True)
    assert_weights(model, undisturbed.get_weights())
    assert not (tmp_path / "fit").exists()


@pytest.fixture
def told(monkeypatch):
    """Validation losses that are told, not measured; and a list of the epochs that began."""
    losses, began = [3.0, 2.0, 2.5, 2.0, 1.9, 4.0, 4.0, 4.0, 1.0], []
    end, begin = training._Journal.on_epoch_end, training._Epoch.on_epoch_begin
    monkeypatch.setattr(
        training._Journal, "on_epoch_end", lambda self, e, logs=None: end(self, e, logs | {"val_loss": losses[e]})
    )
    monkeypatch.setattr(
        training._Epoch, "on_epoch_begin", lambda self, e, logs=None: (began.append(e), begin(self, e, logs))[1]
    )
    return began


def fit_told(**options):
    x, y = examples()
    return training.fit(
        build(), x[10:], y[10:], validation=(x[:10], y[:10]), epochs=9, learning_rate=0.01, **OPTIONS | options
    )


@pytest.mark.parametrize(("patience", "epochs"), [(2, 4), (3, 8), (1, 3), (5, 9), (None, 9)])
def test_patience_ends_when_the_validation_loss_has_not_been_better(patience, epochs, told):
    """Equal is not better: with patience 2 the loss of epoch 1 has not been beaten in epochs 2 and 3."""
    assert len(fit_told(patience=patience)) == epochs
    assert told == list(range(epochs))


def test_a_fit_that_had_stopped_trains_no_more(told, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training._Journal, "finish", lambda self, model: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit_told(patience=2, folder=tmp_path / "fit")
    assert told == [0, 1, 2, 3]
    history = fit_told(patience=2, folder=tmp_path / "fit")
    assert told == [0, 1, 2, 3]
    assert list(history["val_loss"]) == [3.0, 2.0, 2.5, 2.0]
    assert not (tmp_path / "fit").exists()


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 2, "best_by": None}])
def test_patience_needs_something_to_wait_for(options):
    with pytest.raises(ValueError, match="patience must be positive and needs validation data and best_by"):
        fit_told(**options)


class Heard(Segments):
    """Segments that remember what was asked for."""

    asked = ()

    def __getitem__(self, index):
        self.asked = (*self.asked, np.asarray(index))
        return super().__getitem__(index)


def uneven(lengths=(100, 64, 82, 63, 136)):
    """A store whose clips give 3, 1, 2, 0 and 5 inputs of 64 frames."""
    store = ArrayStore(np.zeros((len(lengths), 4, max(lengths)), np.uint8), list("abcdefgh"[: len(lengths)]))
    cut = dict(zip(store.ids, lengths, strict=True))
    raw = store.raw
    store.raw = lambda clip_id: raw(clip_id)[:, : cut[clip_id]]
    return store


@pytest.mark.parametrize("per_clip", [0, 1, 2, 3])
def test_an_epoch_takes_so_many_inputs_of_every_clip(per_clip):
    frames = Segments(uneven(), list("abcde"), length=64, step=18)
    counts = np.array([3, 1, 2, 0, 5])
    wanted = np.minimum(counts, per_clip) if per_clip else counts
    seen = set()
    for seed in range(60):
        order = frames.order(np.random.default_rng(seed), per_clip=per_clip)
        assert len(set(order)) == len(order)
        np.testing.assert_array_equal(np.bincount(frames.clip[order], minlength=5), wanted)
        seen |= set(order)
    assert seen == set(range(11))  # in the long run every input has its turn


def test_inputs_of_a_clip_are_chosen_evenly():
    frames = Segments(uneven(), list("abcde"), length=64, step=18)
    times = np.bincount(np.concatenate([frames.order(np.random.default_rng(k), per_clip=1) for k in range(2000)]))
    for clip in (0, 2, 4):
        share = times[frames.clip == clip] / 2000
        np.testing.assert_allclose(share, 1 / len(share), atol=0.05)


def test_training_hears_so_many_inputs_of_a_clip_an_epoch_and_others_in_the_next():
    frames = Heard(uneven(), list("abcde"), length=64, step=18)
    model = keras.Sequential([keras.layers.Input((4, 64, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "sigmoid")])
    options = OPTIONS | {"best_by": None}
    training.fit(model, frames, np.zeros((11, 2)), epochs=4, learning_rate=0.1, per_clip=2, **options)
    epochs = np.concatenate(frames.asked).reshape(4, 7)
    for epoch in epochs:
        np.testing.assert_array_equal(np.bincount(frames.clip[epoch], minlength=5), [2, 1, 2, 0, 2])
    assert len({tuple(sorted(epoch)) for epoch in epochs}) > 1
    with pytest.raises(ValueError, match="per_clip needs Segments"):
        training.fit(model, frames[:], np.zeros((11, 2)), per_clip=2, **options)


@pytest.mark.parametrize("imbalance", ["none", "positive_weights", "focal"])
def test_losses_are_what_their_formulas_say(imbalance):
    rng = np.random.default_rng(0)
    labels = rng.random((400, 5)) < (0.001, 0.1, 0.25, 0.5, 0.9)
    labels[:, 0] = False
    y, p = labels[:32].astype(np.float32), rng.uniform(0.01, 0.99, (32, 5)).astype(np.float32)
    share = labels.mean(axis=0)
    weights = {"positive_weights": np.clip((1 - share) / np.maximum(share, 1e-9), 1, 20)}.get(imbalance, np.ones(5))
    positive, negative = -np.log(p) * weights, -np.log(1 - p)
    if imbalance == "focal":
        positive, negative = positive * (1 - p) ** 2, negative * p**2
    wanted = np.where(y == 1, positive, negative).mean()
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Activation("linear")])
    model.compile("sgd", training.tag_loss(imbalance, labels))
    assert model.evaluate(p, y, verbose=0) == pytest.approx(wanted, rel=1e-4)


def test_focal_loss_is_kerass():
    rng = np.random.default_rng(1)
    y, p = (rng.random((8, 4)) < 0.5).astype(np.float32), rng.random((8, 4)).astype(np.float32)
    ours = training.tag_loss("focal", y)(y, p)
    assert float(ours) == pytest.approx(float(keras.losses.binary_focal_crossentropy(y, p, gamma=2).numpy().mean()))


def test_weights_make_a_rare_tag_count_like_a_frequent_one():
    """A tag on a tenth of the clips: the best constant score is a half, not a tenth."""
    labels = np.arange(200)[:, None] % 10 == 0
    scores = np.linspace(0.02, 0.98, 97)
    best = {}
    for imbalance in ("none", "positive_weights"):
        loss = keras.losses.get(training.tag_loss(imbalance, labels))
        y = labels.astype(np.float32)
        values = [float(np.mean(loss(y, np.full_like(y, score)))) for score in scores]
        best[imbalance] = scores[int(np.argmin(values))]
    assert best == {"none": pytest.approx(0.1, abs=0.011), "positive_weights": pytest.approx(0.5, abs=0.011)}
    with pytest.raises(ValueError, match="imbalance must be 'none', 'positive_weights' or 'focal'. Got 'smote'"):
        training.tag_loss("smote", labels)


def test_scores_of_exactly_0_and_1_have_a_finite_loss():
    y = np.array([[1.0, 0.0]], np.float32)
    assert np.isfinite(np.asarray(training.tag_loss("positive_weights", y)(y, 1 - y))).all()
