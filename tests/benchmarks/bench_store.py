"""How fast the spectrogram store is against librosa, file by file, and whether its memory stays flat.

    python tests/benchmarks/bench_store.py [--clips 400] [--librosa-clips 100] [--workers 2] [--only formats training]

Decode mp3 -> mel -> decibel -> Zarr with worker processes, against `librosa.load`, `melspectrogram` and
`power_to_db` one clip after the other in this process: half of librosa's clips before, half after the store, so that
a machine whose speed drifts treats both alike. Starting (librosa's import, the workers' start) is timed apart for
both; the ratio is of the clips a second after that. Exit status 1 when it is below 2.2.

Two more measurements follow. Formats: size, time to write and time to read per clip, with and without compression, in
turns, and what decoding a waveform costs against reading it. Training: segments per second of ckn19 at width 0.125 with
the input alone (rows not yet and already in memory), the model alone, and both, in turns and without the time that
TensorFlow needs to trace the first step. On a machine with other work, compare the CPU times.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from joblib.externals.loky import get_reusable_executor

WANTED = 2.2
SAMPLES, SR = 465_984, 16_000
CHILD = """
import os, sys
from pathlib import Path
from musictools import models
from musictools.spectrograms import SpectrogramStore

def peak(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next((line.split()[1] for line in lines if line.startswith("VmHWM")), 0))

folder, workers = Path(sys.argv[1]), int(sys.argv[2])
front_end = models.describe("ckn19").front_end
SpectrogramStore.build(folder, {p: p for p in sys.argv[3:]}, front_end=front_end, seconds=29.124,
                       workers=workers)
task = Path(f"/proc/{os.getpid()}/task").glob("*/children")
print(peak("self"), max(peak(child) for file in task for child in file.read_text().split()))
"""


def make_clips(folder, n):
    """Composed clips; where there is no composed corpus, tones and noise as mp3."""
    try:
        from musictools import datasets

        data = datasets.load("composed", data_dir=folder, n_clips=n)
        return [str(data.path(i)) for i in data.tracks.index][:n], "composed"
    except (ImportError, AttributeError, TypeError):
        import soundfile

        t, paths = np.arange(SAMPLES) / SR, []
        for k in range(n):
            rng = np.random.default_rng(k)
            y = 0.02 * rng.normal(size=SAMPLES) + sum(0.1 * np.sin(2 * np.pi * f * t) for f in rng.uniform(80, 4000, 6))
            paths.append(str(folder / f"{k}.mp3"))
            soundfile.write(paths[-1], np.clip(y, -1, 1), SR)
        return paths, "synthetic"


def by_librosa(paths):
    """librosa's own way, one clip after the other."""
    import librosa

    for path in paths:
        y, sr = librosa.load(path, sr=SR)
        S = librosa.feature.melspectrogram(y=y, sr=sr, n_fft=1024, hop_length=512, n_mels=128)
        librosa.power_to_db(S)


def by_store(paths, folder, *, workers):
    """The store, in worker processes that stay alive from call to call, as in a notebook."""
    from musictools import models
    from musictools.spectrograms import SpectrogramStore

    store = SpectrogramStore.build(
        folder,
        {p: p for p in paths},
        front_end=models.describe("ckn19").front_end,
        seconds=SAMPLES / SR,
        workers=workers,
    )
    assert len(store) == len(paths), store.failed


