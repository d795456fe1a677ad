"""Fitting Keras models: reproducible, resumable, in epochs that are the same wherever a run was interrupted.

Conventions
-----------
Inputs are anything that has `len` and `shape` and takes an int array as index: a NumPy array or
`spectrograms.Frames`. Everything random in epoch k (order of the examples, dropout) follows from (seed, k) alone, so
a fit that was killed goes on from its last complete epoch and ends with the weights of an undisturbed one.
"""

import json
import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd

__all__ = ["constant_then_exponential", "fit", "split_by_group", "use_threads"]


def fit(model, x, y, *, validation=None, epochs=50, batch_size=64, learning_rate=1e-3, loss="categorical_crossentropy",
        metrics=("accuracy",), best_by="val_accuracy", schedule=None, seed=0, folder=None, verbose=0):
    """Train a model; `rotheneder2023` 3.4 by default.

    Parameters
    ----------
    model : keras.Model
        Built, not compiled; trained in place.
    x : np.ndarray or Frames [shape=(n, ...)]
    y : np.ndarray [shape=(n, n_outputs)]
    validation : (x, y) or None
        Scored after every epoch.
    epochs, batch_size : int > 0
    learning_rate : float > 0
        Of Adam.
    loss : str or keras.losses.Loss
    metrics : sequence of str or keras.metrics.Metric
    best_by : str or None
        The quantity of the history whose best epoch the model ends with; larger is better unless the name holds
        ``loss``. None keeps the last epoch.
    schedule : callable or None
        ``schedule(epoch, learning_rate)`` -> learning rate, for example `constant_then_exponential()`. None: constant.
    seed : int >= 0
    folder : str, Path or None
        Progress is kept here after every epoch, and removed when the fit is done. A fit of the same model on the same
        data that finds its folder goes on there.
    verbose : int
        As in Keras.

    Returns
    -------
    history : pd.DataFrame
        A row an epoch: epoch (from 0), learning_rate, loss, metrics, and val_ of each.

    Raises
    ------
    ValueError
        If x and y do not match, are empty, or `best_by` is no column of the history.
    """
    _check(x, y, validation, epochs=epochs, batch_size=batch_size)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive. Got {learning_rate!r}.")
    if validation is None and best_by is not None and best_by.startswith("val_"):
        raise ValueError(f"best_by={best_by!r} needs validation data. Give some, or choose a column of the training.")
    deterministic(seed)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss, metrics=list(metrics))
    source = _Source(x, y, batch_size=batch_size, seed=seed)
    journal = _Journal(folder, best_by=best_by)
    callbacks = [_Epoch(source, seed), journal]
    if schedule is not None:
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch, _: schedule(epoch, learning_rate)))
    if folder is not None:
        # Last of all: whatever belongs to an epoch is on disk before the epoch counts as done.
        callbacks.append(_Backup(Path(folder) / "backup"))
    model.fit(source.dataset(), epochs=epochs, callbacks=callbacks, verbose=verbose, shuffle=False,
              validation_data=_fixed(validation, batch_size))
    history = journal.finish(model)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return history


def constant_then_exponential(*, hold=10, decay=0.1):
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
    """
    if hold < 0 or decay <= 0:
        raise ValueError(f"hold must be at least 0 and decay positive. Got hold={hold}, decay={decay}.")
    return lambda epoch, initial: float(initial * math.exp(-decay * max(0, epoch - hold + 1)))


def split_by_group(groups, *, share, seed):
    """Choose whole groups, for example clips, until about `share` of the examples is chosen.

    Parameters
    ----------
    groups : np.ndarray [shape=(n,)]
    share : float in (0, 1)
    seed : int >= 0

    Returns
    -------
    chosen : np.ndarray [shape=(n,), bool]
        At least one group is chosen, and at least one is not.

    Raises
    ------
    ValueError
        If there are fewer than two groups.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1. Got {share}.")
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    if len(names) < 2:
        raise ValueError(f"To divide groups there must be at least two. Got {len(names)}.")
    return np.isin(groups, names[: min(max(1, round(share * len(names))), len(names) - 1)])


def use_threads(n):
    """Let TensorFlow use `n` threads in this process; to be called before its first operation, else without effect.

    Parameters
    ----------
    n : int > 0
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(n)
            tf.config.threading.set_inter_op_parallelism_threads(n)
        except RuntimeError:
            pass


def deterministic(seed):
    """Seed Python, NumPy and the backend, and switch deterministic operations on.

    Parameters
    ----------
    seed : int >= 0
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


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


