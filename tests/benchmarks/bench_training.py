"""Training throughput of ckn19 and short_chunk at full width against an equivalent plain PyTorch loop.

    pip install -e .[bench]            # PyTorch, for this comparison only
    python tests/benchmarks/bench_training.py [--seconds 40] [--torch-python /path/to/python]

The same layers, batch size, optimiser (Adam) and loss; both may use all cores; random spectrograms in memory, so
that only the arithmetic is compared. Each side runs in a process of its own, in turns (Keras, PyTorch, Keras, PyTorch),
so that a machine whose speed drifts treats both alike; the first steps are not counted. Exit status 1 when a ratio is
below 1.3. Without PyTorch nothing is measured, and the script says so.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

WANTED = 1.3
MODELS = {"ckn19": ((128, 128), 64, 8), "short_chunk": ((128, 230), 16, 108)}  # input, batch size, outputs
FRAMES_A_CLIP = {"ckn19": 13, "short_chunk": 14}


def examples(name):
    """One batch of random spectrograms and labels."""
    (height, length), batch, outputs = MODELS[name]
    rng = np.random.default_rng(0)
    x = rng.random((batch, height, length, 1), np.float32)
    y = np.eye(outputs, dtype=np.float32)[rng.integers(outputs, size=batch)]
    return x, y


def by_keras(name):
    """A function that does one step with the suite's model."""
    from musictools import models

    x, y = examples(name)
    model = models.build(name, n_outputs=8 if name == "ckn19" else 108, seed=0)
    model.compile("adam", "categorical_crossentropy" if name == "ckn19" else "binary_crossentropy")
    return lambda: model.train_on_batch(x, y)


def by_torch(name):
    """A function that does one step with the same network in PyTorch."""
    import torch
    from torch import nn

    x, y = (torch.from_numpy(np.ascontiguousarray(a)) for a in examples(name))
    x = x.permute(0, 3, 1, 2).contiguous()
    layers, channels = [], 1
    if name == "ckn19":
        for filters in (64, 128, 256):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(filters), nn.MaxPool2d(2)]
            channels = filters
        layers += [nn.Flatten(), nn.Linear(256 * 16 * 16, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 8)]
        loss = nn.CrossEntropyLoss()
    else:
        for filters in (128, 128, 256, 256, 256, 256, 512):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
        layers += [
            nn.Flatten(),
            nn.Linear(512, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, 108),
        ]
        loss = nn.BCEWithLogitsLoss()
    model = nn.Sequential(*layers).train()
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return step


def measure(side, name, seconds):
    """Frames a second of one side, in this process."""
    step = {"keras": by_keras, "torch": by_torch}[side](name)
    for _ in range(3):
        step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or steps < 3:
        step()
        steps += 1
    return steps * MODELS[name][1] / (time.perf_counter() - began)


def in_process(python, side, name, seconds):
    """The same in a fresh process; None where PyTorch is not installed."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, __file__, "--side", side, "--model", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if "No module named 'torch'" in done.stderr:
        return None
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout.split()[-1])


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each of the two turns of each side")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--side", choices=("keras", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=tuple(MODELS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(measure(options.side, options.model, options.seconds))
        return
    ratios = []
    for name in MODELS:
        rates = {"keras": [], "torch": []}
        for _ in range(2):
            for side, python in (("keras", sys.executable), ("torch", options.torch_python)):
                rates[side].append(in_process(python, side, name, options.seconds / 2))
        if None in rates["torch"]:
            print("PyTorch is not installed here: nothing to compare with. pip install -e .[bench]")
            return
        keras, torch = (np.mean(rates[side]) / FRAMES_A_CLIP[name] for side in ("keras", "torch"))
        ratios.append(keras / torch)
        print(
            f"{name}: Keras {keras:.2f} clips/s, PyTorch {torch:.2f} clips/s, ratio {ratios[-1]:.2f} "
            f"(wanted: at least {WANTED}); load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
    sys.exit(int(min(ratios) < WANTED))


if __name__ == "__main__":
    main()