def timed(function, *arguments, **options):
    """Wall seconds of a call, and CPU seconds of this process (not of workers that live on)."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(*arguments, **options)
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def worker_cpu():
    """CPU seconds so far of all processes that this one started and that still run (Linux)."""
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def speed(paths, folder, *, librosa_clips, workers):
    """Half of librosa's clips, the store, the other half; returns the ratio of clips a second."""
    first = paths[: 2 * workers * 16]  # a worker takes 16 clips at a time
    start = timed(by_librosa, paths[:1])[0], timed(by_store, first, folder / "start.zarr", workers=workers)[0]
    librosa_time = timed(by_librosa, paths[:librosa_clips:2])
    before = worker_cpu()
    store_time = timed(by_store, paths, folder / "all.zarr", workers=workers)
    store_time[1] += worker_cpu() - before
    librosa_time += timed(by_librosa, paths[1:librosa_clips:2])
    rate = librosa_clips / librosa_time[0], len(paths) / store_time[0]
    print(
        f"start:   librosa {start[0]:.1f} s with its first clip, store {start[1]:.1f} s with {len(first)} clips; "
        "not counted below"
    )
    print(
        f"librosa: {librosa_clips} clips in {librosa_time[0]:.1f} s = {rate[0]:.1f} clips/s, "
        f"{1000 * librosa_time[1] / librosa_clips:.0f} ms CPU a clip"
    )
    print(
        f"store:   {len(paths)} clips in {store_time[0]:.1f} s = {rate[1]:.1f} clips/s with {workers} workers, "
        f"{1000 * store_time[1] / len(paths):.0f} ms CPU a clip"
    )
    print(
        f"ratio:   {rate[1] / rate[0]:.2f} (wanted: at least {WANTED}), of CPU time "
        f"{librosa_time[1] / librosa_clips * len(paths) / store_time[1]:.2f}; load of the machine "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    whole = (start[0] + len(paths) / rate[0]) / (start[1] + store_time[0] * (1 - len(first) / len(paths)))
    print(f"         with both starts, for {len(paths)} clips: {whole:.2f}")
    return rate[1] / rate[0]


def memory(paths, folder, *, workers):
    """Peak resident memory of a fresh process and of its largest worker, for a quarter of the clips and for all."""
    for chosen in (paths[: len(paths) // 4], paths):
        command = [sys.executable, "-c", CHILD, str(folder / f"memory{len(chosen)}.zarr"), str(workers), *chosen]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        parent, worker = (int(kib) / 1024 for kib in printed[-2:])
        print(f"memory:  {len(chosen)} clips: parent {parent:.0f} MiB, largest worker {worker:.0f} MiB")


def formats(paths, folder, *, clips=60):
    """Size and times per clip of ways to keep a spectrogram and a waveform; the store's own are marked with *."""
    import zarr

    from musictools import models, spectrograms
    from musictools.spectrograms import store as module

    front_end = models.describe("short_chunk").front_end
    S = [spectrograms.compute_file(path, front_end, seconds=SAMPLES / SR) for path in paths[:clips]]
    levels = [module._to_levels(front_end.scale(s)) for s in S]
    changes = [np.diff(s, axis=1, prepend=np.uint8(0)) for s in levels]
    half = [s.astype(np.float16) for s in S]
    zstd = zarr.codecs.ZstdCodec(level=1)
    blosc = {name: zarr.codecs.BloscCodec(cname=name, clevel=1, shuffle="shuffle") for name in ("lz4", "zstd")}
    ways = {
        "float16": (half, None),
        "float16, lz4": (half, blosc["lz4"]),
        "float16, zstd": (half, blosc["zstd"]),
        "8 bits": (levels, None),
        "8 bits, zstd": (levels, zstd),
        "* 8 bits, changes, zstd": (changes, zstd),
    }
    seconds, sizes = {name: np.zeros(2) for name in ways}, {}
    for name, (values, compressor) in ways.items():
        group = folder / f"{len(sizes)}.zarr"
        shape, chunks = (len(values), *values[0].shape), (1, *values[0].shape)
        zarr.create_array(group, shape=shape, chunks=chunks, dtype=values[0].dtype, compressors=compressor)
        sizes[name] = group
    for k in range(len(S)):
        for name, (values, _) in ways.items():  # in turns, so that a machine whose speed drifts treats all alike
            array = zarr.open_array(sizes[name], mode="r+")
            began = time.perf_counter()
            array[k] = values[k]
            written = time.perf_counter()
            row = array[k]
            if name.startswith("*"):
                row = np.cumsum(row, axis=1, dtype=np.uint8)
            seconds[name] += written - began, time.perf_counter() - written
    for name, folder_ in sizes.items():
        size = sum(path.stat().st_size for path in (folder_ / "c").rglob("*") if path.is_file()) / len(S)
        write, read = 1000 * seconds[name] / len(S)
        print(f"format:  {name}: {size / 1e3:.0f} kB, write {write:.2f} ms, read {read:.2f} ms per clip")
    decode(paths[:clips], folder)


def decode(paths, folder):
    """Decoding a waveform against reading it from an uncompressed array."""
    import zarr

    from musictools import audio

    array = zarr.create_array(folder / "waves.zarr", shape=(len(paths), SAMPLES), chunks=(1, SAMPLES), dtype="float32")
    seconds = np.zeros(2)
    for k, path in enumerate(paths):
        began = time.perf_counter()
        y, _ = audio.load(path, sr=SR)
        decoded = time.perf_counter()
        array[k, : len(y)] = y
        written = time.perf_counter()
        array[k]
        seconds += decoded - began, time.perf_counter() - written
    print("waveform: decode {:.1f} ms, read from disk {:.1f} ms per clip".format(*1000 * seconds / len(paths)))


def training_rates(paths, folder, *, workers, batch_size=64):
    """Segments per second: the input of training alone, the model alone, and a fit with both."""
    from musictools import models, training
    from musictools.spectrograms import Segments, SpectrogramStore

    model_input = models.describe("ckn19").input
    store = SpectrogramStore.build(
        folder / "training.zarr",
        {p: p for p in paths},
        front_end=model_input.front_end,
        seconds=SAMPLES / SR,
        workers=workers,
    )
    x = Segments(store, store.ids, length=model_input.length, step=model_input.step)
    y = np.eye(8, dtype=np.float32)[x.clip % 8]
    source = training._Source(x, y, batch_size=batch_size, seed=0)
    took = {}
    for name in ("input alone, rows on disk", "input alone, rows in memory"):
        took[name] = timed(lambda: [None for _ in source.dataset()]) / len(x)
    few = x[: 4 * batch_size], y[: 4 * batch_size]
    model = models.build("ckn19", n_outputs=8, width=0.125, seed=0)
    with training.deterministic(0):
        model.compile("adam", "categorical_crossentropy")
        fits = {
            "model alone": lambda: model.fit(*few, batch_size=batch_size, epochs=-(-len(x) // len(few[1])), verbose=0),
            "both": lambda: model.fit(source.dataset(), verbose=0, shuffle=False),
        }
        counts = {"model alone": -(-len(x) // len(few[1])) * len(few[1]), "both": len(x)}
        # Tracing is not counted: each way of giving data to `fit` has a graph of its own.
        took["both, first fit"] = timed(fits["both"]) / counts["both"]
        fits["model alone"]()
        # In turns, so that a machine whose speed drifts treats both alike.
        rounds = [{name: timed(fit) / counts[name] for name, fit in fits.items()} for _ in range(3)]
    took |= {name: np.median([r[name] for r in rounds], axis=0) for name in fits}
    for name, (wall, cpu) in took.items():
        print(f"training: {name}: {1 / wall:.0f} segments/s, {1e6 * cpu:.0f} us CPU per segment")
    wall, cpu = took["both"] / took["model alone"]
    print(f"training: both / model alone: {wall:.2f} of time, {cpu:.2f} of CPU time; load {os.getloadavg()[0]:.1f}")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--librosa-clips", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--corpus", type=Path, help="folder of the composed clips; kept (default: a temporary one)")
    parser.add_argument(
        "--only", nargs="+", choices=("librosa", "formats", "training"), default=("librosa", "formats", "training")
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, kind = make_clips(options.corpus or folder, options.clips)
        size = np.mean([os.path.getsize(p) for p in paths]) / 1e3
        print(f"{len(paths)} {kind} clips of {SAMPLES / SR:.3f} s, mp3, {size:.0f} kB each")
        get_reusable_executor().shutdown(wait=True)  # the workers that composed
        ratio = WANTED
        if "librosa" in options.only:
            ratio = speed(paths, folder, librosa_clips=min(options.librosa_clips, len(paths)), workers=options.workers)
            memory(paths, folder, workers=options.workers)
        if "formats" in options.only:
            formats(paths, folder)
        if "training" in options.only:
            training_rates(paths, folder, workers=options.workers)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"this process peaked at {own:.0f} MiB")
    sys.exit(int(ratio < WANTED))


if __name__ == "__main__":
    main()
