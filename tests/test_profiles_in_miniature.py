"""Profiles of real data from start to end in miniature: parameter files unchanged, sizes as on a command line.

The composed corpus stands in for MagnaTagATune, in whose layout it is written, and is read by MagnaTagATune's loader.
So every branch that a profile chooses (labels, answers to imbalance, sizes of the tag set, repeated seeds, no stems,
maps in passes) runs, although neither the real data nor a GPU is there.
"""

import json

import numpy as np
import pytest

from musictools import datasets, runs

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

HELD_OUT = {"held_out": {"hold_out": 12, "choice": "last"}, "workers": 2}
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
EXPLANATIONS |= {"loop_clips": 2, "loop_methods": ["deep_taylor"], "figure_clips": [], "orders": ["top_down"]}
PROBES = {"per_tag": 20, "min_positives": 4, "n_folds": 2, "n_trees": [3], "forest_maps": 1, "kernel_maps": 1}
PROBES |= {"kernel_clips": 20, "disk_gb": 0.008, "songs": []}
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


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A data folder with a small composed corpus in the place of MagnaTagATune."""
    folder = tmp_path_factory.mktemp("miniature")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICTOOLS_DATA", str(folder))
        patch.setenv("MUSICTOOLS_SHARED_DATA", str(folder / "none"))
        corpus = datasets.load("composed", n_clips=48, seed=0)
        (folder / "magnatagatune").symlink_to(corpus.folder)
        yield folder


def rebuild(profile, output, numbers):
    """Rebuild notebooks of a profile one after the other, each with its own sizes."""
    for number in numbers:
        given = SIZES[number] | HELD_OUT | {"repeats": 10}
        declared = runs.parameters(next((runs.root() / "notebooks").glob(f"{number}_*.ipynb")))
        sizes = {name: value for name, value in given.items() if name in declared}
        assert runs.rebuild(profile, only=[number], parameters=sizes, output_root=output) == 0, number


def finished(output, profile):
    records = [json.loads(path.read_text()) for path in (output / profile / "manifests").glob("*.json")]
    return {record["notebook"][:2] for record in records if record["finished"]}


def test_thesis(home, tmp_path):
    rebuild("thesis", tmp_path, sorted(SIZES))
    assert finished(tmp_path, "thesis") == set(SIZES)
    settings = (tmp_path / "thesis" / "tables" / "tagger_settings.csv").read_text()
    assert "0.04" in settings, "the sizes of the command line hold"


def test_annotations_only(home, tmp_path):
    rebuild("magnatagatune", tmp_path, ["01", "04"])
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
    sizes = {"width": 0.03125, "epochs": 1, "repeats": 10, "splits": ["random"]}
    assert runs.rebuild("gtzan", only=["02"], parameters=sizes, output_root=tmp_path) == 0
    assert finished(tmp_path, "gtzan") == {"02"}
