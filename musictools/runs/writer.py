"""The one writer: tables, figures, sounds, models and sentences of a notebook, each recorded with its hash."""

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musictools.files import atomic, save_model

from . import manifests, settings
from .manifests import REBUILD
from .parallel import kernel_shell, use
from .paths import from_root, root

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from pydantic import BaseModel

__all__ = ["Run", "Upstream", "start"]

_FOLDERS = {"tables": ".csv", "figures": ".png", "audio": ".mp3", "models": ".keras", "cards": ".json", "files": ""}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def start(output_dir: str | Path, *, notebook: str, parameters: dict | None = None, scheduler: str = "") -> "Run":
    """Begin a notebook's run.

    Parameters
    ----------
    output_dir : str or Path
        Where results go, such as ``"outputs/demo"``; relative to the checkout.
    notebook : str
        The notebook's name without suffix, such as ``"02_train_genre_model"``.
    parameters : dict or None
        The parameters to record; None: read from the running notebook, as its parameters cell names them.
    scheduler : str
        Address of a Dask scheduler: the default of :func:`musictools.runs.map` in this process until the run is
        finished; kept as ``run.scheduler``.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If `output_dir` is empty, `notebook` cannot name a file, or a parameter's type differs from its default's.

    Examples
    --------
    >>> import tempfile
    >>> run = start(tempfile.mkdtemp(), notebook="02_train", parameters={"epochs": 3})
    >>> run.table("accuracy", pd.DataFrame({"accuracy": [0.5]}))
       accuracy
    0       0.5
    >>> run.say("Half of the clips are right.")
    Half of the clips are right.
    >>> run.finish()
    """
    if not str(output_dir).strip():
        raise ValueError("output_dir must name a folder, such as 'outputs/demo'. Got an empty one.")
    if parameters is None:
        parameters = _running_parameters(root() / "notebooks" / f"{notebook}.ipynb")
    run = Run(from_root(output_dir), notebook=_checked(notebook), parameters=parameters, scheduler=scheduler)
    use(scheduler, shared=[run.output_dir])
    return run


class _Outputs:
    """What `Run` and `Upstream` have in common."""

    def model_path(self, name: str) -> Path:
        """Path of a model, ``models/<name>.keras``; as `path` with the kind ``models``.

        Parameters
        ----------
        name : str

        Returns
        -------
        path : Path
        """
        return self.path("models", name)


