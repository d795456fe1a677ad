"""How taggers are trained: the protocols of `rotheneder2023` and `tagger_slides`.

`rotheneder2023` 5.1.7: Adam for at most 120 epochs, the learning rate lowered from epoch 80, training stopped when the
validation loss has not improved for 30 epochs, best weights by validation binary accuracy, and a learning rate and
batch size for each model. For Stacked CNN it names three batch sizes, 8, 16 and 32, which are taken as those of its
three tag sets. Whole clips are scored with segments that overlap by half.
`tagger_slides` names "a mixture of scheduled Adam and stochastic gradient descent" and no numbers; those are of Won et
al. (2020), whose evaluation it repeats: Adam at 1e-4 for 80 epochs, then SGD at 1e-3, 1e-4 and 1e-5 for 20 epochs each,
every phase from the best weights so far, one random chunk of a song an epoch. Song-level models take a whole clip; for
them the chunk is the clip.
"""

from dataclasses import dataclass

from musictools.models import describe

__all__ = ["PROTOCOLS", "Protocol", "genre_protocol", "protocol"]

PROTOCOLS = ("rotheneder2023", "tagger_slides")
SHORTEST_PATIENCE = 3  # epochs; in short trainings a quarter of the epochs would end most of them by chance
STACKED_BATCHES = {50: 8, 80: 16, 108: 32}  # size of the tag set -> batch size of stacked_cnn in `rotheneder2023`
_WON2020 = (1e-4, 16)  # learning rate of Adam and batch size, for all models
_SGD = (1e-3, 1e-4, 1e-5)


@dataclass(frozen=True)
class Protocol:
    """Settings of the training of one model.

    Parameters
    ----------
    phases : tuple of dict
        Arguments of `training.fit` that differ between phases: optimizer, learning_rate, epochs; for a falling rate
        also hold (number of epochs before that) and decay: every later epoch multiplies the rate by exp(-decay). The
        source does not give decay; 0.1 is that of the callback in its chapter 3.
    batch_size : int
    patience : int or None
        As in `training.fit`.
    best_by : str or None
        Column of the history that decides which epoch's weights the model ends with; None: those of the last epoch.
    per_clip : int
        Number of segments of a clip in one epoch; 0: all.
    dropout : float
        Factor on the source's dropout rates; narrow networks that are trained on few clips need no dropout.
    prior_bias : bool
        Whether the logits' biases start at the tags' log-odds.
    """

    phases: tuple
    batch_size: int
    patience: int | None = None
    best_by: str | None = None
    per_clip: int = 0
    dropout: float = 1.0
    prior_bias: bool = False


def protocol(
    name: str,
    model: str,
    *,
    n_tags: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    per_clip: int | None = None,
    dropout: float = 1.0,
    prior_bias: bool = False,
) -> Protocol:
    """Return the protocol of a source for one tagger.

    Parameters
    ----------
    name : {"rotheneder2023", "tagger_slides"}
    model : str
        A tagger.
    n_tags : int > 0 or None
        Size of the tag set, on which the batch size of `stacked_cnn` depends; None: 50.
    epochs : int > 0 or None
        Number of epochs of all phases together; every other number of epochs is scaled with it, patience to at least
        3. None: the source's. `stacked_cnn` is trained a second time for as many epochs, from the weights of the first
        training (`rotheneder2023` 5.1.6).
    learning_rate : float > 0 or None
        Rate of the first phase; the other phases keep their ratio to it. None: the source's.
    batch_size : int > 0 or None
    per_clip : int >= 0 or None
    dropout : float in [0, 1]
    prior_bias : bool
        As in `Protocol`; the sources: 1.0 and False.

    Returns
    -------
    protocol : Protocol

    Raises
    ------
    ValueError
        If the name is unknown or a number out of range.

    Examples
    --------
    >>> protocol("tagger_slides", "musicnn", epochs=14).phases[0]
    {'optimizer': 'adam', 'learning_rate': 0.0001, 'epochs': 8}
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}. Got {name!r}.")
    for what, value in (("epochs", epochs), ("learning_rate", learning_rate), ("batch_size", batch_size)):
        if value is not None and not value > 0:
            raise ValueError(f"{what} must be positive or None. Got {value!r}.")
    if per_clip is not None and not per_clip >= 0:
        raise ValueError(f"per_clip must be at least 0 or None. Got {per_clip!r}.")
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout must lie in [0, 1]. Got {dropout!r}.")
    description = describe(model)
    own = description.learning_rate, description.batch_size
    if model == "stacked_cnn":
        own = description.learning_rate, STACKED_BATCHES[min(STACKED_BATCHES, key=lambda n: abs(n - (n_tags or 50)))]
    rate, batch = own if name == "rotheneder2023" else _WON2020
    rate = learning_rate or rate
    whole = epochs or (120 if name == "rotheneder2023" else 140)
    if name == "rotheneder2023":
        phase = {
            "optimizer": "adam",
            "learning_rate": rate,
            "epochs": whole,
            "hold": round(whole * 80 / 120),
            "decay": 0.1 * 120 / whole,
        }
        phases, patience, chunks = (phase,), max(SHORTEST_PATIENCE, round(whole * 30 / 120)), 0
    else:
        tail = max(1, round(whole * 20 / 140))
        first = {"optimizer": "adam", "learning_rate": rate, "epochs": max(1, whole - 3 * tail)}
        phases = (
            first,
            *({"optimizer": "sgd", "learning_rate": rate * factor / 1e-4, "epochs": tail} for factor in _SGD),
        )
        patience, chunks = None, 1
    best_by = "val_binary_accuracy" if name == "rotheneder2023" else "val_loss"
    return Protocol(
        phases * description.stages,
        batch_size or batch,
        patience,
        best_by,
        chunks if per_clip is None else per_clip,
        float(dropout),
        bool(prior_bias),
    )


def genre_protocol(name: str, *, epochs: int = 50, batch_size: int = 64, learning_rate: float = 1e-3) -> Protocol:
    """Training of a genre classifier (`rotheneder2023` 3.4), with or without two callbacks (3.5).

    Parameters
    ----------
    name : {"callbacks", "plain"}
        "callbacks": the model keeps its best weights by validation accuracy, and the learning rate falls after a
        fifth of the epochs (the source: after 10 of 50).
    epochs, batch_size : int > 0
    learning_rate : float > 0
        Initial learning rate of Adam.

    Returns
    -------
    protocol : Protocol

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> genre_protocol("callbacks", epochs=10).best_by
    'val_accuracy'
    """
    if name not in ("callbacks", "plain"):
        raise ValueError(f"protocol must be 'callbacks' or 'plain'. Got {name!r}.")
    phase = {"optimizer": "adam", "learning_rate": learning_rate, "epochs": epochs}
    if name == "plain":
        return Protocol((phase,), batch_size)
    return Protocol(({**phase, "hold": round(epochs / 5), "decay": 0.1},), batch_size, best_by="val_accuracy")
