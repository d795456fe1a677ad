"""Agreement of a tagger with released networks on real music: rank correlation over the tags that they share.

    python tests/benchmarks/bench_agreement.py MODEL.keras [--with NAME ...] [--limit N]

The pieces are those of ``songs`` (music only), ``gtzan/full30`` and ``gtzan/prefix15`` in ``MUSICTOOLS_SHARED_DATA``
(default ``../shared/data``). Two correlations are printed for every released network: *over pieces*, for each shared
tag, how alike the pieces are ordered (mean over tags), and *over tags*, for each piece, how alike the tags are ordered
(mean over pieces). The 95 % intervals resample pieces. Two released networks show what agreement is possible.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from musictools import audio, released

SECONDS = 29
NO_MUSIC = {"198-209-0000", "3436-172162-0000", "5703-47212-0000", "glacier-bay-humpback", "pibble"}
SAME = {  # words of the released networks -> words of the composed corpus
    "synth": "synthesizer",
    "strings": "string",
    "vocal": "vocals",
    "singing": "vocals",
    "no vocal": "no vocals",
    "beats": "beat",
}


def pieces(folder):
    """Paths of the pieces of music."""
    songs = [p for p in folder.glob("songs/*") if p.suffix in (".ogg", ".mp3") and p.stem not in NO_MUSIC]
    songs = [p for p in songs if "bird" not in p.stem]
    return sorted(songs) + sorted(folder.glob("gtzan/full30/**/*.ogg")) + sorted(folder.glob("gtzan/prefix15/**/*.ogg"))


def scores(tagger, sounds):
    """Mean scores of every piece, by tag."""
    return pd.DataFrame([tagger.taggram(y, sr=sr).joined() for y, sr in sounds])


def aligned(own, theirs):
    """The shared tags of two tables, under the first one's names."""
    names = {tag: tag if tag in own else SAME.get(tag) for tag in theirs}
    pairs = {tag: name for tag, name in names.items() if name in own}
    return own[list(pairs.values())].to_numpy(), theirs[list(pairs)].to_numpy(), sorted(pairs)


def agreement(a, b):
    """Mean rank correlation over pieces (of each tag) and over tags (of each piece)."""
    a, b = pd.DataFrame(a), pd.DataFrame(b)
    return a.corrwith(b, method="spearman").mean(), a.T.corrwith(b.T, method="spearman").mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="a .keras file with its card, or the name of an installed released network")
    parser.add_argument("--with", dest="others", nargs="+", default=["won2020-mtat-fcn"])
    parser.add_argument("--limit", type=int, help="of the pieces, evenly drawn")
    arguments = parser.parse_args()
    files = pieces(Path(os.environ.get("MUSICTOOLS_SHARED_DATA", "../shared/data")))
    if not files:
        sys.exit("No pieces: MUSICTOOLS_SHARED_DATA must name the folder with songs/ and gtzan/.")
    files = files[:: max(1, len(files) // (arguments.limit or len(files)))]
    sounds = []
    for file in files:
        y, sr = audio.load(file)
        sounds.append((y[: SECONDS * sr], sr))
    own = scores(released.load(arguments.model), sounds)
    print(f"{arguments.model}: {len(files)} pieces")
    for name in arguments.others:
        a, b, shared = aligned(own, scores(released.load(name), sounds))
        over = agreement(a, b)
        draws = np.array(
            [agreement(a[rows], b[rows]) for rows in np.random.default_rng(0).integers(0, len(a), (200, len(a)))]
        )
        low, high = np.nanquantile(draws, (0.025, 0.975), axis=0)
        print(
            f"{name}: {len(shared)} shared tags; over pieces {over[0]:.3f} ({low[0]:.3f} to {high[0]:.3f}), "
            f"over tags {over[1]:.3f} ({low[1]:.3f} to {high[1]:.3f})"
        )
        print("  " + ", ".join(shared))


if __name__ == "__main__":
    main()
