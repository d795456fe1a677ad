"""The commands ``tag`` and ``explain``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from musictools import runs
from musictools.cli.arguments import positive

__all__ = ["add"]

_TAGGER = {
    "default": "tagger",
    "metavar": "NAME",
    "help": "a .keras file, the name of a released network (musictools models list), or that of a model of the profile "
    "demo (default: tagger)",
}


def add(commands: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    """Add ``tag`` and ``explain`` to the parser.

    Parameters
    ----------
    commands : result of `argparse.ArgumentParser.add_subparsers`
    shared : argparse.ArgumentParser
        Options of every command.
    """
    _add_tag(commands, shared)
    _add_explain(commands, shared)


def _add_tag(commands, shared):
    tag = commands.add_parser("tag", parents=[shared], help="say which tags songs have, and when")
    tag.add_argument("songs", nargs="+", metavar="SONG", help="audio file")
    tag.add_argument("--model", **_TAGGER)
    tag.add_argument("--out", default=".", metavar="DIR", help="folder for taggrams (default: the current one)")
    _add_rule(tag)
    tag.add_argument(
        "--top",
        type=positive,
        default=10,
        metavar="N",
        help="tags to show at least; those predicted always are (default: 10)",
    )
    tag.set_defaults(run=_tag)


def _add_explain(commands, shared):
    command = commands.add_parser(
        "explain",
        parents=[shared],
        help="say why a song has its genre and descriptors: a page with pictures and sounds",
    )
    command.add_argument("song", metavar="SONG", help="audio file")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the page, its pictures and sounds")
    command.add_argument("--tagger", **_TAGGER)
    command.add_argument(
        "--genre",
        default="genre_model",
        metavar="NAME",
        help="the same of the genre model (default: genre_model); 'none' leaves the genre out",
    )
    command.add_argument(
        "--mapping",
        metavar="NAME",
        help="the same of what maps descriptors to genres (default: mapping, where it has been made); "
        "'none' leaves it out",
    )
    command.add_argument(
        "--method",
        default="lrp_composite",
        help="of the relevance (default: lrp_composite, which passes the tests of notebook 05; the "
        "thesis: deep_taylor)",
    )
    command.add_argument("--tags", nargs="+", metavar="TAG", help="descriptors to look for (default: those predicted)")
    _add_rule(command)
    command.add_argument(
        "--seconds",
        type=positive,
        default=60,
        metavar="N",
        help="how much of the song to explain, from its start (default: 60)",
    )
    command.add_argument(
        "--audio", choices=("flac", "wav", "mp3", "ogg"), default="flac", help="format of the sounds (default: flac)"
    )
    command.set_defaults(run=_explain)


def _add_rule(command):
    command.add_argument(
        "--rule",
        choices=("f1", "precision", "half"),
        help="how the thresholds were chosen (default: f1 where the model has it, else half)",
    )


def _import_keras():
    """Import Keras without what it imports for its wrappers and galleries, which takes a fifth of the time."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is imported
    unused = {name for name in ("matplotlib.pyplot", "sklearn") if name not in sys.modules}
    sys.modules |= dict.fromkeys(unused)  # importing a module that is None here fails, which Keras allows for
    try:
        import keras  # noqa: F401
    finally:
        for name in unused:
            del sys.modules[name]


def _tag(arguments):
    stems = [Path(song).stem for song in arguments.songs]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise ValueError(f"Several songs are called {twice[0]!r}, their taggrams would get one name. Tag them apart.")
    file = _model_file(arguments.model)
    _import_keras()
    from musictools import audio, released

    tagger = released.load(file)
    rule = _rule(arguments, tagger)
    for song, stem in zip(arguments.songs, stems, strict=True):
        y, sr = audio.load(song, sr=tagger.front_end.sr)
        taggram = tagger.taggram(y, sr=sr)
        table = tagger.decide(taggram.joined("mean"), rule=rule)
        table = table[: max(arguments.top, int(table["predicted"].sum()))]
        print(f"{song} ({len(y) / sr:.1f} s, {len(taggram.scores)} inputs, rule {rule})")
        print(f"  {'tag':24} score  threshold")
        for row in table.itertuples():
            print(f"{'*' if row.predicted else ' '} {row.tag:24} {row.score:5.2f}  {row.threshold:9.2f}")
        for path in _write_taggram(taggram, list(table["tag"]), Path(arguments.out).expanduser() / stem, title=stem):
            print(f"  {path}")
    return 0


