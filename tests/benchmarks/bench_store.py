"""How fast the spectrogram store is against librosa, file by file, and whether its memory stays flat.

    python tests/benchmarks/bench_store.py [--clips 400] [--librosa-clips 100] [--workers 2]

Decode mp3 -> mel -> decibel -> Zarr with worker processes, against `librosa.load`, `melspectrogram` and
`power_to_db` one clip after the other in this process: half of librosa's clips before, half after the store, so that
a machine whose speed drifts treats both alike. Starting (librosa's import, the workers' start) is timed apart for
both; the ratio is of the clips a second after that. Exit status 1 when it is below 2.2.
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


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--librosa-clips", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--corpus", type=Path, help="folder of the composed clips; kept (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, kind = make_clips(options.corpus or folder, options.clips)
        size = np.mean([os.path.getsize(p) for p in paths]) / 1e3
        print(f"{len(paths)} {kind} clips of {SAMPLES / SR:.3f} s, mp3, {size:.0f} kB each")
        get_reusable_executor().shutdown(wait=True)  # the workers that composed
        ratio = speed(paths, folder, librosa_clips=min(options.librosa_clips, len(paths)), workers=options.workers)
        memory(paths, folder, workers=options.workers)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"this process peaked at {own:.0f} MiB")
    sys.exit(int(ratio < WANTED))


if __name__ == "__main__":
    main()
