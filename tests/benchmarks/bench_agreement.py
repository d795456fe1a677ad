"""Do taggers agree with released networks about music that people made?

    python tests/benchmarks/bench_agreement.py [MODEL ...] [--with NAME ...] [--cache DIR] [--out DIR]
        [--repeats 500]

A model is a ``.keras`` file with its card, or the name of an installed released network; without one, the released
networks are compared with each other only. ``train_augmented.py`` trains models to compare. Scores 108 pieces of the
shared data: 8 songs, and of GTZAN 10 clips of 30 s and 90 of 15 to 20 s (one of each clip name, so that no piece
counts twice). The clip of MagnaTagATune among the songs is left out, since the released networks may have learnt from
it. Of longer pieces the middle 30 s are scored; shorter ones are repeated to 30 s, because the released FCN takes 29 s
at once. Prints, for every pair of networks, the rank correlation over the tags that both have, beside its control and
with 95 % intervals over pieces (`musictools.experiments.agreement` explains them); the agreement of the released
networks with each other, on the models' tags, is the ceiling. With several models, the change from the first to each
of the others follows. Writes ``agreement.csv``, ``agreement_change.csv`` and ``agreement_tags.csv`` to `--out`. Scores
are kept in `--cache`, so that an interrupted run resumes.
"""

import argparse
import hashlib
import itertools
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from musictools import audio, released, runs
from musictools.experiments import agreement, robustness

SR, SECONDS, AT_ONCE = 16000, 30, 9
SONGS = (
    "147793__setuniman__sweet-waltz-0i-22mi",
    "442789__lena-orsa__happy-music-pistachio-ice-cream-ragtime",
    "Hungarian_Dance_number_5_-_Allegro_in_F_sharp_minor_(string_orchestra)",
    "Karissa_Hobbs_-_Lets_Go_Fishin",
    "Kevin_MacLeod_-_P_I_Tchaikovsky_Dance_of_the_Sugar_Plum_Fairy",
    "Kevin_MacLeod_-_Vibe_Ace",
    "admiralbob77_-_Choice_-_Drum-bass",
    "sorohanro_-_solo-trumpet-06",
)


def real_pieces(shared):
    """Audio files by name, the songs first; of GTZAN's clips the longer excerpt."""
    pieces = {name: Path(shared) / "songs" / f"{name}.ogg" for name in SONGS}
    for kind in ("full30", "prefix15"):
        for path in sorted((Path(shared) / "gtzan" / kind).glob("*/*.ogg")):
            pieces.setdefault(path.stem, path)
    return pieces


def excerpt(path):
    """The middle 30 s of a piece; a shorter one is repeated."""
    y, _ = audio.load(path, sr=SR)
    n = SECONDS * SR
    start = max(0, (len(y) - n) // 2)
    return np.resize(y[start : start + n], n), SR


def scored(network, pieces, cache):
    """Scores of all pieces [pieces x tags], from the cache as far as they are there."""
    file = released.find(network) if network in released.names() else Path(network)
    path = Path(cache) / f"{file.stem}-{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}.csv"
    known = pd.read_csv(path, index_col=0) if path.is_file() else pd.DataFrame()
    todo = [name for name in pieces if name not in known.index]
    tagger = released.load(network) if todo else None
    for start in range(0, len(todo), AT_ONCE):
        names = todo[start : start + AT_ONCE]
        table = robustness.clip_scores(
            {network: tagger}, lambda name: excerpt(pieces[name]), names, deformations=(), workers=1
        )
        known = pd.concat([known, table.droplevel(["model", "deformation"])])
        path.parent.mkdir(parents=True, exist_ok=True)
        known.to_csv(path)
        print(f"{network}: {len(known)} of {len(pieces)} pieces", flush=True)
    return known.loc[list(pieces)]


def tables(models, references, pieces, *, cache, repeats):
    """Agreement of every pair, its change from the first model to the others, and agreement tag by tag."""
    scores = {name: agreement.merged(scored(name, pieces, cache)) for name in (*models, *references)}
    own = set.union(*(set(scores[name]) for name in models or references))
    for reference in references:  # so that the ceiling is measured on the same tags
        scores[reference] = scores[reference][[tag for tag in scores[reference] if tag in own]]
    options = {"groups": pd.Series(list(pieces), list(pieces)), "repeats": repeats}
    pairs = [*itertools.product(models, references), *itertools.combinations(references, 2)]
    rows = [
        {"first": first, "second": second} | agreement.agreement(scores[first], scores[second], **options)
        for first, second in pairs
    ]
    changes = [
        {"first": model, "second": other}
        | agreement.compared(scores[models[0]], scores[model], scores[other], **options)
        for model, other in itertools.product(models[1:], references)
    ]
    tags = {f"{first} | {second}": agreement.by_tag(scores[first], scores[second]) for first, second in pairs}
    return pd.DataFrame(rows), pd.DataFrame(changes, columns=list(rows[0])), pd.DataFrame(tags)


def show(title, table):
    """Print a table with its intervals in one column each."""
    short = pd.DataFrame({name: table[name].map(lambda file: Path(file).stem) for name in ("first", "second")})
    short[["pieces", "tags"]] = table[["pieces", "tags"]]
    for name in ("per_piece", "shuffled", "beyond", "per_tag"):
        ends = zip(*(table[f"{name}{end}"] for end in ("", "_low", "_high")), strict=True)
        short[name] = [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in ends]
    print(f"\n{title}\n{short.to_string(index=False)}")


def main(arguments=None):
    """Score, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--with", dest="others", nargs="+", default=["won2020-mtat-fcn", "won2020-mtat-musicnn"])
    parser.add_argument("--cache", default=Path(tempfile.gettempdir()) / "bench_agreement", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=500)
    options = parser.parse_args(arguments)
    if (shared := runs.shared_data()) is None:
        print("Nothing is measured: MUSICTOOLS_SHARED_DATA must name the folder with songs/ and gtzan/.")
        return
    if missing := set(options.others) - set(released.installed()):
        print(f"Nothing is measured: not installed are {', '.join(sorted(missing))}; see musictools models list.")
        return
    pieces = real_pieces(shared)
    pairs, changes, by_tag = tables(
        options.models, options.others, pieces, cache=options.cache, repeats=options.repeats
    )
    with pd.option_context("display.width", 250, "display.max_columns", None, "display.max_rows", None):
        show("Agreement", pairs)
        if len(changes):
            show(f"Change from {Path(options.models[0]).stem}", changes)
        names = by_tag.rename(columns=lambda pair: " | ".join(Path(name).stem for name in pair.split(" | ")))
        print(f"\nTag by tag\n{names.round(2)}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, table in (("agreement", pairs), ("agreement_change", changes), ("agreement_tags", by_tag)):
            table.to_csv(options.out / f"{name}.csv", index=table is by_tag)


if __name__ == "__main__":
    main()
