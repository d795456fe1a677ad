"""How fast this machine is: seconds per training step, decoded clip, nearest-neighbour query and so on.

`measure` takes about a minute. Networks are timed in a process of their own per number of threads, because TensorFlow
cannot change that number once it has begun; the process also gives the memory of a GPU back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["Network", "Rates", "Timing", "measure", "sizes"]

_CLASSES = 50
_CHEAP = 1.0  # seconds that a step may take to be timed with its whole batch


@dataclass(frozen=True)
class Network:
    """A network to time.

    Parameters
    ----------
    model : str
        A model of `musictools.models`.
    width : float > 0
    batch_size, length : int > 0
        Batch size of its training, columns of its input. The number of classes hardly matters: it is 50.
    threads : int >= 0
        TensorFlow's threads; 0: all.
    """

    model: str
    width: float
    batch_size: int
    length: int
    threads: int = 0


@dataclass(frozen=True)
class Timing:
    """What was measured of a network.

    Parameters
    ----------
    start : float
        Seconds until a training begins: building the network and tracing its first step.
    step : float
        Seconds of one training step.
    forward : float
        Seconds of one input in scoring.
    parameters : int
    activations : int
        Numbers that one input makes in all layers together.
    maps : dict of str to list of int
        Block -> (n_maps, height, width) of its feature maps, the input first.
    """

    start: float
    step: float
    forward: float
    parameters: int
    activations: int
    maps: dict[str, list[int]]


@dataclass(frozen=True)
class Rates:
    """Speed of this machine, in seconds on one core unless said otherwise.

    Parameters
    ----------
    networks : dict of Network to Timing
    compose : float
        Composing, rendering and encoding of a clip of the composed corpus.
    decode, spectrogram : float
        Decoding of a clip of 29 s; decoding and mel-spectrogram.
    pair, pair_cell : float
        k-NN: one pair of clips, and one cell of their feature maps in addition.
    forest : float
        Random forest: one tree, per clip, doubling of the clips and square root of the cells.
    machine : float
        Linear support vector machine: one fit, per clip and cell.
    mapping_fit, mapping_step : float
        Descriptor-to-genre network: one fit, and one training step in addition.
    cores : int
    """

    networks: dict[Network, Timing] = field(default_factory=dict)
    compose: float = 0.0
    decode: float = 0.0
    spectrogram: float = 0.0
    pair: float = 0.0
    pair_cell: float = 0.0
    forest: float = 0.0
    machine: float = 0.0
    mapping_fit: float = 0.0
    mapping_step: float = 0.0
    cores: int = 1


def measure(networks: Sequence[Network], *, say: Callable[[str], None] = lambda text: None) -> Rates:
    """Measure the speed of this machine.

    Parameters
    ----------
    networks : sequence of Network
        Networks to time.
    say : callable
        Told what is measured next.

    Returns
    -------
    rates : Rates
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    timings, mapping = {}, {}
    for threads in sorted({network.threads for network in networks} | {1}):
        some = [network for network in networks if network.threads == threads]
        say(f"timing {len(some)} networks with {threads or cores} threads")
        answers, fit = _in_a_process(some, threads)
        mapping = fit or mapping
        timings |= {network: Timing(**answer) for network, answer in zip(some, answers, strict=True)}
    say("timing composing, decoding and classifiers")
    return Rates(networks=timings, cores=cores, **_audio(), **_classifiers(), **mapping)


def sizes(networks: Sequence[Network]) -> Rates:
    """Build networks to count their parameters, activations and feature maps; all times are 0.

    Parameters
    ----------
    networks : sequence of Network

    Returns
    -------
    rates : Rates
    """
    networks = sorted(set(networks), key=str)
    answers, _ = _in_a_process(networks, 1, timed=False)
    return Rates(networks={network: Timing(**answer) for network, answer in zip(networks, answers, strict=True)})