class _Source:
    """Batches of an epoch, in an order that follows from (seed, epoch)."""

    def __init__(self, x, y, *, batch_size, seed):
        self.x, self.y, self.batch_size, self.seed, self.epoch = x, np.asarray(y, np.float32), batch_size, seed, 0

    def order(self):
        rng = np.random.default_rng([self.seed, self.epoch])
        return self.x.order(rng) if hasattr(self.x, "order") else rng.permutation(len(self.x))

    def batches(self):
        order = self.order()
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield np.asarray(self.x[chosen], np.float32), self.y[chosen]

    def dataset(self):
        return _pipeline(self.batches, self.x, self.y, self.batch_size)


def _fixed(validation, batch_size):
    """Validation data as a pipeline in fixed order."""
    if validation is None:
        return None
    x, y = validation

    def batches():
        for start in range(0, len(x), batch_size):
            chosen = np.arange(start, min(start + batch_size, len(x)))
            yield np.asarray(x[chosen], np.float32), np.asarray(y[chosen], np.float32)

    return _pipeline(batches, x, y, batch_size)


def _pipeline(batches, x, y, batch_size):
    import tensorflow as tf

    signature = tuple(tf.TensorSpec((None, *a.shape[1:]), tf.float32) for a in (x, y))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-len(x) // batch_size))).prefetch(2)


class _Epoch(keras.callbacks.Callback):
    """Tell the data which epoch it is, and set every dropout's random state from (seed, epoch)."""

    def __init__(self, source, seed):
        super().__init__()
        self.source, self.seed = source, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.source.epoch = epoch
        generators = [getattr(layer, "seed_generator", None) for layer in self.model._flatten_layers()]
        generators = [generator for generator in generators if generator is not None]
        states = np.random.SeedSequence([self.seed, epoch]).generate_state(2 * max(1, len(generators)), np.uint32)
        for k, generator in enumerate(generators):
            generator.state.assign(states[2 * k : 2 * k + 2].astype("uint32"))


class _Backup(keras.callbacks.BackupAndRestore):
    """Keras's backup, made whole: written beside and renamed, so that a kill while it writes costs one epoch."""

    def __init__(self, folder):
        self.folder, self.part = folder, folder / "part"
        super().__init__(self.part, delete_checkpoint=False)

    def on_train_begin(self, logs=None):
        shutil.rmtree(self.part, ignore_errors=True)
        if whole := self._whole():
            shutil.copytree(whole[-1], self.part)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        earlier = self._whole()
        self.part.rename(self.folder / f"epoch-{epoch:06d}")
        for folder in earlier:
            shutil.rmtree(folder)

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None  # else Keras starts the model's next fit there too

    def _whole(self):
        return sorted(self.folder.glob("epoch-*"))


class _Journal(keras.callbacks.Callback):
    """The history, and the weights of the best epoch; both survive a kill when there is a folder."""

    def __init__(self, folder, *, best_by):
        super().__init__()
        self.folder = None if folder is None else Path(folder)
        self.best_by, self.rows, self.weights = best_by, {}, None

    def on_train_begin(self, logs=None):
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._file.is_file():
                self.rows = {row["epoch"]: row for row in json.loads(self._file.read_text())}

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs = {k: float(v) for k, v in (logs or {}).items() if k != "learning_rate"}
        row = {"epoch": epoch, "learning_rate": rate} | logs
        if self.best_by is not None:
            self._keep_best(row)
        self.rows = {e: r for e, r in self.rows.items() if e < epoch} | {epoch: row}
        if self.folder is not None:
            _write(self._file, lambda part: part.write_text(json.dumps(list(self.rows.values()))))

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
                _write(self._best_file, self.model.save_weights)

    def _score(self, row):
        value = -row[self.best_by] if "loss" in self.best_by else row[self.best_by]
        return -math.inf if math.isnan(value) else value

    @property
    def _file(self):
        return self.folder / "history.json"

    @property
    def _best_file(self):
        return self.folder / "best.weights.h5"


def _write(path, writer):
    part = path.with_name(f"part-{path.name}")
    writer(part)
    part.replace(path)