def _explain(arguments):
    clock = time.perf_counter
    began = clock()
    paths = [
        None if arguments.genre == "none" else _model_file(arguments.genre, notebook="02"),
        _model_file(arguments.tagger),
        _mapping_file(arguments.mapping),
    ]
    _import_keras()
    from musictools import audio, released

    y, sr = audio.load(arguments.song)
    whole, y = len(y) / sr, y[: arguments.seconds * sr]
    from musictools.explain.application import page, system
    from musictools.inference import GenreClassifier
    from musictools.mapping.membership import Mapping

    genre, tagger = None if paths[0] is None else GenreClassifier.load(paths[0]), released.load(paths[1])
    loaded = clock()
    song, rule = Path(arguments.song), _rule(arguments, tagger)
    mapping = None if paths[2] is None else Mapping.load(paths[2]).following(tagger, rule=rule)
    explanation = system.ExplanationSystem(genre, tagger, mapping).explain(
        y, sr=sr, tags=arguments.tags, rule=rule, method=arguments.method
    )
    explained = clock()
    about = {
        "file": song.name,
        "length": whole,
        "tagger": tagger.card.model,
        "tagger_file": str(paths[1]),
        "genre_model": genre and genre.card.model,
        "genre_file": genre and str(paths[0]),
    }
    index = page.write(
        Path(arguments.out).expanduser(), explanation, title=song.stem, audio_format=arguments.audio, more=about
    )
    excerpt = "" if len(y) / sr == whole else f"the first {len(y) / sr:.0f} s of "
    print(f"{song} ({excerpt}{whole:.1f} s, rule {rule}, {arguments.method})")
    _print_explanation(explanation)
    print(f"  loading {loaded - began:.1f}, explaining {explained - loaded:.1f}, writing {clock() - explained:.1f} s")
    print(f"  {index}")
    return 0


def _print_explanation(explanation):
    genre, votes, loop = explanation.genre, explanation.votes, explanation.loop
    if genre:
        print(f"  {genre}: {int((votes['genre'] == genre).sum())} of {len(votes)} sections")
    if explanation.membership is not None:
        degrees = explanation.membership.sort_values(ascending=False).head(3)
        print("  the descriptors belong to " + ", ".join(f"{genre} {share:.0%}" for genre, share in degrees.items()))
    print(f"  {'descriptor':24} score  threshold  evidence alone  the rest" if len(loop) else "  no descriptor")
    for row in loop.itertuples():
        print(f"  {row.tag:24} {row.clip:5.2f}  {row.threshold:9.2f}  {row.evidence:14.2f}  {row.rest:8.2f}")


def _rule(arguments, tagger):
    return arguments.rule or ("f1" if "f1" in tagger.card.thresholds else "half")


def _model_file(name, *, notebook="03"):
    """Return the file for a path, for the name of a released network, or for that of a model of the profile demo."""
    from musictools import released

    if name in released.names():
        return released.find(name)
    path = Path(name).expanduser()
    if path.suffix != ".keras" and path.name == name:
        path = runs.root() / "outputs" / "demo" / "models" / f"{name}.keras"
    if not path.is_file():
        raise ValueError(f"{path}: no such model. Make one with: musictools rebuild --profile demo --only {notebook}")
    return path


def _mapping_file(name):
    """The mapping's file; None where none is wanted, or where none is named and none has been made."""
    if name is None:
        made = runs.root() / "outputs" / "demo" / "models" / "mapping.keras"
        return made if made.is_file() else None
    return None if name == "none" else _model_file(name, notebook="04")


def _write_taggram(taggram, tags, place, *, title):
    """Write the picture of some tags and the table of all beside each other; return the two paths."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from musictools import plots
    from musictools.files import atomic

    picture, table = (place.with_name(f"{place.name}.taggram.{suffix}") for suffix in ("png", "csv"))
    scores = taggram.scores[:, [taggram.tags.index(tag) for tag in tags]]
    fig, ax = plots.figure(width=8, height=1.2 + 0.22 * len(tags))
    try:
        plots.taggram(scores, start=taggram.start, seconds=taggram.seconds, tags=tags, ax=ax, title=title)
        with atomic(picture) as temporary:
            fig.savefig(temporary, dpi=150)
    finally:
        plt.close(fig)
    with atomic(table) as temporary:
        taggram.to_frame().to_csv(temporary, index=False)
    return picture, table
