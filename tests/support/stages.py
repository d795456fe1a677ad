"""Small stages of the work, each with what it leaves on disk: for tests that kill a process in the middle of one.

A stage works in a folder. A second run in the same folder must end with what an undisturbed run leaves, and must not
repeat what was complete.
"""

import dataclasses
import json
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

SECONDS = {"seconds", "clips_per_second"}  # fields that differ from run to run


class Stage:
    """What a stage does. Units are the parts of its work that are kept once they are complete."""

    uses_tensorflow = False
    patience = 0.0  # s until processes that it started see that it was killed

    def __init__(self, inputs):
        self.inputs = Path(inputs)

    def prepare(self):
        """Make what all runs read."""

    def set_up(self, folder):
        """Make what a run finds in its folder."""

    def run(self, folder):
        """Do the work; return arrays and tables, or None."""
        raise NotImplementedError

    def complete(self, folder):
        """Set of units that are complete; raises if one of them is wrong."""
        return set()

    def note_units(self, note):
        """Have `note` called with every unit that is begun."""

    def outputs(self, folder):
        """Bytes by name of what a run leaves."""
        names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        return {name: path.read_bytes() for name, path in names.items() if not name.endswith(".lock")}


def called(module, name, unit, note):
    """Let `note` be called with ``unit(*arguments)`` before every call of a function."""
    function = getattr(module, name)

    def counted(*arguments, **options):
        note(unit(*arguments, **options))
        return function(*arguments, **options)

    setattr(module, name, counted)


class Store(Stage):
    """Spectrograms of 40 clips, one of which is broken."""

    workers = 1

    def prepare(self):
        import soundfile

        rng = np.random.default_rng(0)
        for number in range(40):
            y = rng.uniform(-0.5, 0.5, 4000 + 100 * number)
            soundfile.write(self.inputs / f"{number:02d}.wav", y if number != 5 else y * 0, 8000)
        (self.inputs / "07.wav").write_bytes(b"no audio")

    def build(self, folder):
        from musictools.spectrograms import FrontEnd, SpectrogramStore

        clips = {number: self.inputs / f"{number:02d}.wav" for number in range(40)}
        front_end = FrontEnd(8000, 256, 128, 16)
        return SpectrogramStore.build(folder / "a.zarr", clips, front_end=front_end, seconds=1, workers=self.workers)

    def run(self, folder):
        self.build(folder)

    def complete(self, folder):
        from musictools.spectrograms import SpectrogramStore, store

        if not (folder / "a.zarr" / "zarr.json").is_file():
            return set()
        there = SpectrogramStore(folder / "a.zarr")
        for number in there.ids:
            S = store.compute_file(self.inputs / f"{number:02d}.wav", there.front_end, seconds=1)
            if not np.array_equal(there.raw(number), np.rint(there.front_end.scale(S) * 255).astype(np.uint8)):
                raise AssertionError(f"clip {number} counts as complete and is not what its file gives")
        return {str(number) for number in there.ids}

    def note_units(self, note):
        from musictools.spectrograms import store

        called(store, "compute_file", lambda path, *_, **__: str(int(Path(path).stem)), note)


class StoreOfTwoWorkers(Store):
    """The same with two worker processes; what they compute is not counted."""

    workers, patience = 2, 0.5

    def note_units(self, note):
        pass


class Fit(Stage):
    """A tagger, trained for three epochs and scored."""

    uses_tensorflow = True

    def tasks(self):
        from musictools.experiments import jobs, protocols
        from musictools.spectrograms import ArrayStore

        rng, ids = np.random.default_rng(0), [f"c{k:02d}" for k in range(24)]
        labels = pd.DataFrame(rng.random((24, 3)) < 0.5, index=ids, columns=["a", "b", "c"])
        S = rng.integers(0, 255, (24, 16, 100)).astype(np.uint8)
        split = pd.Series(np.repeat(["train", "validation", "test"], [12, 6, 6]), index=ids)
        protocol = protocols.protocol("rotheneder2023", "se_cnn", epochs=3, batch_size=8, learning_rate=0.01)
        job = jobs.Job(model="se_cnn", n_tags=3, labels="annotated", protocol="rotheneder2023")
        data = {"job": job, "store": ArrayStore(S, ids), "labels": labels, "split": split}
        return [jobs.Task(**data, length=64, step=36, width=0.1, protocol=protocol)]

    def run(self, folder):
        from musictools.experiments import jobs

        [self.result] = jobs.run(self.tasks(), folder=folder / "jobs", workers=1)

    def complete(self, folder):
        units = set()
        for place in (folder / "jobs").glob("*"):
            whole = (place / "result.joblib").is_file()
            for phase, epochs in enumerate((3,)):
                progress = place / "progress" / f"phase-{phase}"
                done = whole or progress.with_suffix(".weights.h5").is_file()
                last = [int(p.name.split("-")[1]) for p in progress.glob("backup/epoch-*")]
                units |= {f"{phase}.{epoch}" for epoch in range(epochs if done else max(last, default=-1) + 1)}
        return units

    def note_units(self, note):
        from musictools import training

        phase = []
        called(training, "fit", lambda *_, folder, **__: phase.append(folder.name[-1]) or "", lambda _: None)
        begin = training._Epoch.on_epoch_begin

        def counted(self, epoch, logs=None):
            note(f"{phase[-1]}.{epoch}")
            begin(self, epoch, logs)

        training._Epoch.on_epoch_begin = counted

    def outputs(self, folder):
        result = dataclasses.asdict(self.result)
        left = sorted(p.name for p in next((folder / "jobs").iterdir()).iterdir())
        kept = {name: repr(value).encode() for name, value in result.items() if name not in {*SECONDS, "model_file"}}
        arrays = {f"scores {split}": scores.tobytes() for split, scores in self.result.scores.items()}
        return kept | arrays | {"model": self.result.model_file.read_bytes(), "left": repr(left).encode()}


