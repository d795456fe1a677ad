"""How often songs count as unlike what a tagger of the composed corpus learnt from.

    python tests/benchmarks/bench_familiarity.py MODEL.keras [--clips 800]

MODEL is a tagger that notebook 03 trained on the composed corpus of ``--clips`` clips (``MUSICTOOLS_DATA``). Its
reference is made anew of the training clips that the card names. The rates are those of the clips that the card holds
out, also 6 and 20 dB quieter, and of the recordings in ``MUSICTOOLS_SHARED_DATA`` (default ``../shared/data``).
"""

import argparse

import numpy as np

from musictools import audio, datasets, familiarity, runs, spectrograms
from musictools.models.card import ModelCard

SECONDS = 29
SPEECH, ANIMALS = ("198-209", "3436-172162", "5703-47212"), ("bird", "humpback", "pibble")


def recordings(folder):
    """(kind, path) of every recording."""
    for path in sorted((folder / "songs").glob("*")):
        if path.suffix in audio.SOUNDFILE_SUFFIXES:
            kind = "speech" if path.name.startswith(SPEECH) else "songs"
            yield "animals" if any(word in path.name for word in ANIMALS) else kind, path
    for part in ("full30", "prefix15"):
        for path in sorted((folder / "gtzan" / part).rglob("*.ogg")):
            yield f"gtzan/{part}", path


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--clips", type=int, default=800)
    arguments = parser.parse_args()
    card = ModelCard.read(arguments.model)
    front_end = card.front_end
    data = datasets.load("composed", n_clips=arguments.clips, seed=0)
    store = spectrograms.open_store(data, front_end, workers=2)
    learnt = [familiarity.embedding(store[clip], front_end) for clip in card.training_clips]
    reference = familiarity.Reference.fit(learnt, what="training clips")

    def report(name, many):
        found = [reference(familiarity.embedding(S, front_end)) for S in many]
        percentiles = [one.percentile for one in found]
        print(
            f"{name:20} {len(found):4} clips: {np.mean([one.unlike for one in found]):6.1%} unlike, "
            f"percentile {np.median(percentiles):.1f} (lowest {min(percentiles):.1f})",
            flush=True,
        )

    held_out = [np.asarray(store[clip]) for clip in card.held_out_clips]
    for quieter in (0, 6, 20):
        report(f"held out, -{quieter} dB", [np.maximum(S - quieter, front_end.floor) for S in held_out])
    groups, folder = {}, runs.shared_data()
    for kind, path in [] if folder is None else recordings(folder):
        y, sr = audio.load(path)
        y = audio.resample(y[: SECONDS * sr], orig_sr=sr, sr=front_end.sr)
        groups.setdefault(kind, []).append(front_end.compute(y))
    for kind, many in groups.items():
        report(kind, many)


if __name__ == "__main__":
    main()
