"""Estimated features of songs against what is known of composed and of real songs.

    python tests/benchmarks/bench_song_features.py [--n-clips 100] [--singers 60] [--out DIR]

Composed corpus: tempo, mode, and tags that are complete. Real songs of the shared data, of which little is known:

- GTZAN (`gtzan/prefix15`): classical clips are acoustic, those of disco, hip hop, metal, pop, reggae
  and rock are not; metal has more energy than classical; disco is more danceable than classical.
- MIR-1K: accompaniments without the voice are instrumental, the same clips with it are not.
- `songs/`: three recordings of readers are speech, eight of music are not.

Nothing is known of liveness, nor of valence and tempo of real songs. Prints a table with 95 % intervals over clips and
the seconds for one clip, and writes ``DIR/song_features.csv``.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

READERS = ("198-209-0000", "3436-172162-0000", "5703-47212-0000")
NO_MUSIC = ("456440__inspectorj__bird-whistling-robin-single-13", "glacier-bay-humpback", "pibble")
NOT_ACOUSTIC = ("disco", "hiphop", "metal", "pop", "reggae", "rock")


def composed(n_clips):
    """Estimates and truth of composed clips."""
    from musictools import datasets
    from musictools.concepts import song_features
    from musictools.experiments.song_features import agreement, composed_truth

    data = datasets.load("composed", n_clips=n_clips, workers=1)
    began = time.perf_counter()
    features = song_features.table(data, workers=1)
    print(f"{(time.perf_counter() - began) / n_clips:.2f} s for one clip of 29 s, decoding included")
    return agreement(features, composed_truth(data, data.tracks.index)).assign(data="composed")


def of_files(paths):
    """Estimates of files, by name."""
    from musictools import audio
    from musictools.concepts import song_features

    rows = {}
    for path in paths:
        y, sr = audio.load(path)
        rows[path.stem] = song_features.estimate(y, sr=sr)
    return pd.DataFrame(rows).T


def real(shared, singers):
    """Tables of agreement for real songs."""
    from musictools import datasets
    from musictools.concepts import song_features
    from musictools.experiments.song_features import agreement

    paths = sorted(shared.glob("gtzan/prefix15/*/*.ogg"))
    features = of_files(paths)
    genre = pd.Series([path.parent.name for path in paths], features.index)
    for feature, yes, no in (
        ("acousticness", ("classical",), NOT_ACOUSTIC),
        ("energy", ("metal",), ("classical",)),
        ("danceability", ("disco",), ("classical",)),
        ("danceability", ("disco",), ("rock", "metal")),
    ):
        chosen = genre[genre.isin(yes + no)].isin(yes)
        fact = f"{' or '.join(yes)}, not {', '.join(no)}"
        truth = pd.DataFrame({fact: chosen})
        yield agreement(features, truth, pairs=[(feature, fact)]).assign(data="gtzan")

    mir1k = datasets.load("mir1k", data_dir=shared / "mir1k")
    rows, without = [], []
    for clip_id in mir1k.tracks.index[:: max(1, len(mir1k) // singers)]:
        stems, sr = mir1k.stems(clip_id)
        for y in (stems["accompaniment"], stems["accompaniment"] + stems["voice"]):
            rows.append(song_features.estimate(y, sr=sr))
        without += [True, False]
    features, truth = pd.DataFrame(rows).reset_index(drop=True), pd.DataFrame({"without voice": without})
    yield agreement(features, truth, pairs=[("instrumentalness", "without voice")]).assign(data="mir1k")

    paths = [path for path in sorted(shared.glob("songs/*.ogg")) if path.stem not in NO_MUSIC]
    truth = pd.DataFrame({"speech": [path.stem in READERS for path in paths]})
    features = of_files(paths).reset_index(drop=True)
    yield agreement(features, truth, pairs=[("speechiness", "speech")]).assign(data="songs")


def main():
    """Compare and print."""
    from musictools import runs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-clips", type=int, default=100)
    parser.add_argument("--singers", type=int, default=60)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    tables = [composed(options.n_clips)]
    shared = runs.shared_data()
    if shared is None:
        print("There is no shared data here: composed clips only.")
    else:
        tables += real(shared, options.singers)
    table = pd.concat(tables, ignore_index=True)
    print(table.round(3).to_string(index=False))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "song_features.csv", index=False)


if __name__ == "__main__":
    main()
