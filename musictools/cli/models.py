"""The command ``models``."""

from __future__ import annotations

import argparse
from pathlib import Path

from musictools.cli.keras_import import import_keras

__all__ = ["add"]


def add(commands: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    """Add ``models`` to the parser.

    Parameters
    ----------
    commands : result of `argparse.ArgumentParser.add_subparsers`
    shared : argparse.ArgumentParser
        Options of every command.
    """
    models = commands.add_parser("models", help="list the models that can be built; get or add released networks")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", parents=[shared], help="name, kind, source and front end of every model, and the released networks"
    )
    listing.add_argument(
        "--parameters", action="store_true", help="also count the parameters at width 1, for 8 genres or 108 tags"
    )
    listing.set_defaults(run=_list)
    for name, action, text in (
        ("get", _get, "download a released network from its authors and install it"),
        ("add", _add, "install a released network from its authors' file"),
        ("remove", _remove, "remove an installed network"),
    ):
        command = actions.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME", help="one of the released networks in musictools models list")
        if action is _get:
            command.add_argument("--url", metavar="URL", help="another place of the same file")
        if action is _add:
            command.add_argument("path", metavar="PATH", help="the file that its authors published")
        command.set_defaults(run=action)
    _add_own_data(actions, shared)


def _add_own_data(actions, shared):
    for name, action, text in (
        ("reference", _reference, "say by a folder of songs what is like the music that a network knows"),
        ("mapping", _mapping, "learn from annotations which genres a network's descriptors belong to"),
    ):
        command = actions.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME", help="an installed released network, or a .keras file with a card")
        if action is _reference:
            command.add_argument("folder", metavar="FOLDER", help="at least 20 audio files, also in folders below")
        else:
            command.add_argument(
                "--data-dir", default="", metavar="DIR", help="folder of the annotations that the network learnt from"
            )
        command.set_defaults(run=action)


def _list(arguments):
    from musictools import models, released

    if arguments.parameters:
        import_keras()
    counted = f" {'parameters':>11}" if arguments.parameters else ""
    print(f"{'name':16} {'kind':6} {'source':14}{counted} front end")
    for name in models.names():
        known = models.describe(name)
        if arguments.parameters:
            n_outputs = 8 if known.kind == "genre" else 108
            counted = f" {models.build(name, n_outputs=n_outputs).count_params():11,}"
        print(f"{name:16} {known.kind:6} {known.source:14}{counted} {_shown(known)}")
    here = released.installed()
    print(f"\n{'released network':23} {'here':4} {'trained on':13} {'licence':11} front end")
    for name in released.names():
        known = released.describe(name)
        yes = "yes" if name in here else ""
        print(f"{name:23} {yes:4} {known.data:13} {known.licence:11} {_shown(known)}")
    return 0


def _shown(known):
    """The front end of a model and the length of its input."""
    front_end = known.front_end
    text = f"{front_end.kind}, {front_end.sr} Hz"
    if front_end.kind != "waveform":
        text += f", n_fft {front_end.n_fft}, hop {front_end.hop_length}, {front_end.n_bins} bins"
    return f"{text}, {known.input.length} columns"


def _get(arguments):
    from musictools import released

    if arguments.name not in released.installed():
        known = released.describe(arguments.name)
        print(f"{known.name}: from {known.source}, licence: {known.licence}. Please cite: {known.citation}")
    import_keras()
    print(released.get(arguments.name, url=arguments.url))
    return 0


def _add(arguments):
    import_keras()
    from musictools import released

    print(released.add(arguments.name, arguments.path))
    return 0


def _remove(arguments):
    from musictools import released

    released.remove(arguments.name)
    print(f"{arguments.name}: removed.")
    return 0


def _tagger(name):
    """A tagger and its file."""
    import_keras()
    from musictools import released

    path = released.find(name) if name in released.names() else Path(name).expanduser()
    return released.load(path), path


def _reference(arguments):
    from musictools import audio, familiarity

    tagger, path = _tagger(arguments.name)
    folder = Path(arguments.folder).expanduser().resolve()
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in audio.SOUNDFILE_SUFFIXES)
    if len(files) < familiarity.LEAST:
        raise ValueError(f"{folder}: a reference needs at least {familiarity.LEAST} songs. Got {len(files)}.")
    front_end = tagger.front_end
    songs = (audio.load(file, sr=front_end.sr)[0] for file in files)
    embeddings = [familiarity.embedding(front_end.compute(y), front_end) for y in songs]
    what = f"{len(files)} songs of the folder {folder.name}"
    print(familiarity.Reference.fit(embeddings, what=what).save(path))
    return 0


def _mapping(arguments):
    from musictools import datasets
    from musictools.files import save_model
    from musictools.mapping import tagged

    tagger, path = _tagger(arguments.name)
    data = datasets.load(tagger.card.data, data_dir=arguments.data_dir)
    mapping = tagged.learn(data, tagger.descriptors)
    file = path.with_suffix(".mapping.keras")
    save_model(file, mapping.model)
    mapping.card.write(file)
    found = mapping.card.provenance
    print(
        f"{found['clips']:,} clips with one genre. For unknown artists {found['accuracy']:.1%} are classified "
        f"correctly ({found['folds']}-fold cross-validation); {found['commonest']:.1%} have the commonest genre."
    )
    print(file)
    return 0
