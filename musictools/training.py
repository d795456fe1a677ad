"""Fitting Keras models, reproducibly and so that an interrupted fit can be resumed.

Conventions
-----------
Inputs are anything that has `len` and `shape` and takes an int array as index: a NumPy array or
`spectrograms.Segments`. Everything random in epoch k (order of the examples, dropout) follows from (seed, k) alone, so
a fit that was killed resumes after its last complete epoch and ends with the weights of an undisturbed one. Operations
are deterministic while a fit runs; afterwards the process is in its former state. A fit of a few steps runs without a
graph, because making one takes longer than the steps.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from musictools.files import atomic

__all__ = ["constant_then_exponential", "deterministic", "fit", "fit_phases", "tag_loss", "use_threads"]

HEAVIEST = 20.0  # weight of a positive example at most
_FEW = 16  # training steps of a fit that takes longer to trace than to run without a graph
_READERS = 2  # batches read at the same time
_BEST = "best.weights.h5"

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
}


def fit(
    model: keras.Model,
    x: Any,
    y: np.ndarray,
    *,
    validation: tuple | None = None,
    epochs: int = 50,
    batch_size: int = 64,
    optimizer: str = "adam",
    learning_rate: float = 1e-3,
    loss: Any = "categorical_crossentropy",
    metrics: Sequence = ("accuracy",),
    best_by: str | None = "val_accuracy",
    schedule: Callable[[int, float], float] | None = None,
    patience: int | None = None,
    stop_by: str = "val_loss",
    per_clip: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    keep: bool = False,
    callbacks: Sequence = (),
    verbose: int = 0,
) -> pd.DataFrame:
    """Train a model; `rotheneder2023` 3.4 by default.

    Parameters
    ----------
    model : keras.Model
        Built, not compiled; trained in place.
    x : np.ndarray or Segments [shape=(n, ...)]
    y : np.ndarray [shape=(n, n_outputs)]
    validation : (x, y) or None
        Scored after every epoch.
    epochs, batch_size : int > 0
    optimizer : {"adam", "sgd"}
        "sgd" has Nesterov's momentum, 0.9.
    learning_rate : float > 0
    loss : str or keras.losses.Loss
    metrics : sequence of str or keras.metrics.Metric
    best_by : str or None
        The quantity of the history whose best epoch the model ends with; larger is better unless the name holds
        ``loss``. None keeps the last epoch.
    schedule : callable or None
        ``schedule(epoch, learning_rate)`` -> learning rate, for example `constant_then_exponential()`. None: constant.
    patience : int > 0 or None
        Stop when `stop_by` has not been better for so many epochs; None: never.
    stop_by : str
        A quantity of the history; larger is better unless its name holds ``loss``.
    per_clip : int >= 0
        Number of segments of every clip in an epoch, chosen at random; 0: all. Needs `Segments`.
    seed : int >= 0
        Seed of order and dropout; the weights are those that the model comes with.
    folder : str, Path or None
        Progress is kept here after every epoch, and removed when the fit is done. A fit of the same model on the same
        data resumes from its folder.
    keep : bool
        Leave the folder as it is when the fit is done, so that the same fit costs nothing until its result is stored.
    callbacks : sequence of keras.callbacks.Callback
        Further ones, which run before those of the fit.
    verbose : int
        As in Keras.

    Returns
    -------
    history : pd.DataFrame
        A row an epoch: epoch (from 0), learning_rate, loss, metrics, and val_ of each.

    Raises
    ------
    ValueError
        If x and y do not match, are empty, `best_by` is no column of the history, or an argument is out of range.

    See Also
    --------
    fit_phases : Several fits in a row, with other optimisers and learning rates.
    musictools.evaluation.predict : Scores of the trained model.

    Examples
    --------
    >>> import keras
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    >>> x = np.tile([[0.0, 1.0], [1.0, 0.0]], (8, 1))
    >>> history = fit(model, x, x, epochs=3, batch_size=8, learning_rate=0.1, best_by="loss")
    >>> list(history.columns)
    ['epoch', 'learning_rate', 'accuracy', 'loss']
    >>> bool(history["loss"].iloc[-1] < history["loss"].iloc[0])
    True
    """
    _check(x, y, validation, epochs=epochs, batch_size=batch_size)
    _check_choices(
        x,
        validation,
        optimizer=optimizer,
        learning_rate=learning_rate,
        best_by=best_by,
        patience=patience,
        per_clip=per_clip,
    )
    source = _Source(x, y, batch_size=batch_size, seed=seed, per_clip=per_clip)
    if folder is not None and not _can_go_on(Path(folder), best_by):
        shutil.rmtree(folder)  # begin again
    journal = _Journal(folder, best_by=best_by, patience=patience, stop_by=stop_by)
    callbacks = [*callbacks, _Epoch(source, seed), journal]
    if schedule is not None:
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch, _: schedule(epoch, learning_rate)))
    if folder is not None:
        # Last of all: whatever belongs to an epoch is on disk before the epoch counts as done.
        callbacks.append(_Backup(Path(folder) / "backup"))
    with deterministic(seed):
        model.compile(
            optimizer=OPTIMIZERS[optimizer](learning_rate),
            loss=loss,
            metrics=list(metrics),
            run_eagerly=epochs * source.steps() <= _FEW,
        )
        if not journal.over():  # a run that was killed may have been just that far
            model.fit(
                source.dataset(),
                epochs=epochs,
                callbacks=callbacks,
                verbose=verbose,
                shuffle=False,
                validation_data=_fixed(validation, batch_size),
            )
    history = journal.finish(model)
    if folder is not None and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return history


def fit_phases(
    model: keras.Model,
    x: Any,
    y: np.ndarray,
    phases: Sequence[dict],
    *,
    folder: str | Path | None = None,
    keep: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Fit several times in a row, each time from the best weights so far; the model ends with the best of all.

    Parameters
    ----------
    model, x, y
        As in `fit`.
    phases : sequence of dict
        Arguments of `fit` that differ from phase to phase.
    folder : str, Path or None
        Progress is kept here, as in `fit`; complete phases are not repeated.
    keep : bool
        As in `fit`.
    **options
        Arguments of `fit` common to all phases.

    Returns
    -------
    history : pd.DataFrame
        The histories of all fits, with the column phase (from 0); epochs are numbered continuously.

    Raises
    ------
    ValueError
        As in `fit`.

    See Also
    --------
    fit : A single fit.

    Examples
    --------
    >>> import keras
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    >>> x = np.tile([[0.0, 1.0], [1.0, 0.0]], (8, 1))
    >>> phases = [{"epochs": 2, "learning_rate": 0.1}, {"epochs": 1, "optimizer": "sgd"}]
    >>> fit_phases(model, x, x, phases, batch_size=8, best_by="loss")[["phase", "epoch"]].values.tolist()
    [[0, 0], [0, 1], [1, 2]]
    """
    histories, epoch = [], 0
    for number, phase in enumerate(phases):
        progress = None if folder is None else Path(folder) / f"phase-{number}"
        done = None if folder is None else Path(folder) / f"phase-{number}.weights.h5"
        history = None if done is None or not done.is_file() else _read_rows(done.with_suffix(".json"))
        if history is not None:
            model.load_weights(done)
            history = pd.DataFrame(history)
        else:
            so_far, settings = model.get_weights(), {**options, **phase}
            settings["seed"] = settings.get("seed", 0) + number  # else every phase would draw the same inputs
            history = fit(model, x, y, folder=progress, keep=True, **settings)
            if histories and not _better(history, histories, by=settings.get("best_by", "val_accuracy")):
                model.set_weights(so_far)
            if done is not None:
                with atomic(done.with_suffix(".json")) as temporary:
                    temporary.write_text(json.dumps(history.to_dict("records")))
                with atomic(done) as temporary:  # after the history, since these say that the phase is done
                    model.save_weights(temporary)
                shutil.rmtree(progress, ignore_errors=True)
        histories.append(history.assign(phase=number, epoch=history["epoch"] + epoch))
        epoch += len(history)
    if folder is not None and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return pd.concat(histories, ignore_index=True)


