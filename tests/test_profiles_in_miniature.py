"""Profiles from start to end in miniature: parameter files unchanged, sizes as on a command line.

For the profiles of real data the composed corpus stands in for MagnaTagATune, in whose layout it is written, and is
read by MagnaTagATune's loader. So every branch that a profile chooses (labels, answers to imbalance, sizes of the tag
set, repeated seeds, no stems, maps in passes) runs, although neither the real data nor a GPU is there. The last test
compares the branches of the notebooks that ran with all that they have.
"""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from support import branches

from musictools import datasets, runs

NOTEBOOKS = sorted((runs.root() / "notebooks").glob("0[0-7]_*.ipynb"))
pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

REAL = {"held_out": {"hold_out": 12, "choice": "last"}, "workers": 2}
COMPOSED = {"n_clips": 48, "held_out": {"hold_out": 12, "unseen_share": 0.5}, "workers": 1, "trainings": 1}
GENRES = {"limits": {"balanced": 0, "semi_balanced": 6}, "step": 392, "width": 0.03125, "epochs": 2, "batch_size": 16}
TAGGERS = {"models": ["se_cnn", "short_chunk"], "slides_models": ["musicnn"], "n_tags": [8, 10, 12]}
TAGGERS |= {"test_share": 0.2, "validation_share": 0.25, "width": {"other": 0.04}, "epochs": {"other": 1}}
MAPPING = {
    "test_share": 0.5,
    "choices": {"batch_size": [10], "units": [8, 16], "dropout": [0.3]},
    "min_descriptors": 1,
    "epochs": 2,
}
EXPLANATIONS = {"methods": ["deep_taylor", "gradient"], "localise_methods": ["deep_taylor"], "per_tag": 1}
EXPLANATIONS |= {"faithful_methods": ["deep_taylor"], "faithful_clips": 2, "sane_methods": ["gradient"]}
EXPLANATIONS |= {"badge_methods": ["gradient"], "sane_clips": 1, "conservation_methods": ["deep_taylor"]}
EXPLANATIONS |= {"loop_clips": 2, "loop_methods": ["deep_taylor"], "figure_clips": [1, 5], "orders": ["top_down"]}
PROBES = {"per_tag": 20, "min_positives": 4, "n_folds": 2, "n_trees": [3], "forest_maps": 1, "kernel_maps": 1}
PROBES |= {"kernel_clips": 20, "disk_gb": 0.008, "songs": [1, 5, 9, 13]}
FEATURES = {"per_genre": 4, "width": 0.0625, "epochs": 2, "batch_size": 16, "prune_inputs": 12, "seconds": 3.0}
FEATURES |= {"per_layer": 1}
SIZES = {
    "01": {"semi_balanced": 6},
    "02": GENRES | {"seeds": [0, 1]},
    "03": TAGGERS,
    "04": MAPPING | {"folds": 2, "seeds": [0, 1]},
    "05": EXPLANATIONS,
    "06": PROBES,
    "07": FEATURES,
}


# The profiles of the composed corpus differ in what they leave out: slides and tables of extra trainings.
REAL_SONGS = runs.shared_data()
SMALLER = {
    "02": {"models": ["ckn19"], "limits": {"semi_balanced": 6}, "epochs": 1},
    "03": {"models": ["se_cnn", "short_chunk"], "n_tags": [12], "slides_models": [], "extra_model": "short_chunk"},
    "05": {"figure_clips": [], "voice_clips": 0},
    "06": {"dissect_clips": 8, "songs": []},
    "07": {"epochs": 1},
}
DEMO = {number: SIZES[number] | SMALLER.get(number, {}) for number in SIZES}
FULL = {number: dict(sizes) for number, sizes in DEMO.items()}
if REAL_SONGS:
    DEMO["05"] |= {"voice_clips": 2, "real_dir": str(REAL_SONGS)}
FULL["02"] |= {"seeds": [0, 1], "callbacks": [False], "splits": ["random"]}
FULL["03"] |= {"labels": ["complete"], "models": ["compact_convnet"], "extra_model": "compact_convnet"}
FULL["03"] |= {"slides_models": ["musicnn"]}
FULL["05"] |= {"figure_tag": "no such tag"}
FULL["06"] |= {"planted_tag": "no such tag", "disk_gb": 0.02}  # one map of the inputs of its tagger has 0.0125 GB

# Branches of notebooks 01 to 07 that no miniature takes, and why.
NEVER = {
    # profile gtzan, whose data set has neither audio nor descriptors, does not have notebook 01
    "01 else: data.has_audio or dataset == 'magnatagatune'",
    "01 if: data.spectrograms is not None",
    "01 if: store.front_end is None",
    "01 else: genre_tags",
    "01 else: len(used)",
    # in all profiles, later notebooks read the data set that the models learnt from
    "05 else: genre.card.data_checksum == data.tables_checksum",
    "06 else: card.data_checksum == data.tables_checksum",
    "07 else: genre.card.data_checksum == data.tables_checksum",
}
if not REAL_SONGS:
    NEVER |= {"05 if: real", "05 if: real_dir"}