def _in_a_process(networks, threads, *, timed=True):
    """Timings of some networks, and of the descriptor-to-genre network if there is one thread."""
    request = {"networks": [vars(network) for network in networks], "threads": threads, "timed": timed}
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise OSError(f"The networks could not be timed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return json.loads(done.stdout.splitlines()[-1])


def _main():
    from musictools import training

    request = json.load(sys.stdin)
    if request["threads"]:
        training.use_threads(request["threads"])
    inspect = time_network if request["timed"] else _size
    timings = [vars(inspect(Network(**network))) for network in request["networks"]]
    print(json.dumps([timings, _mapping() if request["timed"] and request["threads"] == 1 else {}]))


def _build(network):
    """A model, and the shape of its input."""
    from musictools import models

    front_end = models.describe(network.model).front_end
    shape = (network.length, 1) if front_end.kind == "waveform" else (front_end.n_bins, network.length, 1)
    model = models.build(
        network.model, n_outputs=_CLASSES, input_shape=shape, width=network.width, norm_momentum=0.9, seed=0
    )
    return model, shape


def _size(network, model=None, *, start=0.0, step=0.0, forward=0.0):
    from musictools.probing.maps import map_shapes

    model = model or _build(network)[0]
    return Timing(
        start=start,
        step=step,
        forward=forward,
        parameters=model.count_params(),
        activations=int(sum(np.prod(layer.output.shape[1:]) for layer in model.layers)),
        maps={name: list(sides) for name, sides in map_shapes(model).items()},
    )


def time_network(network: Network) -> Timing:
    """Time training steps and scoring of a network in this process.

    Networks that need long are timed with one and a few inputs; the time grows linearly with the batch.
    """
    import tensorflow as tf

    from musictools import models

    began = time.perf_counter()
    model, shape = _build(network)
    step, forward = _compiled(tf, model, shape, genre=models.describe(network.model).kind == "genre")

    def timed(function, n):
        x, y = np.zeros((n, *shape), np.float32), np.eye(_CLASSES, dtype=np.float32)[np.zeros(n, int)]
        began = time.perf_counter()
        function(x, y)
        return time.perf_counter() - began

    timed(step, 1)
    start = time.perf_counter() - began
    one = timed(step, 1)
    n = 2 if one > _CHEAP else 4
    several = timed(step, n)
    whole = one + max(several - one, 0) / (n - 1) * (network.batch_size - 1)
    if whole < _CHEAP:
        timed(step, network.batch_size)
        whole = float(np.median([timed(step, network.batch_size) for _ in range(3)]))
    n = n if several > _CHEAP else min(network.batch_size, 16)
    timed(forward, n)
    return _size(network, model, start=start, step=whole, forward=timed(forward, n) / n)


def _compiled(tf, model, shape, *, genre):
    """Functions of (inputs, labels): a training step with Adam, and scoring, for any batch size."""
    import keras

    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    loss = keras.losses.CategoricalCrossentropy() if genre else keras.losses.BinaryCrossentropy()
    signature = [tf.TensorSpec((None, *shape)), tf.TensorSpec((None, model.output_shape[-1]))]

    @tf.function(input_signature=signature)
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    @tf.function(input_signature=signature)
    def forward(x, y):
        return model(x, training=False)

    return (lambda x, y: step(x, y).numpy()), (lambda x, y: forward(x, y).numpy())


def _seconds(function, *, repeats=1):
    began = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - began) / repeats


def _audio():
    from musictools import audio
    from musictools.datasets.composed import mp3, planning, rendering
    from musictools.spectrograms import FrontEnd, compute_file

    clips = planning.plan(4, seed=0)
    rendering.mix(clips[0])  # reads the sound bank
    sounds = []
    compose = _seconds(lambda: sounds.append(mp3.encode(rendering.mix(clips[1]))))
    front_end = FrontEnd(sr=16000, n_fft=512, hop_length=256, n_mels=128)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp3"
        path.write_bytes(sounds[0])
        compute_file(path, front_end)
        decode = _seconds(lambda: audio.load(path, sr=16000), repeats=3)
        return {
            "compose": compose,
            "decode": decode,
            "spectrogram": _seconds(lambda: compute_file(path, front_end), repeats=3),
        }


def _classifiers():
    from musictools.probing import knn, random_forest, svm

    rng = np.random.default_rng(0)
    X, Y, Q = rng.random((1500, 1024), np.float32), rng.random((1500, 1)) < 0.3, rng.random((500, 1024), np.float32)
    knn.predict(X[:, :64], Y, Q[:, :64], ks=[3])
    few, many = (_seconds(lambda n=n: knn.predict(X[:, :n], Y, Q[:, :n], ks=[3])) for n in (64, 1024))
    pairs = len(X) * len(Q)
    pair_cell = max(many - few, 0) / (pairs * (1024 - 64))
    forest = _seconds(lambda: random_forest.predict(X[:, :256], Y, Q[:2, :256], sizes=[10]))
    machine = _seconds(lambda: svm.predict(X[:, :256], Y, Q[:2, :256]))
    return {
        "pair": max(few / pairs - 64 * pair_cell, 0.0),
        "pair_cell": pair_cell,
        "forest": float(forest / (10 * len(X) * np.log2(len(X)) * 16)),
        "machine": machine / (len(X) * 256),
    }


def _mapping():
    from musictools.mapping.network import DescriptorNetwork

    rng = np.random.default_rng(0)
    X, y = rng.random((400, 50)) < 0.1, rng.choice(["pop", "rock"], 400)
    DescriptorNetwork(epochs=1).fit(X, y)  # loads what is needed
    one, five = (_seconds(lambda n=n: DescriptorNetwork(epochs=n, batch_size=10).fit(X, y)) for n in (1, 5))
    step = max(five - one, 0) / (4 * 40)
    return {"mapping_fit": max(one - 40 * step, 0.0), "mapping_step": step}


if __name__ == "__main__":
    _main()