class Run(_Outputs):
    """One notebook's results: writes them below one folder and records them in the manifest.

    Made by :func:`musictools.runs.start`. The parameters are attributes, too.

    Parameters
    ----------
    output_dir : str or Path
        The profile's folder.
    notebook : str
        The notebook's name.
    parameters : dict or None
        Values to record.
    scheduler : str
        Address of a Dask scheduler, or empty.
    """

    def __init__(self, output_dir: str | Path, *, notebook: str, parameters: dict | None = None, scheduler: str = ""):
        self.output_dir = Path(output_dir)
        self.notebook = notebook
        self.parameters = dict(parameters or {})
        self.scheduler = scheduler
        self._began = time.monotonic()
        self._outputs, self._said, self._data, self._upstream = {}, [], {}, {}
        self._write(finished=False)

    def path(self, kind: str, name: str) -> Path:
        """Return where an output goes, and expect it to be there when the run finishes.

        Parameters
        ----------
        kind : str
            ``tables``, ``figures``, ``audio``, ``models``, ``cards`` or ``files``.
        name : str
            Letters, digits, ``_``, ``-`` and ``.``; the kind's usual suffix is added when there is none
            (``files`` keep the name as it is).

        Returns
        -------
        path : Path
            Its folder exists.

        Raises
        ------
        ValueError
            If the kind is unknown, or the name holds anything else.
        """
        if kind not in _FOLDERS:
            raise ValueError(f"kind must be one of {', '.join(_FOLDERS)}. Got {kind!r}.")
        path = self.output_dir / kind / _with_suffix(_checked(name), kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._outputs[path.relative_to(self.output_dir).as_posix()] = None
        return path

    def table(self, name: str, table: "pd.DataFrame | pd.Series", *, index: bool | None = None) -> "pd.DataFrame":
        """Write a table as CSV and return it, so that a cell shows it.

        Parameters
        ----------
        name : str
            As in :meth:`path`; ``<source>_<number>_<name>`` for a table of a source.
        table : pd.DataFrame or pd.Series
            The table.
        index : bool or None
            Write the index; None: unless it is a plain 0, 1, 2, …

        Returns
        -------
        table : pd.DataFrame
            What was given.

        Raises
        ------
        ValueError
            If `table` is neither, or the name is not allowed.
        """
        import pandas as pd

        if isinstance(table, pd.Series):
            table = table.to_frame()
        if not isinstance(table, pd.DataFrame):
            raise ValueError(f"table must be a DataFrame. Got {type(table).__name__} for {name!r}.")
        if index is None:
            index = not (isinstance(table.index, pd.RangeIndex) and table.index.name is None)
        path = self.path("tables", name)
        with atomic(path) as temporary:
            table.to_csv(temporary, index=index, lineterminator="\n", encoding="utf-8")
        self._record(path)
        return table

    def figure(self, name: str, figure: Any, *, dpi: int = 150) -> None:
        """Write a figure as PNG (equal bytes for equal figures), show it once in a notebook, and close it.

        Parameters
        ----------
        name : str
            As in :meth:`path`.
        figure : matplotlib.figure.Figure
            The figure.
        dpi : int > 0
            Dots per inch.
        """
        import matplotlib.pyplot as plt

        path = self.path("figures", name)
        with atomic(path) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
        self._record(path)
        _display(figure)
        plt.close(figure)

    def audio(self, name: str, y: "np.ndarray", sr: int) -> None:
        """Write a sound and put a player into the notebook.

        Parameters
        ----------
        name : str
            As in :meth:`path`; a suffix ``.mp3`` (the default), ``.wav``, ``.flac`` or ``.ogg`` chooses the format.
            All but ``.ogg`` give equal bytes for equal sounds.
        y : np.ndarray [shape=(n,) or (n, channels)]
            Samples between -1 and 1.
        sr : int > 0
            Sampling rate in Hz.

        Raises
        ------
        ValueError
            If `y` is empty, holds NaN or infinities, or would clip.
        """
        import numpy as np
        import soundfile

        y = np.asarray(y, dtype=np.float32)
        if y.size == 0 or not np.isfinite(y).all():
            raise ValueError(f"Sound {name!r} {'is empty' if y.size == 0 else 'holds NaN or infinite samples'}.")
        peak = float(np.abs(y).max())
        if peak > 1.001:
            raise ValueError(f"Sound {name!r} has a peak of {peak:.3g} and would clip. Scale it to at most 1 first.")
        path = self.path("audio", name)
        with atomic(path) as temporary:
            soundfile.write(temporary, y.clip(-1, 1), int(sr))
        self._record(path)
        if kernel_shell():
            from IPython.display import Audio

            _display(Audio(filename=str(path)))

    def model(self, name: str, model: Any) -> None:
        """Save a Keras model as ``models/<name>.keras``, complete or not at all, with equal bytes for equal models.

        Parameters
        ----------
        name : str
        model : keras.Model
        """
        path = self.model_path(name)
        save_model(path, model)
        self._record(path)

    def card(self, name: str, card: "BaseModel") -> None:
        """Write what must be known of a model as ``cards/<name>.json``.

        Parameters
        ----------
        name : str
            The model's name.
        card : musictools.models.card.ModelCard
            NaN in its provenance becomes null. The checksum of ``models/<name>.keras``, if that is there, is added.

        Raises
        ------
        TypeError
            If `card` is anything else, such as a dict, whose fields nobody has checked.
        """
        from pydantic import BaseModel  # this package lies below musictools.models and cannot import ModelCard

        if not isinstance(card, BaseModel):
            raise TypeError(f"card must be a musictools.models.card.ModelCard. Got {type(card).__name__}.")
        path, model = self.path("cards", name), self.output_dir / "models" / f"{name}.keras"
        known = {"model_sha256": manifests.file_digest(model)} if model.is_file() else {}
        manifests.write_json(path, card.model_dump() | known)
        self._record(path)

    def say(self, text: str) -> None:
        """Show a sentence (Markdown) and record it for the report.

        Parameters
        ----------
        text : str
            Words computed from the run's own numbers.
        """
        self._said.append(str(text))
        self._write(finished=False)
        if kernel_shell():
            from IPython.display import Markdown

            _display(Markdown(str(text)))
        else:
            print(text)

    def uses(self, name: str, checksum: str = "", *, path: str | Path | None = None) -> None:
        """Record a data set that the results depend on.

        Parameters
        ----------
        name : str
            The data set's name.
        checksum : str
            Its checksum, as the data set gives it.
        path : str, Path or None
            Its folder: a later rebuild runs this notebook again when names, sizes or times of its files change.
        """
        stamp = manifests.folder_stamp(path) if path else None
        self._data[name] = {"checksum": checksum, "path": str(path) if path else None, "stamp": stamp}

    def upstream(self, notebook: str) -> "Upstream":
        """Return the finished results of an earlier notebook of this profile, and record the dependence.

        Parameters
        ----------
        notebook : str
            Its name, written out (``run.upstream("02_train_genre_model")``): the rebuild reads it from the source.

        Returns
        -------
        results : Upstream
            ``.path(kind, name)``, ``.table(name)``, ``.model_path(name)``, ``.parameters``.

        Raises
        ------
        FileNotFoundError
            If that notebook has no finished results here.
        """
        record = manifests.read_record(self.output_dir, notebook)
        if not record or not record.get("finished"):
            raise FileNotFoundError(
                f"{notebook} has no finished results in {self.output_dir}. Run it first: "
                f"musictools rebuild --profile {self.output_dir.name} --only {notebook.split('_')[0]}"
            )
        self._upstream[notebook] = manifests.digest(record["outputs"])
        return Upstream(self.output_dir, notebook, record)

    @property
    def scratch(self) -> Path:
        """Folder for progress that a killed run takes up again; `finish` removes it."""
        folder = manifests.scratch_path(self.output_dir, self.notebook)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self) -> None:
        """Hash every output, write this notebook's record, remove the scratch folder; call it last.

        In a rebuild the scratch folder stays until the executed notebook is on disk: if the rebuild is killed before,
        the notebook runs again.

        Raises
        ------
        FileNotFoundError
            If an output was announced and never written.
        """
        for name, known in self._outputs.items():
            if not (self.output_dir / name).is_file():
                raise FileNotFoundError(f"{self.notebook} announced {name} and never wrote it.")
            if known is None:
                self._outputs[name] = manifests.file_digest(self.output_dir / name)
        self._write(finished=True)
        use("")
        if REBUILD not in os.environ:
            manifests.remove_scratch(self.output_dir, self.notebook)

    def _record(self, path):
        self._outputs[path.relative_to(self.output_dir).as_posix()] = manifests.file_digest(path)

    def _write(self, *, finished):
        record = {
            "notebook": self.notebook,
            "finished": finished,
            "seconds": round(time.monotonic() - self._began, 3),
            "parameters": self.parameters,
            "data": self._data,
            "upstream": self._upstream,
            "outputs": self._outputs,
            "said": self._said,
        }
        if finished:
            record |= {
                "versions": manifests.versions(),
                "package": manifests.package_digest(),
                "commit": manifests.commit(),
                "device": manifests.device(),
            }
        manifests.write_record(self.output_dir, self.notebook, record)