def _better(history, earlier, *, by):
    """Whether a phase has an epoch better than all of the phases before; True if `by` is None."""
    if by is None:
        return True
    best = [_goodness(table[by], by).max() for table in (history, pd.concat(earlier))]
    return bool(best[0] > best[1])


def _goodness(values, name):
    """Values of a column so that larger is better and NaN worst."""
    values = np.asarray(values, float) * (-1 if "loss" in name else 1)
    return np.where(np.isnan(values), -math.inf, values)


def tag_loss(imbalance: str, labels: np.ndarray) -> Any:
    """Binary cross-entropy over tags, and two losses that make up for rare tags.

    Parameters
    ----------
    imbalance : {"none", "positive_weights", "focal"}
        "none": as `rotheneder2023`; "positive_weights": a tag's positive examples weigh as much as its negative ones,
        20 times a negative one at most; "focal": Lin et al. (2017), gamma 2.
    labels : np.ndarray [shape=(n, n_tags)]
        Training labels, which give the weights.

    Returns
    -------
    loss : str, keras.losses.Loss or callable
        For `fit`.

    Raises
    ------
    ValueError
        If `imbalance` is none of the three.

    Examples
    --------
    >>> tag_loss("none", labels=np.eye(3))
    'binary_crossentropy'
    >>> loss = tag_loss("positive_weights", np.array([[1.0], [0.0], [0.0], [0.0]]))  # one positive in four examples
    >>> miss, false_alarm = loss(np.float32([[1], [0]]), np.float32([[0.5], [0.5]]))
    >>> round(float(miss / false_alarm), 3)
    3.0
    """
    if imbalance == "none":
        return "binary_crossentropy"
    if imbalance == "focal":
        return keras.losses.BinaryFocalCrossentropy(gamma=2.0)
    if imbalance != "positive_weights":
        raise ValueError(f"imbalance must be 'none', 'positive_weights' or 'focal'. Got {imbalance!r}.")
    share = np.clip(np.asarray(labels, np.float32).mean(axis=0), 1 / (1 + HEAVIEST), 1.0)
    weights = keras.ops.convert_to_tensor(np.maximum(1.0, (1 - share) / share))

    def weighted(y_true, y_pred):
        y_pred = keras.ops.clip(y_pred, 1e-7, 1 - 1e-7)
        losses = -(weights * y_true * keras.ops.log(y_pred) + (1 - y_true) * keras.ops.log(1 - y_pred))
        return keras.ops.mean(losses, axis=-1)

    return weighted