class Probing(Stage):
    """Feature maps of a network on disk, and probes of each of them."""

    uses_tensorflow = True

    def run(self, folder):
        from musictools.probing import probes
        from musictools.probing.maps import FeatureMaps
        from support import planted

        rng, ids = np.random.default_rng(0), list(range(300))
        x = rng.random((300, 8, 12, 1), dtype=np.float32)
        labels = pd.DataFrame({"loud": x[:, :4].mean(axis=(1, 2, 3)) > 0.5, "odd": rng.random(300) < 0.5}, index=ids)
        model = planted.network(shape=(8, 12, 1))
        maps = FeatureMaps.build(folder / "maps", model, x, ids, batch_size=64)
        self.counts, _ = probes.probe(
            maps, labels, [(np.arange(200), np.arange(200, 300))], methods={"knn": {"ks": [3]}},
            folder=folder / "probes", workers=1,
        )  # fmt: skip

    def complete(self, folder):
        return {place.parent.name.rpartition("-")[0] for place in (folder / "probes").glob("*/result.joblib")}

    def note_units(self, note):
        from musictools.probing import probes

        called(probes, "_count", lambda task, name, _: f"{name[0]}-{name[1]}", note)

    def outputs(self, folder):
        maps = {name: content for name, content in super().outputs(folder).items() if name.startswith("maps/")}
        return maps | {"counts": self.counts.to_csv().encode()}


class ConceptFile(Stage):
    """Concepts of a network, saved."""

    uses_tensorflow = True

    def run(self, folder):
        from musictools import concepts
        from support import planted

        x, labels = planted.planted(8)
        found = concepts.discover(
            planted.network(), x, labels, n_segments=(6,), n_concepts=3, n_null=10, n_runs=3, n_seeds=1, classes=[0]
        )
        concepts.save(folder / "concepts.npz", found, x=x)