class Upstream(_Outputs):
    """The finished results of an earlier notebook; made by :meth:`Run.upstream`.

    Parameters
    ----------
    output_dir : Path
        The profile's folder.
    notebook : str
        The notebook's name.
    record : dict
        Its entry in the manifest. Its parameters are the attribute ``parameters``.
    """

    def __init__(self, output_dir: Path, notebook: str, record: dict):
        self.output_dir, self.notebook, self.parameters = output_dir, notebook, record["parameters"]
        self._outputs = record["outputs"]

    def path(self, kind: str, name: str) -> Path:
        """Return the path of one of its outputs.

        Parameters
        ----------
        kind, name : str
            As in :meth:`Run.path`.

        Returns
        -------
        path : Path

        Raises
        ------
        FileNotFoundError
            If the notebook has not written it. The message lists what it wrote.
        ValueError
            If it is not as the notebook wrote it.
        """
        key = f"{kind}/{_with_suffix(_checked(name), kind)}"
        if key not in self._outputs:
            there = ", ".join(output for output in self._outputs if output.startswith(f"{kind}/"))
            raise FileNotFoundError(f"{self.notebook} has no {key}. It wrote: {there or 'none of that kind'}.")
        card = f"cards/{name}.json"  # who loads the model reads it as well
        for one in (key, card) if kind == "models" and card in self._outputs else (key,):
            if manifests.file_digest(self.output_dir / one) != self._outputs[one]:
                again = f"--profile {self.output_dir.name} --only {self.notebook.split('_')[0]}"
                raise ValueError(
                    f"{self.output_dir / one} is not as {self.notebook} wrote it: it does not fit its checksum. Make "
                    f"it again: musictools rebuild {again}"
                )
        return self.output_dir / key

    def table(self, name: str, **options: Any) -> "pd.DataFrame":
        """Return one of its tables.

        Parameters
        ----------
        name : str
        **options
            Passed to ``pd.read_csv``.

        Returns
        -------
        table : pd.DataFrame
        """
        import pandas as pd

        return pd.read_csv(self.path("tables", name), **options)


def _checked(name):
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"A name may hold letters, digits, '_', '-' and '.', and no folder. Got {name!r}.")
    return name


def _with_suffix(name, kind):
    known = {"audio": (".mp3", ".wav", ".flac", ".ogg")}.get(kind, (_FOLDERS[kind],))
    return name if name.endswith(known) else name + _FOLDERS[kind]


def _display(thing):
    if kernel_shell():
        from IPython.display import display

        display(thing)


def _running_parameters(path):
    """Read a running notebook's parameters from its names, checking types against the defaults."""
    shell = kernel_shell()
    if shell is None or not os.path.isfile(path):
        return {}
    defaults = settings.parameters(path)
    values = {name: shell.user_ns.get(name, default) for name, default in defaults.items()}
    return {name: settings.fitting(values[name], default, where=name) for name, default in defaults.items()}