def constant_then_exponential(*, hold: int = 10, decay: float = 0.1) -> Callable[[int, float], float]:
    """Learning rate of `rotheneder2023` 3.5: the initial rate for `hold` epochs, then a factor exp(-decay) an epoch.

    Parameters
    ----------
    hold : int >= 0
        Epochs.
    decay : float > 0
        The source says "exponentially" and gives no rate; 0.1 is that of the Keras page it follows.

    Returns
    -------
    schedule : callable
        (epoch, initial learning rate) -> learning rate.

    Raises
    ------
    ValueError
        If `hold` is negative or `decay` not positive.

    Examples
    --------
    >>> rate = constant_then_exponential(hold=10, decay=0.1)
    >>> [round(rate(epoch, 0.001), 6) for epoch in (0, 9, 10, 20)]
    [0.001, 0.001, 0.000905, 0.000333]
    """
    if hold < 0 or decay <= 0:
        raise ValueError(f"hold must be at least 0 and decay positive. Got hold={hold}, decay={decay}.")
    return lambda epoch, initial: float(initial * math.exp(-decay * max(0, epoch - hold + 1)))


def use_threads(n: int) -> None:
    """Let TensorFlow use `n` threads in this process; without effect after its first operation.

    Parameters
    ----------
    n : int > 0
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(n)
            tf.config.threading.set_inter_op_parallelism_threads(n)
        except RuntimeError:  # TensorFlow has begun already
            pass


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and the backend, and use deterministic operations, inside a ``with`` block.

    Afterwards operations and the random states of Python and NumPy are as they were. Blocks may be nested.

    Parameters
    ----------
    seed : int >= 0

    Yields
    ------
    None

    Examples
    --------
    >>> with deterministic(3):
    ...     once = np.random.rand()
    >>> with deterministic(3):
    ...     once == np.random.rand()
    True
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - other code may draw from the global state
    keras.utils.set_random_seed(seed)
    switch = _op_determinism()
    before = switch.is_op_determinism_enabled() if switch else True
    if not before:
        switch.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            switch.disable_op_determinism()
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _op_determinism():
    """TensorFlow's switch; its public interface can only turn it on."""
    if keras.backend.backend() != "tensorflow":
        return None
    from tensorflow.python.framework import config

    return config


