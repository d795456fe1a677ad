"""One notebook in a fresh kernel, in a process of its own: ``python -m musictools.runs.one_notebook``.

papermill changes the working folder of its process, so notebooks that run at the same time need separate processes.
The request comes as JSON on standard input, the answer goes as JSON to standard output.
"""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from musictools.runs.memory import ADVICE, system_kills
from musictools.runs.parallel import end_with

__all__ = ["execute"]

STARTS = 3  # kernels that start at the same moment may draw the same port, and one of them dies: it starts again
_NO_ANSWER = "RuntimeError: Kernel died before replying"
_NO_MEMORY = {"MemoryError", "_ArrayMemoryError", "ResourceExhaustedError", "TerminatedWorkerError"}
_NOT_COUNTED = {"injected-parameters", "papermill-error-cell-tag"}


def execute(source: str | Path, executed: str | Path, *, parameters: dict[str, Any], cwd: str | Path) -> str:
    """Run a notebook with papermill.

    Parameters
    ----------
    source, executed : str or Path
        The notebook, and where it is written with its outputs.
    parameters : dict
        Values of its parameters.
    cwd : str or Path
        Working folder of the kernel.

    Returns
    -------
    failure : str
        What went wrong, in one line; empty if nothing did.

    See Also
    --------
    musictools.runs.rebuild : All notebooks of a profile.
    """
    for _ in range(STARTS):
        failure = _execute(source, executed, parameters=parameters, cwd=cwd)
        if not failure.startswith(_NO_ANSWER):
            break
    return failure


def _execute(source, executed, *, parameters, cwd):
    import papermill
    from nbclient.exceptions import DeadKernelError

    before = system_kills()
    try:
        papermill.execute_notebook(
            source,
            executed,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            cwd=cwd,
            progress_bar=False,
            start_timeout=180,
        )
    except papermill.PapermillExecutionError as error:
        advice = f" The memory is exhausted. {ADVICE}" if error.ename in _NO_MEMORY else ""
        return f"cell {_cell_number(executed)}: {error.ename}: {_short(error.evalue)}{advice}"
    except DeadKernelError:
        cause = "the system killed a process for lack of memory" if system_kills() > before else "out of memory?"
        return f"cell {_cell_number(executed)}: the kernel died ({cause}). {ADVICE}"
    except OSError as error:
        return f"{type(error).__name__}: {_short(error)} while writing {executed}"
    except Exception as error:  # whatever one notebook does to its kernel, the others go on
        return f"{type(error).__name__}: {_short(error)}"
    return ""


def main() -> int:
    """Answer one request; the exit status is 130 when interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        request = json.load(sys.stdin)
        end_with(request.pop("parent"))
        os.nice(request.pop("nice"))
        print(json.dumps({"failure": execute(**request)}))
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # nobody awaits the interrupted cell any more
        return 130
    return 0


def _interrupt_once(*_):
    """Interrupt this process; ignore what follows, or it would interrupt the shutdown of the kernel.

    A terminal sends SIGINT to all processes, and the rebuild sends it again to those that it started.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _cell_number(executed):
    """Return the number (from 1) in the source notebook of the cell where a run stopped."""
    try:
        cells = json.loads(Path(executed).read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # it could not be written
        return "?"
    cells = [cell for cell in cells if not _NOT_COUNTED & set(cell["metadata"].get("tags", []))]
    stopped = "?"
    for number, cell in enumerate(cells, start=1):
        state = cell["metadata"].get("papermill", {})
        if state.get("exception"):
            return number
        if state.get("start_time"):
            stopped = number
    return stopped


def _short(text):
    text = " ".join(str(text).split())
    return text if len(text) <= 400 else text[:400] + " …"


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the kernel is gone; threads of zmq and asyncio need not be waited for
