"""Fits learn, choose the right epoch, repeat themselves, and survive being killed at the worst moment."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from tensorflow.python.framework import config

from musictools import evaluation, models, spectrograms, training

EPOCHS = 5


def build():
    """A network with everything whose state a resumed fit must find again: normalisation, dropout, Adam."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(4, activation="softmax"),
        ]
    )


def small():
    """A network that is compiled in no time."""
    return keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")]
    )


def data(n=48):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 4
    x = rng.random((n, 8, 8, 1), np.float32)
    x[np.arange(n), labels * 2] += 0.3
    return x, np.eye(4, dtype=np.float32)[labels]


def run(model, **options):
    x, y = data()
    options = {
        "epochs": EPOCHS,
        "batch_size": 7,
        "validation": (x[:12], y[:12]),
        "learning_rate": 0.01,
        "schedule": training.constant_then_exponential(hold=2, decay=0.5),
        "seed": 5,
    } | options
    return training.fit(model, x[12:], y[12:], **options)


@pytest.fixture(scope="module")
def undisturbed():
    model = build()
    history = run(model)
    return history, model.get_weights()


def assert_same(history, model, undisturbed):
    pd.testing.assert_frame_equal(history, undisturbed[0], check_exact=True)
    for a, b in zip(model.get_weights(), undisturbed[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_sixteen_clips_are_learnt_by_heart():
    x = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    labels = np.random.default_rng(1).permutation(np.arange(16) % 4)
    model = models.build("ckn19", n_outputs=4, input_shape=(8, 8, 1), width=0.2, norm_momentum=0.9, seed=0)
    history = training.fit(model, x, np.eye(4)[labels], epochs=80, batch_size=8, best_by="loss")
    assert (evaluation.predict(model, x).argmax(axis=1) == labels).all()
    assert history["loss"].iloc[-1] < 0.2 * history["loss"].iloc[0]


def test_two_fits_are_the_same_and_another_seed_is_not(undisturbed):
    model = build()
    assert_same(run(model), model, undisturbed)
    other = build()
    run(other, seed=6)
    assert any(not np.array_equal(a, b) for a, b in zip(other.get_weights(), undisturbed[1], strict=True))


@pytest.mark.parametrize("before", [False, True])
def test_a_fit_leaves_the_process_as_it_was(before):
    """Deterministic operations are slower, and some refuse to run: they end with the fit, unless they were on."""
    switch = [config.disable_op_determinism, config.enable_op_determinism]
    assert not config.is_op_determinism_enabled()
    switch[before]()
    model, during = small(), []
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002

    class Watch(Recording):
        def __getitem__(self, index):
            during.append(config.is_op_determinism_enabled())
            return super().__getitem__(index)

    x, y = data(8)
    training.fit(model, Watch(x), y, epochs=1, best_by=None, seed=4)
    try:
        assert during
        assert all(during)
        assert config.is_op_determinism_enabled() == before
        assert random.getstate() == states[0]
        np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
        with pytest.raises(KeyError), training.deterministic(1):
            raise KeyError
        assert config.is_op_determinism_enabled() == before
    finally:
        config.disable_op_determinism()


def test_a_folder_changes_nothing_and_is_gone_afterwards(undisturbed, tmp_path):
    model = build()
    assert_same(run(model, folder=tmp_path / "fit"), model, undisturbed)
    assert not (tmp_path / "fit").exists()


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import keras, test_training
when, folder = sys.argv[2], sys.argv[3]
save_weights = keras.Model.save_weights
saved = {"backup": 0}

def dying(self, filepath, **options):
    is_backup = "latest" in str(filepath)
    saved["backup"] += is_backup
    save_weights(self, filepath, **options)
    if is_backup and saved["backup"] == 3:
        if when == "middle of the backup":  # the weights are of the third epoch, what Keras notes beside of the second
            os._exit(9)

class Die(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if when == "middle of an epoch" and saved["backup"] == 3 and batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

keras.Model.save_weights = dying
fit = keras.Model.fit
keras.Model.fit = lambda self, *a, callbacks, **k: fit(self, *a, callbacks=[*callbacks, Die()], **k)
test_training.run(test_training.build(), folder=folder)
"""


@pytest.fixture(scope="module", autouse=True)
def children(tmp_path_factory):
    """Fits that will be killed, started at once, side by side with the first tests."""
    folders = {when: tmp_path_factory.mktemp("fit") / "a" for when in ("middle of an epoch", "middle of the backup")}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", KILLED, str(Path(__file__).parent), when, str(folder)],
            stderr=subprocess.PIPE,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for when, folder in folders.items()
    ]
    yield folders, started
    for child in started:
        child.kill()
        child.wait()


@pytest.fixture(scope="module")
def killed(children):
    """Folders of the fits that were killed."""
    folders, started = children
    for child in started:
        _, complaint = child.communicate(timeout=300)
        assert child.returncode in (9, -9), complaint.decode()
    return folders


@pytest.mark.parametrize("when", ["middle of an epoch", "middle of the backup"])
def test_a_killed_fit_goes_on_and_ends_as_an_undisturbed_one(killed, undisturbed, when):
    folder = killed[when]
    assert len(json.loads((folder / "history.json").read_text())) == 3
    model, started = build(), []
    begin = training._Epoch.on_epoch_begin
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Epoch, "on_epoch_begin", lambda self, e, logs=None: (started.append(e), begin(self, e)))
        history = run(model, folder=folder)
    assert started == list(range(3 if when == "middle of an epoch" else 2, EPOCHS))  # what was done is not done again
    assert_same(history, model, undisturbed)
    assert not folder.exists()
    assert len(run(model, epochs=2)) == 2  # the model's next fit starts from its own first epoch


@pytest.fixture(scope="module")
def killed_at_the_end(tmp_path_factory):
    """The folder of a fit that was interrupted after its last epoch."""
    folder = tmp_path_factory.mktemp("over") / "fit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Journal, "finish", lambda self, model: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(build(), folder=folder)
    return folder


def test_a_fit_killed_after_its_last_epoch_only_hands_over(killed_at_the_end, undisturbed, tmp_path):
    model = build()
    folder = shutil.copytree(killed_at_the_end, tmp_path / "fit")
    assert_same(run(model, folder=folder), model, undisturbed)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("history.json", '[{"epoch": 0}'),
        ("history.json", '[{"epoch": 0}, {"epoch": 2}]'),
        ("history.json", "7"),
        ("history.json", "[" * 100_000),
        ("history.json", None),
        ("best.weights.h5", None),
    ],
)
def test_a_fit_whose_progress_is_damaged_begins_again(killed_at_the_end, undisturbed, tmp_path, name, text):
    model = build()
    folder = shutil.copytree(killed_at_the_end, tmp_path / "fit")
    (folder / name).unlink() if text is None else (folder / name).write_text(text)
    assert_same(run(model, folder=folder), model, undisturbed)


@pytest.mark.parametrize(
    ("best_by", "best", "with_folder"),
    [
        pytest.param("val_accuracy", 1, False, marks=pytest.mark.full),
        ("val_accuracy", 1, True),
        ("val_loss", 2, False),
        pytest.param(None, 3, True, marks=pytest.mark.full),
    ],
)
def test_the_model_ends_with_the_best_epochs_weights(best_by, best, with_folder, tmp_path, monkeypatch):
    """Scores are told, not measured: accuracy is best (first of two equals) in epoch 1, loss in epoch 2."""
    told = {"val_accuracy": [0.1, 0.9, 0.9, 0.2], "val_loss": [3.0, 2.0, 0.5, 4.0]}
    weights = []
    end = training._Journal.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        weights.append(self.model.get_weights())
        end(self, epoch, logs | {name: values[epoch] for name, values in told.items()})

    monkeypatch.setattr(training._Journal, "on_epoch_end", on_epoch_end)
    model = build()
    history = run(model, epochs=4, best_by=best_by, folder=tmp_path / "fit" if with_folder else None)
    assert history["val_loss"].to_list() == told["val_loss"]
    for a, b in zip(model.get_weights(), weights[best], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_history_tells_rates_and_scores(undisturbed):
    history, _ = undisturbed
    assert list(history["epoch"]) == list(range(EPOCHS))
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} <= set(history.columns)
    np.testing.assert_allclose(history["learning_rate"], 0.01 * np.exp(-0.5 * np.array([0, 0, 1, 2, 3])), rtol=1e-6)


def test_the_history_is_measured_on_the_validation_data():
    x, y = data()
    model = build()
    history = run(model, epochs=3, best_by=None)
    scores = evaluation.predict(model, x[:12])
    last = history.iloc[-1]
    assert last["val_accuracy"] == pytest.approx((scores.argmax(axis=1) == y[:12].argmax(axis=1)).mean())
    assert last["val_loss"] == pytest.approx(-np.log(scores[y[:12] == 1]).mean(), rel=1e-4)


class Recording:
    """Inputs that remember in which order they were asked for."""

    def __init__(self, x):
        self.x, self.asked, self.shape = x, [], x.shape

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.asked.append(np.asarray(index))
        return self.x[index]


def test_every_epoch_shows_every_example_once_in_an_order_of_its_own():
    x, y = data(20)
    recording = Recording(x)
    training.fit(small(), recording, y, epochs=3, batch_size=8, best_by=None, seed=4)
    asked = {tuple(index) for index in recording.asked}
    orders = [np.random.default_rng([4, epoch]).permutation(20) for epoch in range(3)]
    assert asked == {tuple(order[k : k + 8]) for order in orders for k in range(0, 20, 8)}
    assert not np.array_equal(orders[0], orders[1])


class Uneven(Recording):
    """Inputs whose batches take different times, the first ones longest."""

    def __getitem__(self, index):
        time.sleep(max(0, 0.05 - 0.01 * len(self.asked)))
        return super().__getitem__(index)


def test_batches_come_in_order_however_long_each_takes():
    x, y = data(45)
    source = training._Source(Uneven(x), y, batch_size=6, seed=7)
    for epoch in (0, 3):
        source.begin(epoch)
        order = np.random.default_rng([7, epoch]).permutation(45)
        batches = list(source.dataset().as_numpy_iterator())
        assert [len(labels) for _, labels in batches] == [6] * 7 + [3]
        np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in batches]), x[order])
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), y[order])


def test_a_fit_does_what_a_plain_loop_over_the_batches_does():
    S = np.random.default_rng(0).integers(0, 256, (9, 8, 40), dtype=np.uint8)
    x = spectrograms.Segments(spectrograms.ArrayStore(S, range(9)), range(9), length=8, step=5)
    y = np.eye(4, dtype=np.float32)[x.clip % 4]
    fitted, looped = (keras.models.clone_model(small()) for _ in range(2))
    looped.set_weights(fitted.get_weights())
    training.fit(fitted, x, y, epochs=3, batch_size=7, best_by=None, per_clip=4, seed=2, learning_rate=0.01)
    with training.deterministic(2):
        looped.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")
        for epoch in range(3):
            order = x.order(np.random.default_rng([2, epoch]), per_clip=4)
            for start in range(0, len(order), 7):
                chosen = order[start : start + 7]
                looped.train_on_batch(x[chosen], y[chosen])
    for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_backends_are_given_the_same_batches(undisturbed, monkeypatch):
    """Keras's own data sets take the place of TensorFlow's, which here can be compared."""
    made = []

    def batches(batch, x, y, count):
        made.append(count())
        return training._Batches(batch, count)

    monkeypatch.setattr(training, "_pipeline", batches)
    model = build()
    assert_same(run(model), model, undisturbed)
    assert made == [6, 2]


def test_the_thesis_schedule():
    rate = training.constant_then_exponential()
    assert [rate(epoch, 0.001) for epoch in (0, 5, 9)] == [0.001] * 3
    assert rate(10, 0.001) == pytest.approx(0.001 * np.exp(-0.1))
    assert rate(49, 0.001) == pytest.approx(0.001 * np.exp(-4.0))


def test_the_model_is_compiled_as_the_thesis_says():
    model = small()
    x, y = data(8)
    training.fit(model, x, y, epochs=1, best_by=None)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)
    assert model.loss == "categorical_crossentropy"


@pytest.mark.parametrize(("epochs", "eagerly"), [(4, True), (5, False)])
def test_only_a_fit_of_few_steps_runs_without_a_graph(epochs, eagerly):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    x = np.tile([[0.0, 1.0], [1.0, 0.0]], (4, 1))
    training.fit(model, x, x, epochs=epochs, batch_size=2, best_by="loss")  # four steps an epoch
    assert model.run_eagerly is eagerly