def _check(x, y, validation, **counts):
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or value <= 0:
            raise ValueError(f"{name} must be a positive int. Got {value!r}.")
    for what, a, b in (("", x, y), ("validation ", *(validation or (x, y)))):
        if len(a) == 0:
            raise ValueError(f"There are no {what}examples.")
        if len(a) != len(b):
            raise ValueError(f"{what}x has {len(a)} examples, y has {len(b)}.")
    if np.isnan(y).any():
        raise ValueError("y holds NaN.")


def _check_choices(x, validation, *, optimizer, learning_rate, best_by, patience, per_clip):
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}. Got {optimizer!r}.")
    if per_clip and not hasattr(x, "order"):
        raise ValueError("per_clip needs Segments, which know their clips. Got an array.")
    if patience is not None and (validation is None or best_by is None or patience < 1):
        raise ValueError(f"patience must be positive and needs validation data and best_by. Got {patience!r}.")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive. Got {learning_rate!r}.")
    if validation is None and best_by is not None and best_by.startswith("val_"):
        raise ValueError(f"best_by={best_by!r} needs validation data. Give some, or choose a column of the training.")


class _Source:
    """Batches of an epoch, in an order that follows from (seed, epoch)."""

    def __init__(self, x, y, *, batch_size, seed, per_clip=0):
        self.x, self.y, self.batch_size, self.seed = x, np.asarray(y, np.float32), batch_size, seed
        self.per_clip = per_clip
        self.begin(0)

    def begin(self, epoch):
        """Draw the order of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        if hasattr(self.x, "order"):
            self.order = self.x.order(rng, per_clip=self.per_clip)
        else:
            self.order = rng.permutation(len(self.x))

    def batch(self, number):
        chosen = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        return np.asarray(self.x[chosen], np.float32), self.y[chosen]

    def steps(self):
        """Number of batches of this epoch."""
        return -(-len(self.order) // self.batch_size)

    def dataset(self):
        return _pipeline(self.batch, self.x, self.y, self.steps)


def _fixed(validation, batch_size):
    """Validation data as a pipeline in fixed order."""
    if validation is None:
        return None
    x, y = validation

    def batch(number):
        chosen = np.arange(number * batch_size, min((number + 1) * batch_size, len(x)))
        return np.asarray(x[chosen], np.float32), np.asarray(y[chosen], np.float32)

    return _pipeline(batch, x, y, lambda: -(-len(x) // batch_size))


def _pipeline(batch, x, y, count):
    """Batches 0, 1, … ``count()`` - 1 of ``batch(number)``, each read at once; `_READERS` are read at the same time."""
    if keras.backend.backend() != "tensorflow":
        return _Batches(batch, count)
    import tensorflow as tf

    def read(number):
        # Without state: else TensorFlow would read one batch at a time while operations are deterministic.
        values = tf.numpy_function(batch, [number], [tf.float32, tf.float32], stateful=False)
        for value, like in zip(values, (x, y), strict=True):
            value.set_shape((None, *like.shape[1:]))
        return tuple(values)

    return tf.data.Dataset.range(count()).map(read, num_parallel_calls=_READERS, deterministic=True).prefetch(2)


class _Batches(keras.utils.PyDataset):
    """The same batches for other backends, one read after the other: an epoch's order is drawn before its first."""

    def __init__(self, batch, count):
        super().__init__()
        self.batch, self.count = batch, count

    def __len__(self):
        return self.count()

    def __getitem__(self, number):
        return self.batch(number)


class _Epoch(keras.callbacks.Callback):
    """Tell the data which epoch it is, and set every dropout's random state from (seed, epoch)."""

    def __init__(self, source, seed):
        super().__init__()
        self.source, self.seed = source, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.source.begin(epoch)
        generators = [getattr(layer, "seed_generator", None) for layer in self.model._flatten_layers()]
        generators = [generator for generator in generators if generator is not None]
        states = np.random.SeedSequence([self.seed, epoch]).generate_state(2 * max(1, len(generators)), np.uint32)
        for k, generator in enumerate(generators):
            generator.state.assign(states[2 * k : 2 * k + 2].astype("uint32"))