# Conditions whose value depends on what the tiny networks have learnt.
BY_CHANCE = {
    f"{outcome}: {condition}"
    for outcome, condition in itertools.product(
        ("if", "else"),
        ("weak", "normalised", "not whole.heatmaps", "figure_tag in whole.heatmaps", "rank.max() > 0",
         "own['chosen_f1'] > own['guess_f1']"),
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A data folder with a small composed corpus, also in the place of MagnaTagATune."""
    folder = tmp_path_factory.mktemp("miniature")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICTOOLS_DATA", str(folder))
        patch.setenv("MUSICTOOLS_SHARED_DATA", str(folder / "none"))
        corpus = datasets.load("composed", n_clips=48, seed=0)
        (folder / "magnatagatune").symlink_to(corpus.folder)
        (folder / "annotations").mkdir()
        for table in corpus.folder.glob("*.csv"):
            (folder / "annotations" / table.name).symlink_to(table)
        (folder / "notebooks").mkdir()
        (folder / "taken").touch()
        branches.mark(sorted((runs.root() / "notebooks").glob("*.ipynb")), folder / "notebooks", folder / "taken")
        yield folder


def rebuild(profile, output, sizes, common):
    """Rebuild notebooks of a profile one after the other, each with its own sizes."""
    folder = Path(os.environ["MUSICTOOLS_DATA"]) / "notebooks"
    for number in sorted(sizes):
        (path,) = folder.glob(f"{number}_*.ipynb")
        given = sizes[number] | common | {"repeats": 10}
        declared = runs.parameters(path)
        own = {name: value for name, value in given.items() if name in declared}
        options = {"parameters": own, "notebooks_dir": folder, "output_root": output}
        assert runs.rebuild(profile, only=[number], **options) == 0, number


def finished(output, profile):
    records = [json.loads(path.read_text()) for path in (output / profile / "manifests").glob("*.json")]
    return {record["notebook"][:2] for record in records if record["finished"]}


def members(profile, sizes):
    """The sizes of the notebooks that a profile has."""
    names = {path.stem[:2] for path in (runs.root() / "params" / profile).glob("0[1-7]_*.yaml")}
    return {number: sizes[number] for number in names}


def test_thesis(home, tmp_path):
    rebuild("thesis", tmp_path, SIZES, REAL)
    assert finished(tmp_path, "thesis") == set(SIZES)
    settings = (tmp_path / "thesis" / "tables" / "tagger_settings.csv").read_text()
    assert "0.04" in settings, "the sizes of the command line hold"


@pytest.mark.parametrize(("profile", "sizes"), [("demo", DEMO), ("full", FULL)])
def test_profiles_of_the_composed_corpus(home, tmp_path, profile, sizes):
    own = members(profile, sizes)
    rebuild(profile, tmp_path, own, COMPOSED)
    assert finished(tmp_path, profile) == set(own)


def test_annotations_only(home, tmp_path):
    rebuild("magnatagatune", tmp_path, members("magnatagatune", SIZES), REAL | {"data_dir": str(home / "annotations")})
    assert finished(tmp_path, "magnatagatune") == {"01", "04"}


def test_spectrograms_of_real_songs(home, tmp_path):
    """Arrays in the layout of the stored GTZAN spectrograms: two genres, ten songs each, two drawn differently."""
    rng = np.random.default_rng(0)
    names = [f"{genre}.{number:05d}" for genre in ("blues", "jazz") for number in range(10)]
    folder = home / "gtzan_spectrograms"
    folder.mkdir()
    np.savez(
        folder / "songs.npz",
        spec=rng.integers(0, 255, (20, 128, 496), dtype=np.uint8),
        name=np.array(names),
        genre=np.array([name.split(".")[0] for name in names]),
        nearest_shading=np.array([name in ("jazz.00000", "jazz.00001") for name in names], dtype=int),
    )
    rebuild("gtzan", tmp_path, {"02": {"width": 0.03125, "epochs": 1, "splits": ["random"]}}, {})
    assert finished(tmp_path, "gtzan") == {"02"}


def test_every_branch_of_the_notebooks_is_taken(home, request):
    mine = {item.name for item in request.session.items if item.path == request.path}
    if len(mine) < 6:
        pytest.skip("the other tests of this file take the branches")
    taken = set((home / "taken").read_text().splitlines())
    missed = branches.branches(NOTEBOOKS) - taken
    certain = {branch for branch in missed if branch[3:] not in BY_CHANCE}
    assert certain == NEVER, "sizes or parameters that take these branches are wanted, or a reason why there are none"
