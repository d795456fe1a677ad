"""The command ``musictools``: plan and rebuild a profile, tag and explain songs, list models, manage data sets.

Exit status: 0 success, 1 something failed or is missing, 2 wrong use, 130 interrupted.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from . import __version__, runs

__all__ = ["main"]

_SHOWN = 20  # clips named one by one
_TAGGER = {
    "default": "tagger",
    "metavar": "NAME",
    "help": "a .keras file, or the name of a model of the profile demo (default: tagger)",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str or None
        Arguments without the program's name; None: those of this process.

    Returns
    -------
    status : int
        The exit status.

    Examples
    --------
    >>> main(["data", "list"])  # doctest: +SKIP
    >>> main(["tag", "song.mp3", "--top", "5"])  # doctest: +SKIP
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if arguments.traceback:
            raise
        notes = getattr(error, "__notes__", [])
        print(f"musictools: {' '.join(' '.join([str(error), *notes]).split())}", file=sys.stderr)
        return 2


def _parser():
    about = "Explain convolutional networks that classify music."
    parser = argparse.ArgumentParser(prog="musictools", description=about)
    parser.add_argument("--version", action="version", version=f"musictools {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_rebuild(commands, shared)
    _add_plan(commands, shared)
    _add_tag(commands, shared)
    _add_explain(commands, shared)

    listing = commands.add_parser("models", help="list the models that can be built").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = listing.add_parser("list", parents=[shared], help="name, kind, source and front end of every model")
    listing.add_argument(
        "--parameters", action="store_true", help="also count the parameters at width 1, for 8 genres or 108 tags"
    )
    listing.set_defaults(run=_models_list)

    data = commands.add_parser("data", help="list, build or validate data sets")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[shared], help="the data sets known, and which are here")
    listing.set_defaults(run=_data_list)
    for name, action, text in (
        ("build", _data_build, "make or open a data set; says where to get it when it is not here"),
        ("validate", _data_validate, "read every audio file of a data set"),
    ):
        command = actions.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME", help="the data set")
        command.add_argument("--data-dir", default="", metavar="DIR", help="its folder (default: in the data folder)")
        command.add_argument("-o", dest="options", action="append", default=[], metavar="NAME=VALUE", help="option")
        command.set_defaults(run=action)

    doctor = commands.add_parser("doctor", parents=[shared], help="check this machine and say what is missing")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_profile(command):
    command.add_argument("--profile", default="demo", help="folder below params/ (default: demo)")
    command.add_argument("--only", nargs="+", metavar="NN", help="numbers or names of notebooks, such as 03")
    command.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="parameter")
    command.add_argument("--output-root", metavar="DIR", help="folder for results (default: outputs of the checkout)")


def _add_rebuild(commands, shared):
    rebuild = commands.add_parser("rebuild", parents=[shared], help="run a profile's notebooks and write the report")
    _add_profile(rebuild)
    rebuild.add_argument("--force", action="store_true", help="run also what is unchanged")
    rebuild.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="notebooks that run at the same time (default: one per core, as far as the memory allows; 1 with a GPU)",
    )
    rebuild.add_argument("--anyway", action="store_true", help="start although data or disk space are missing")
    rebuild.set_defaults(run=_rebuild)


def _add_plan(commands, shared):
    plan = commands.add_parser(
        "plan", parents=[shared], help="say what a profile trains and writes, how long it takes, what is missing"
    )
    _add_profile(plan)
    plan.add_argument(
        "--no-calibration", action="store_true", help="do not measure this machine, which takes a minute or two"
    )
    plan.set_defaults(run=_plan)


def _add_tag(commands, shared):
    tag = commands.add_parser("tag", parents=[shared], help="say which tags songs have, and when")
    tag.add_argument("songs", nargs="+", metavar="SONG", help="audio file")
    tag.add_argument("--model", **_TAGGER)
    tag.add_argument("--out", default=".", metavar="DIR", help="folder for taggrams (default: the current one)")
    _add_rule(tag)
    tag.add_argument(
        "--top",
        type=_positive,
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
        type=_positive,
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


def _positive(text):
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a positive int. Got {text!r}.")
    return int(text)


def _parameters(arguments):
    return dict(runs.settings.from_command_line(text) for text in arguments.parameters)


def _rebuild(arguments):
    parameters = _parameters(arguments)
    chosen = {"only": arguments.only, "parameters": parameters, "output_root": arguments.output_root}
    if not arguments.anyway:
        from .experiments import plans

        planned = plans.make(arguments.profile, **chosen)
        if reasons := plans.obstacles(planned, output_root=arguments.output_root):
            raise ValueError(f"{arguments.profile} cannot end here: {'; '.join(reasons)}. Start with --anyway to try.")
    return runs.rebuild(arguments.profile, force=arguments.force, jobs=arguments.jobs, **chosen)


def _plan(arguments):
    from .experiments import calibration, plans

    planned = plans.make(
        arguments.profile, only=arguments.only, parameters=_parameters(arguments), output_root=arguments.output_root
    )
    rates = None
    if not arguments.no_calibration:
        networks = sorted({network for plan in planned for network in plan.networks}, key=str)
        rates = calibration.measure(networks, say=lambda text: print(f"{text} …", file=sys.stderr, flush=True))
    print(plans.report(planned, rates))
    return 0


def _models_list(arguments):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from . import models

    counted = f" {'parameters':>11}" if arguments.parameters else ""
    print(f"{'name':16} {'kind':6} {'source':14}{counted} front end")
    for name in models.names():
        known = models.describe(name)
        front_end = known.front_end
        shown = f"{front_end.kind}, {front_end.sr} Hz"
        if front_end.kind != "waveform":
            shown += f", n_fft {front_end.n_fft}, hop {front_end.hop_length}, {front_end.n_bins} bins"
        if arguments.parameters:
            n_outputs = 8 if known.kind == "genre" else 108
            counted = f" {models.build(name, n_outputs=n_outputs).count_params():11,}"
        print(f"{name:16} {known.kind:6} {known.source:14}{counted} {shown}, {known.input.length} columns")
    return 0


def _tag(arguments):
    stems = [Path(song).stem for song in arguments.songs]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise ValueError(f"Several songs are called {twice[0]!r}, their taggrams would get one name. Tag them apart.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is imported

    from musictools.inference import Tagger

    from . import audio

    tagger = Tagger.load(_model_file(arguments.model))
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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    clock = time.perf_counter
    began = clock()
    from . import audio

    paths = [
        None if arguments.genre == "none" else _model_file(arguments.genre, notebook="02"),
        _model_file(arguments.tagger),
        _mapping_file(arguments.mapping),
    ]
    y, sr = audio.load(arguments.song)
    whole, y = len(y) / sr, y[: arguments.seconds * sr]
    from musictools.explain.application import page, system
    from musictools.inference import GenreClassifier, Tagger

    from .mapping.membership import Mapping

    genre, tagger = None if paths[0] is None else GenreClassifier.load(paths[0]), Tagger.load(paths[1])
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
    """Return the file for a path, or for the name of a model of the profile demo."""
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

    from . import plots
    from .files import atomic

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


def _data_list(arguments):
    from . import datasets

    folders = runs.data_folders()
    for name, description in datasets.available().items():
        here = any(folder == name or folder.startswith(f"{name}-") for folder in folders)
        print(f"{name:20} {'here' if here else '':6} {description}")
    return 0


def _load(arguments):
    from . import datasets

    options = dict(runs.settings.from_command_line(text) for text in arguments.options)
    return datasets.load(arguments.name, data_dir=arguments.data_dir, **options)


def _data_build(arguments):
    data = _load(arguments)
    print(f"{arguments.name}: {len(data.tracks):,} clips.")
    return 0


def _data_validate(arguments):
    missing, invalid = _load(arguments).validate()
    for word, clips in (("missing", missing), ("invalid", invalid)):
        for clip in list(clips)[:_SHOWN]:
            print(f"{word}  {clip}  {clips[clip]}")
        if len(clips) > _SHOWN:
            print(f"{word}  … and {len(clips) - _SHOWN:,} more")
    print(f"{arguments.name}: {len(missing)} missing, {len(invalid)} invalid.")
    return 1 if missing or invalid else 0


def _doctor(arguments):
    from . import doctor

    return doctor.report()