class Explanation(Stage):
    """A song explained, as a page with its sounds."""

    uses_tensorflow = True

    def run(self, folder):
        import keras

        from musictools.explain.application import page, system
        from musictools.inference import Tagger
        from musictools.models.card import ModelCard
        from musictools.spectrograms import FrontEnd

        keras.utils.set_random_seed(0)
        layers = [keras.Input((40, 30, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="sigmoid")]
        front_end = FrontEnd(8000, 512, 256, 40)
        card = ModelCard(task="tags", model="t", outputs=["drums", "flute"], length=30, step=30, front_end=front_end)
        y = np.random.default_rng(0).uniform(-0.5, 0.5, 24000)
        explanation = system.ExplanationSystem(None, Tagger(keras.Sequential(layers), card)).explain(
            y, sr=8000, tags=["flute"], rule="half", method="gradient", badges=False
        )
        page.write(folder / "song", dataclasses.replace(explanation, seconds={}), title="Song")


def record(folder, name, **more):
    from musictools.runs import manifests

    plain = {"notebook": name, "finished": True, "seconds": 1.0, "parameters": {}, "data": {}, "upstream": {}}
    manifests.write_record(folder, name, plain | {"said": ["An answer."], "outputs": {}} | more)


class Report(Stage):
    """The report of three executed notebooks and a table that a source publishes."""

    TABLE = "rotheneder2023_table_3_4_genre_performance"

    def set_up(self, folder):
        folder = folder / "demo"
        (folder / "tables").mkdir(parents=True)
        (folder / "notebooks").mkdir()
        (folder / "tables" / f"{self.TABLE}.csv").write_text("model,data,accuracy\nckn19,balanced,0.3\n")
        for name in ("01_first", "02_second", "03_third"):
            cells = [nbformat.v4.new_markdown_cell(f"# {name}", id="a"), nbformat.v4.new_code_cell("1 + 1", id="b")]
            nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebooks" / f"{name}.ipynb")
            record(folder, name, outputs={f"tables/{self.TABLE}.csv": ""} if name == "01_first" else {})

    def run(self, folder):
        from musictools.files import remove_stale
        from musictools.runs import report

        remove_stale(folder)  # as the rebuild does
        report.write(folder / "demo")

    def complete(self, folder):
        return {path.stem for path in (folder / "demo" / "report" / "notebooks").glob("[!.]*.html")}

    def note_units(self, note):
        from musictools import html

        called(html, "notebook", lambda path: path.stem, note)


class Results(Stage):
    """What one notebook writes: a table, a figure, a sound, a model with its card, its record in the manifest."""

    def run(self, folder):
        import matplotlib.pyplot as plt

        from musictools import runs
        from musictools.files import remove_stale
        from musictools.models.card import ModelCard

        remove_stale(folder)
        run = runs.start(folder / "demo", notebook="02_second", parameters={"n": 3})
        run.table("numbers", pd.DataFrame({"a": np.arange(2000)}))
        figure, ax = plt.subplots()
        ax.plot([0, 1])
        run.figure("line", figure)
        run.audio("noise.wav", np.random.default_rng(0).uniform(-1, 1, 20000), 8000)
        run.model_path("network").write_bytes(bytes(range(256)) * 100)
        run.card("network", ModelCard(task="genre", model="t", outputs=["a"], length=1, step=1, front_end=None))
        run.say("An answer.")
        run.finish()

    def outputs(self, folder):
        left = super().outputs(folder)
        for name, content in left.items():
            if name.endswith(("manifests/02_second.json", "manifest.json")):
                known = json.loads(content)
                records = [known] if "notebook" in known else known["notebooks"].values()
                for one in records:
                    one.pop("checksum", None)
                    one.pop("seconds")
                left[name] = json.dumps(known).encode()
        return left


NOTEBOOK = """from musictools import runs
run = runs.start(output_dir, notebook={name!r})
# run.upstream({upstream!r})
def compute(folder, number):
    import pathlib, time
    with open({log!r}, "a") as file:
        file.write({name!r} + f"-{{number}}\\n")
    time.sleep(0.1)
    folder.mkdir(parents=True)
    (folder / "half.txt").write_text("x" * 1000)
    return number ** 2
import functools
squares = [runs.cached(functools.partial(compute, number=k), folder=run.scratch, name=f"{name}-{{k}}", depends_on=k)
           for k in range(3)]
run.path("tables", {name!r}).write_text("x\\n" + "\\n".join(map(str, squares)) + "\\n")
run.finish()"""


class Rebuild(Stage):
    """Two tiny notebooks in real kernels, of which the second one waits for the first."""

    NAMES, patience = ("02_first", "03_second"), 1.5

    def set_up(self, folder):
        (folder / "notebooks").mkdir()
        (folder / "params" / "demo").mkdir(parents=True)
        for name, upstream in zip(self.NAMES, ("", self.NAMES[0]), strict=True):
            head = nbformat.v4.new_code_cell("output_dir = 'outputs/demo'", id="a", metadata={"tags": ["parameters"]})
            code = NOTEBOOK.format(name=name, upstream=upstream, log=str(folder.with_suffix(".log")))
            body = [nbformat.v4.new_code_cell(code, id="b")]
            nbformat.write(nbformat.v4.new_notebook(cells=[head, *body]), folder / "notebooks" / f"{name}.ipynb")
            (folder / "params" / "demo" / f"{name}.yaml").write_text("{}\n")
        (folder / "params" / "demo" / "common.yaml").write_text("output_dir: outputs/demo\n")

    def run(self, folder):
        from musictools import runs

        places = {"notebooks_dir": folder / "notebooks", "params_dir": folder / "params", "output_root": folder / "out"}
        if runs.rebuild("demo", jobs=1, **places):
            raise RuntimeError("the rebuild failed")

    def complete(self, folder):
        out = folder / "out" / "demo"
        units = {place.parent.name.rpartition("-")[0] for place in out.glob("work/*/*/result.joblib")}
        for name in self.NAMES:
            if (out / "manifests" / f"{name}.json").is_file():
                known = json.loads((out / "manifests" / f"{name}.json").read_text())
                units |= {f"{name}-{k}" for k in range(3)} if known["finished"] else set()
        return units

    def outputs(self, folder):
        left = super().outputs(folder / "out" / "demo")
        return {name: content for name, content in left.items() if name.startswith(("tables/", "work/"))}


STAGES = {
    "store": Store,
    "store, 2 workers": StoreOfTwoWorkers,
    "results": Results,
    "report": Report,
    "fit": Fit,
    "probing": Probing,
    "concepts": ConceptFile,
    "explanation": Explanation,
    "rebuild": Rebuild,
}


def leftovers(folder):
    """Names of temporary files and folders."""
    paths = [path for pattern in (".tmp-*", "*.partial") for path in folder.rglob(pattern)]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def quietly(function, *arguments):
    """Call a function; what it warns of is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(damaged|built again).*")
        return function(*arguments)