class _Backup(keras.callbacks.BackupAndRestore):
    """Keras's backup, written beside its place and renamed, so that a kill while it is written costs one epoch."""

    def __init__(self, folder):
        self.folder, self.current = folder, folder / "current"
        super().__init__(self.current, delete_checkpoint=False)

    def on_train_begin(self, logs=None):
        shutil.rmtree(self.current, ignore_errors=True)
        if whole := self._whole():
            shutil.copytree(whole[-1], self.current)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        earlier = self._whole()
        self.current.rename(self.folder / f"epoch-{epoch:06d}")
        for folder in earlier:
            shutil.rmtree(folder)

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None  # else Keras starts the model's next fit there too

    def _whole(self):
        return sorted(self.folder.glob("epoch-*"))


def _read_rows(path):
    """The rows of a history, or None if the file is missing or damaged."""
    try:
        rows = json.loads(path.read_text())
        return rows if [row["epoch"] for row in rows] == list(range(len(rows))) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _can_go_on(folder, best_by):
    """Whether a fit's folder has the history of every epoch whose weights are there, and the best weights."""
    epochs = [int(path.name.removeprefix("epoch-")) for path in (folder / "backup").glob("epoch-*")]
    rows = _read_rows(folder / "history.json") if epochs or (folder / "history.json").exists() else []
    if rows is None or max(epochs, default=-1) >= len(rows):
        return False
    return not rows or best_by is None or (folder / _BEST).is_file()


class _Journal(keras.callbacks.Callback):
    """The history, and the weights of the best epoch; both survive a kill when there is a folder."""

    def __init__(self, folder, *, best_by, patience=None, stop_by="val_loss"):
        super().__init__()
        self.folder = None if folder is None else Path(folder)
        self.best_by, self.patience, self.stop_by, self.rows, self.weights = best_by, patience, stop_by, {}, None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._file.is_file():
                self.rows = {row["epoch"]: row for row in _read_rows(self._file)}

    def over(self):
        """Whether `stop_by` has not been better for `patience` epochs."""
        values = [self.rows[epoch][self.stop_by] for epoch in sorted(self.rows)] if self.patience else []
        return len(values) - 1 - int(np.argmax(_goodness(values, self.stop_by))) >= self.patience if values else False

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs = {k: float(v) for k, v in (logs or {}).items() if k != "learning_rate"}
        row = {"epoch": epoch, "learning_rate": rate} | logs
        if self.patience and self.stop_by not in row:
            raise ValueError(f"stop_by={self.stop_by!r} is no column of the history. There are: {', '.join(row)}.")
        if self.best_by is not None:
            self._keep_best(row)
        self.rows = {e: r for e, r in self.rows.items() if e < epoch} | {epoch: row}
        if self.folder is not None:
            with atomic(self._file) as temporary:
                temporary.write_text(json.dumps(list(self.rows.values())))
        self.model.stop_training = self.model.stop_training or self.over()

    def finish(self, model):
        if self.best_by is not None and self.folder is not None and self._best_file.is_file():
            model.load_weights(self._best_file)
        elif self.weights is not None:
            model.set_weights(self.weights)
        return pd.DataFrame(list(self.rows.values())).sort_values("epoch", ignore_index=True)

    def _keep_best(self, row):
        if self.best_by not in row:
            raise ValueError(f"best_by={self.best_by!r} is no column of the history. There are: {', '.join(row)}.")
        earlier = [self._score(r) for e, r in self.rows.items() if e < row["epoch"]]
        if not earlier or self._score(row) > max(earlier):
            if self.folder is None:
                self.weights = self.model.get_weights()
            else:
                with atomic(self._best_file) as temporary:
                    self.model.save_weights(temporary)

    def _score(self, row):
        return float(_goodness(row[self.best_by], self.best_by))

    @property
    def _file(self):
        return self.folder / "history.json"

    @property
    def _best_file(self):
        return self.folder / _BEST
