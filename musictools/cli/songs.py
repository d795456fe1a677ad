"""The commands ``tag`` and ``explain``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from musictools import runs
from musictools.cli.arguments import model_file, positive
from musictools.cli.keras_import import import_keras

__all__ = ["add"]

_COMPOSED = "It learnt from music composed by a program. For songs of people: musictools models get won2020-mtat-fcn"
_OWN = "tagger"  # the suite's own, made by the profile demo
_TAGGER = {
    "metavar": "NAME",
    "help": "a .keras file, the name of a released network (musictools models list), or that of a model of the profile "
    "demo (default: a released network if one is installed, first of all won2020-mtat-fcn; else the demo's tagger)",
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
        metavar="NAME",
        help="the same of the genre model (default: the genres among the tagger's tags, or the demo's genre_model "
        "if there are none); 'none' leaves the genre out",
    )
    command.add_argument(
        "--mapping",
        metavar="NAME",
        help="the same of what maps descriptors to genres (default: what musictools models mapping made for the "
        "network; for the demo's tagger the demo's mapping); 'none' leaves it out",
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
        choices=("f1", "precision", "share", "half"),
        help="how the thresholds were chosen: highest F1, a precision, twice the tag's share of annotated clips, or "
        "0.5 (default: the first of f1, share and half that the model has)",
    )


def _tag(arguments):
    stems = [Path(song).stem for song in arguments.songs]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise ValueError(f"Several songs are called {twice[0]!r}, their taggrams would get one name. Tag them apart.")
    file = _tagger_file(arguments.model)
    import_keras()
    from musictools import audio, familiarity, released

    tagger = released.load(file)
    rule, reference = _rule(arguments, tagger), familiarity.find(tagger, file)
    for song, stem in zip(arguments.songs, stems, strict=True):
        y, sr = audio.load(song, sr=tagger.front_end.sr)
        taggram = tagger.taggram(y, sr=sr)
        table = tagger.decide(taggram.joined("mean"), rule=rule)
        table = table[: max(arguments.top, int(table["predicted"].sum()))]
        n = len(taggram.scores)
        print(f"{song} ({len(y) / sr:.1f} s, {n} input{'s' * (n != 1)}, rule {rule})")
        print(f"  {'tag':24} score  threshold")
        for row in table.itertuples():
            print(f"{'*' if row.predicted else ' '} {row.tag:24} {row.score:5.2f}  {row.threshold:9.2f}")
        known = (
            None
            if reference is None
            else reference(familiarity.embedding(tagger.front_end.compute(y), tagger.front_end))
        )
        for line in _who_speaks(tagger.about, known):
            print(f"  {line}")
        for path in _write_taggram(taggram, list(table["tag"]), Path(arguments.out).expanduser() / stem, title=stem):
            print(f"  {path}")
    return 0


def _explain(arguments):
    clock = time.perf_counter
    began = clock()
    files = _files(arguments)
    from musictools import audio

    y, sr = audio.load(arguments.song)
    whole, y = len(y) / sr, y[: arguments.seconds * sr]
    import_keras()
    from musictools.explain.application import page

    system = _system(files, arguments)
    tagger, genre = system.descriptor_model, system.genre_model
    loaded = clock()
    song, rule = Path(arguments.song), _rule(arguments, tagger)
    explanation = system.explain(y, sr=sr, tags=arguments.tags, rule=rule, method=arguments.method)
    explained = clock()
    about = {
        "file": song.name,
        "length": whole,
        "tagger": tagger.card.model,
        "tagger_file": str(files["tagger"]),
        "genre_model": genre and genre.card.model,
        "genre_file": genre and str(files["genre"] or files["tagger"]),
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


def _files(arguments):
    """Files of the tagger, the genre model and the mapping; None: the tagger's own genres, or nothing."""
    from musictools import released
    from musictools import tags as vocabularies
    from musictools.models.card import ModelCard

    tagger = _tagger_file(arguments.tagger)
    card = ModelCard.read(tagger)
    genre, mapping = arguments.genre, arguments.mapping
    if genre is None:
        genre = "none" if any(map(vocabularies.genre_of, card.outputs)) else "genre_model"
        arguments.genre = genre if genre != "none" else "own"
    files = {"tagger": tagger, "genre": None if genre == "none" else model_file(genre, notebook="02")}
    if mapping is None and card.provenance.get("release") in released.names():
        made = tagger.with_suffix(".mapping.keras")
        return files | {"mapping": made if made.is_file() else None}
    return files | {"mapping": _mapping_file(mapping)}


def _system(files, arguments):
    from musictools import familiarity, released
    from musictools.explain.application.system import ExplanationSystem
    from musictools.inference import GenreClassifier, TaggerGenres
    from musictools.mapping.membership import Mapping

    genre = None if files["genre"] is None else GenreClassifier.load(files["genre"])
    tagger = released.load(files["tagger"])
    if arguments.genre == "own":
        data = tagger.card.data
        genre = TaggerGenres(tagger, least=released.shares.shares(data) if data in released.shares.DATA else None)
    mapping = None if files["mapping"] is None else Mapping.load(files["mapping"])
    mapping = mapping and mapping.following(tagger, rule=_rule(arguments, tagger))
    return ExplanationSystem(genre, tagger, mapping, reference=familiarity.find(tagger, files["tagger"]))


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
    for line in _who_speaks(explanation.networks["descriptors"], explanation.familiarity):
        print(f"  {line}")


def _who_speaks(about, familiarity):
    """Sentences about a tagger: its data, and whether a song is like what it knows."""
    licence = f" (licence: {about['licence']})" if about["licence"] else ""
    yield f"The tags are those of {about['network']}{licence}, which learnt from {about['data'] or 'other music'}."
    if about["data"] == "composed":
        yield _COMPOSED
    if familiarity is not None:
        yield familiarity.text


def _rule(arguments, tagger):
    return arguments.rule or next((rule for rule in ("f1", "share") if rule in tagger.card.thresholds), "half")


def _tagger_file(name):
    """The file of a tagger; without a name that of a released network, else of the demo's."""
    from musictools import released

    if name is None:
        here = released.installed()
        name = here[0] if here else _OWN
    return model_file(name)


def _mapping_file(name):
    """The mapping's file; None where none is wanted, or where none is named and none has been made."""
    if name is None:
        made = runs.root() / "outputs" / "demo" / "models" / "mapping.keras"
        return made if made.is_file() else None
    return None if name == "none" else model_file(name, notebook="04")


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
