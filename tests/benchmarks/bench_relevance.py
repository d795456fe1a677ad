"""Speed of `deep_taylor` for ckn19 without BatchNorm at full width against iNNvestigate, Zennit and the floor.

    python tests/benchmarks/bench_relevance.py [--rounds 3] [--seconds 10] \
        [--innvestigate-python /path/to/python] [--torch-python /path/to/python]

The peers live in environments of their own, named by their Pythons: innvestigate==2.1.2 (see
`tests/oracles/innvestigate_oracle.py`), and PyTorch with torchvision and zennit==1.0.0. A peer without a Python is left
out. All get the same weights (a temporary file), the same 16 frames of 128 x 128 in [0, 1] and the same neuron, and do
what their documentation shows: iNNvestigate's `deep_taylor` in graph mode, Zennit's `EpsilonPlus` in the `Gradient`
attributor; everything is made once and warmed before time is taken. No peer makes a conservation report, so ours are
compared without it; with it, as is the default, they have rows of their own.

Each side runs in a process of its own, in turns (ours, iNNvestigate, Zennit, ours, ...), so that a machine whose speed
drifts treats all alike; the numbers are medians over steps and rounds. CPU seconds (of all threads) stand beside wall
seconds: they suffer less where others work too.

The floor is three forward passes a map (forward, z+ forward, transposed), taken in turns with the maps themselves.
Exit status 1 when a ratio is below what is wanted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH, SIDE, FILTERS, UNITS, OUTPUTS, NEURON, TAGS = 16, 128, (64, 128, 256), 512, 8, 3, 8
WANTED = {"innvestigate": 1.6, "zennit": 10.0}  # our maps a second over theirs
WANTED_TAGS = 1.25  # eight single maps of a clip over all eight in one call


def draw(path):
    """Weights, He's variance, and an input, written to a file."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3, a, b) for a, b in zip((1, *FILTERS[:-1]), FILTERS, strict=True)]
    shapes += [((SIDE // 8) ** 2 * FILTERS[-1], UNITS), (UNITS, OUTPUTS)]
    arrays = {"x": rng.random((BATCH, SIDE, SIDE, 1), np.float32)}
    for i, shape in enumerate(shapes):
        scale = np.float32(np.sqrt(2 / np.prod(shape[:-1])))
        arrays[f"kernel{i}"] = scale * rng.standard_normal(shape, np.float32)
        arrays[f"bias{i}"] = rng.uniform(-0.05, 0.05, shape[-1]).astype(np.float32)
    arrays["bias4"] += 3  # every logit positive, or Deep Taylor would have nothing to explain
    np.savez(path, **arrays)


def keras_model(keras, data):
    """The network, in Keras 2 or 3."""
    layers = [keras.layers.Input((SIDE, SIDE, 1))]
    for filters in FILTERS:
        layers += [keras.layers.Conv2D(filters, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(UNITS, activation="relu"), keras.layers.Dense(OUTPUTS)]
    model = keras.Sequential(layers)
    model.set_weights([data[f"{part}{i}"] for i in range(5) for part in ("kernel", "bias")])
    return model


def ours(data):
    """Jobs of the suite by name, and one that gives logits, maps and what is to equal Zennit's."""
    import keras
    import tensorflow as tf

    from musictools import explain

    model, x = keras_model(keras, data), data["x"]
    explainer, plain = explain.Explainer(model, conservation=False), tf.function(lambda a: model(a, training=False))
    tensor, clip, tags, keeper = tf.constant(x), x[:1], list(range(TAGS)), explain.Explainer(model)
    jobs = {
        "maps": lambda: explainer(x, NEURON),
        "report": lambda: keeper(x, NEURON),
        "forward": lambda: plain(tensor).numpy(),
        "tags": lambda: explainer(clip, tags),
        "singles": lambda: [explainer(clip, tag) for tag in tags],
    }
    epsilon_plus = {
        "method": "lrp_composite",
        "dense": "epsilon",
        "conv": "alpha_beta",
        "input": "alpha_beta",
        "alpha": 1.0,
    }  # z+ with the positive part of the bias, as Zennit has it
    return jobs, lambda: (
        plain(tensor).numpy(),
        *(explain.relevance(model, x, NEURON, **options).relevance for options in ({}, epsilon_plus)),
    )


def innvestigate(data):
    """Jobs, and one that gives logits and maps."""
    import innvestigate
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    model, x = keras_model(tf.keras, data), data["x"]
    analyzer = innvestigate.create_analyzer("deep_taylor", model, neuron_selection_mode="index")
    return (
        {"maps": lambda: analyzer.analyze(x, neuron_selection=NEURON)},
        lambda: (model.predict_on_batch(x), analyzer.analyze(x, neuron_selection=NEURON)),
    )


def zennit(data):
    """As `innvestigate`."""
    import torch
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    layers, channels = [], 1
    for filters in FILTERS:
        layers += [torch.nn.Conv2d(channels, filters, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        channels = filters
    layers += [
        torch.nn.Flatten(),
        torch.nn.Linear(len(data["kernel3"]), UNITS),
        torch.nn.ReLU(),
        torch.nn.Linear(UNITS, OUTPUTS),
    ]
    model, side = torch.nn.Sequential(*layers).eval(), SIDE // 8
    kernels = [data[f"kernel{i}"].transpose(3, 2, 0, 1) for i in range(3)]
    by_channel = data["kernel3"].reshape(side, side, FILTERS[-1], UNITS).transpose(2, 0, 1, 3)  # as Flatten has it here
    kernels += [by_channel.reshape(-1, UNITS).T, data["kernel4"].T]
    weighted = [layer for layer in layers if hasattr(layer, "weight")]
    for i, (layer, kernel) in enumerate(zip(weighted, kernels, strict=True)):
        layer.weight.data = torch.tensor(np.ascontiguousarray(kernel))
        layer.bias.data = torch.tensor(data[f"bias{i}"])
    x, wanted = torch.tensor(data["x"].transpose(0, 3, 1, 2)), torch.eye(OUTPUTS)[[NEURON] * BATCH]
    attributor = Gradient(model=model, composite=EpsilonPlus())
    attributor.__enter__()  # for the life of the process

    def maps():
        return [a.detach().numpy() for a in attributor(x, wanted)]

    def result():
        logits, relevance = maps()
        return logits, relevance.transpose(0, 2, 3, 1) * logits[:, NEURON, None, None, None]  # it starts from 1

    return {"maps": maps}, result


SIDES = {"ours": ours, "innvestigate": innvestigate, "zennit": zennit}


def measure(jobs, seconds):
    """Median wall and mean CPU seconds of every job, the jobs in turns: {job: [wall, cpu]}."""
    taken = {name: [] for name in jobs}
    for job in [*jobs.values()] * 2:
        job()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(taken["maps"]) < 3:
        for name, job in jobs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: [np.median([w for w, _ in pairs]), np.mean([c for _, c in pairs])] for name, pairs in taken.items()}


def one_turn(side, folder, seconds):
    """Work of a child process."""
    with np.load(folder / "data.npz") as file:
        data = dict(file)
    jobs, result = SIDES[side](data)
    if not (folder / f"{side}.npz").exists():
        np.savez(folder / f"{side}.npz", *result())
    print(json.dumps(measure(jobs, seconds)))


def in_process(python, side, folder, seconds):
    """A turn in a fresh process."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [python, "-W", "ignore", __file__, "--side", side, "--folder", str(folder), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def agreement(folder, peers):
    """Print how far logits and maps of the peers are from ours: the largest difference over the largest value.

    In a network of this size two libraries' rounding lets one maximum of millions win in one and not in the other, and
    a few cells of a map follow it: hence the median over the maps.
    """
    for peer in peers:
        with np.load(folder / "ours.npz") as a, np.load(folder / f"{peer}.npz") as b:
            pairs = (a["arr_0"], b["arr_0"]), (a["arr_1" if peer == "innvestigate" else "arr_2"], b["arr_1"])
        logits, maps = ([np.abs(x - y).max() / np.abs(y).max() for x, y in zip(*pair, strict=True)] for pair in pairs)
        print(
            f"{peer} and we, same rules: logits differ by {np.median(logits):.0e}, maps by {np.median(maps):.0e} "
            f"(worst of {BATCH}: {max(maps):.0e})"
        )


def ratio(name, turns, over, under, wanted=None):
    """Print the quotient of two jobs' seconds, round by round; whether it is what is wanted."""
    wall, cpu = (np.array([turn[over][i] / turn[under][i] for turn in turns]) for i in (0, 1))
    rule = "" if wanted is None else f"; wanted: at least {wanted:g}"
    print(
        f"{name}: {np.median(wall):.2f} by wall ({wall.min():.2f} to {wall.max():.2f}), "
        f"{np.median(cpu):.2f} by CPU seconds{rule}"
    )
    return wanted is None or np.median(wall) >= wanted


def report(turns, peers):
    """Print all; whether everything is as wanted."""
    rows = {
        "ours": ("ours maps", BATCH),
        "ours, with the report": ("ours report", BATCH),
        **{peer: (f"{peer} maps", BATCH) for peer in peers},
        "a forward pass": ("ours forward", BATCH),
        f"{TAGS} tags of a clip, one call": ("ours tags", TAGS),
        f"{TAGS} tags of a clip, {TAGS} calls": ("ours singles", TAGS),
    }
    print(f"{'':28}{'maps/s':>10}{'CPU s/map':>12}")
    for label, (job, n) in rows.items():
        wall, cpu = np.median([turn[job] for turn in turns], axis=0)
        print(f"{label:28}{n / wall:10.2f}{cpu / n:12.3f}")
    fine = [ratio(f"ours over {peer}", turns, f"{peer} maps", "ours maps", WANTED[peer]) for peer in peers]
    fine.append(ratio(f"{TAGS} calls over one for {TAGS} tags", turns, "ours singles", "ours tags", WANTED_TAGS))
    for peer in peers:
        ratio(f"ours with the report over {peer}", turns, f"{peer} maps", "ours report")
    for turn in turns:
        turn["floor"] = [3 * seconds for seconds in turn["ours forward"]]
    ratio("share of the floor, 3 forward passes over a map", turns, "floor", "ours maps")
    return all(fine)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn, without preparation")
    parser.add_argument("--innvestigate-python", help="a Python that has innvestigate")
    parser.add_argument("--torch-python", help="a Python that has PyTorch and zennit")
    parser.add_argument("--side", choices=tuple(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_turn(options.side, options.folder, options.seconds)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # two cores for all, wherever this runs
    pythons = {"ours": sys.executable, "innvestigate": options.innvestigate_python, "zennit": options.torch_python}
    for side in [s for s, python in pythons.items() if not python]:
        print(f"{side} is left out: no Python was given for it")
    sides = [s for s, python in pythons.items() if python]
    with tempfile.TemporaryDirectory() as name:
        folder, turns = Path(name), []
        draw(folder / "data.npz")
        for _ in range(options.rounds):
            found = {side: in_process(pythons[side], side, folder, options.seconds) for side in sides}
            turns.append({f"{side} {job}": pair for side, jobs in found.items() for job, pair in jobs.items()})
        agreement(folder, sides[1:])
    print(f"load {os.getloadavg()[0]:.1f}; batch {BATCH}, {options.rounds} rounds")
    sys.exit(int(not report(turns, sides[1:])))


if __name__ == "__main__":
    main()
