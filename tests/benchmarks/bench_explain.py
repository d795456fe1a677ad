"""Seconds that `musictools explain` takes for a 29-s clip with ten descriptors, badges and page.

    python tests/benchmarks/bench_explain.py SONG --tagger TAGGER.keras [--genre GENRE.keras] \
        [--mapping MAPPING.keras] [--tags TAG ...] [--rounds 3] [--stages]

*Cold* is the command in a process of its own: imports, models, song, explanation, page. *Warm* is the next song with
the same models in a process that has explained one already. Without ``--tags``, the ten descriptors that follow the
highest scores of the song are explained. CPU seconds (of all threads) stand beside wall seconds: they suffer less
where others work too.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SECONDS, TAGS, WANTED = 29, 10, {"cold": 8.0, "warm": 3.0}


def cold(arguments, tags):
    """Wall and CPU seconds of the command."""
    command = [sys.executable, "-m", "musictools", "explain", arguments.song, "--tagger", arguments.tagger]
    command += ["--genre", arguments.genre, "--mapping", arguments.mapping, "--seconds", str(SECONDS)]
    with tempfile.TemporaryDirectory() as folder:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*command, "--out", folder, "--tags", *tags], check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Warm:
    """Models that are loaded once; every call explains the song, as if it were another one, and writes the page."""

    def __init__(self, arguments):
        from musictools import audio
        from musictools.inference import GenreClassifier, Tagger
        from musictools.mapping.membership import Mapping

        self.tagger = Tagger.load(arguments.tagger)
        self.genre = None if arguments.genre == "none" else GenreClassifier.load(arguments.genre)
        self.rule = "f1" if "f1" in self.tagger.card.thresholds else "half"
        mapping = None if arguments.mapping == "none" else Mapping.load(arguments.mapping)
        self.mapping = mapping and mapping.following(self.tagger, rule=self.rule)
        self.y, self.sr = audio.load(arguments.song)
        self.y = self.y[: SECONDS * self.sr]
        self.tags = arguments.tags or self.best()

    def best(self):
        return list(self.tagger.taggram(self.y, sr=self.sr).joined().nlargest(TAGS).index)

    def __call__(self):
        from musictools.explain.application import page, system

        wall, cpu = time.perf_counter(), time.process_time()
        explanation = system.ExplanationSystem(self.genre, self.tagger, self.mapping).explain(
            self.y, sr=self.sr, tags=self.tags, rule=self.rule, method="lrp_composite"
        )
        self.stages = dict(explanation.seconds)
        explained = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            page.write(folder, explanation, title="song")
        self.stages["page"] = time.perf_counter() - explained
        return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("song")
    parser.add_argument("--tagger", required=True)
    parser.add_argument("--genre", default="none")
    parser.add_argument("--mapping", default="none")
    parser.add_argument("--tags", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stages", action="store_true", help="also print the seconds of every stage, first and later")
    arguments = parser.parse_args()
    warm = Warm(arguments)
    print(f"{Path(arguments.song).name}, {SECONDS} s, {len(warm.tags)} descriptors")
    warm()
    stages = {"first": warm.stages}
    seconds = {
        "cold": [cold(arguments, warm.tags) for _ in range(arguments.rounds)],
        "warm": [warm() for _ in range(arguments.rounds)],
    }
    stages["later"] = warm.stages
    for name, rounds in seconds.items():
        wall, cpu = map(min, zip(*rounds, strict=True))
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of CPU; wanted {WANTED[name]:.0f} s")
    if arguments.stages:
        for name, own in stages.items():
            print(f"{name}: " + ", ".join(f"{stage} {value:.2f}" for stage, value in own.items()))
    return int(any(min(rounds)[0] > WANTED[name] for name, rounds in seconds.items()))


if __name__ == "__main__":
    sys.exit(main())
