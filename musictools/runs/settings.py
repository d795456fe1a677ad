"""Parameters of notebooks, checked strictly.

A notebook declares its parameters in the one cell tagged ``parameters``: names, literals, nothing else. A YAML file
(``params/<profile>/<notebook>.yaml``), ``common.yaml`` beside it and the command line may set those and no others, and
only to values of the default's type.
"""

import ast
import difflib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from musictools.files import read_text

__all__ = ["parameters", "resolve"]

COMMON = "common.yaml"
_LARGEST = 2**18  # bytes of a parameter file
_NO_YAML = (yaml.YAMLError, ValueError, RecursionError, OverflowError)  # 2024-13-45 is a ValueError, for example
_TYPES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def parameters(notebook_path: str | Path) -> dict[str, Any]:
    """Read the parameters a notebook declares.

    Parameters
    ----------
    notebook_path : str or Path
        The notebook.

    Returns
    -------
    defaults : dict
        Default by name, in the order of the cell.

    Raises
    ------
    FileNotFoundError
        If there is no such notebook.
    ValueError
        If it is no notebook, has no cell tagged ``parameters`` or several, or the cell holds more than literals.

    See Also
    --------
    resolve : The same with the values of parameter files.

    Examples
    --------
    >>> parameters("notebooks/02_train_genre_model.ipynb")["dataset"]  # doctest: +SKIP
    'composed'
    """
    path = Path(notebook_path)
    try:
        cells = json.loads(read_text(path))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
        source = "".join(tagged[0]["source"]) if len(tagged) == 1 else ""
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no readable notebook ({error!r}).") from error
    if len(tagged) != 1:
        raise ValueError(f"{path} must have exactly one cell tagged 'parameters'. Got {len(tagged)}.")
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"{path}: the parameters cell is no Python (line {error.lineno}: {error.msg}).") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a zero byte; brackets without end
        raise ValueError(f"{path}: the parameters cell is no Python ({error}).") from error
    defaults = {}
    for statement in statements:
        name, value = _literal(statement, path)
        if name in defaults:
            raise ValueError(f"{path}: the parameters cell sets {name!r} twice.")
        defaults[name] = value
    return defaults


def resolve(notebook_path: str | Path, *sources: str | Path | dict, overrides: dict | None = None) -> dict[str, Any]:
    """Return all parameters of a notebook with the values that files and the command line give them.

    Parameters
    ----------
    notebook_path : str or Path
        The notebook.
    *sources : str, Path or dict
        YAML files or mappings, later ones win. A file named ``common.yaml`` may also hold parameters of other notebooks
        of the same folder.
    overrides : dict or None
        Values from the command line, which win over all.

    Returns
    -------
    values : dict
        A value for every declared parameter.

    Raises
    ------
    ValueError
        If a name is unknown, a value has another type than the default, or a file cannot be read. The message names
        the file.
    """
    path = Path(notebook_path)
    defaults = parameters(path)
    values = dict(defaults)
    for source in sources:
        given, where = (source, "parameters") if isinstance(source, dict) else (read_yaml(source), str(source))
        known = declared(path.parent) if Path(where).name == COMMON else set(defaults)
        values |= _fitted(given, defaults, known=known, where=where)
    return values | _fitted(overrides or {}, defaults, known=set(defaults), where="-p")


def declared(notebooks_dir: str | Path) -> set[str]:
    """Return the names that any notebook of a folder declares."""
    return {name for path in sorted(Path(notebooks_dir).glob("*.ipynb")) for name in parameters(path)}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a parameter file: a mapping from names to values.

    Raises
    ------
    ValueError
        If it is missing, empty, unreadable or no mapping, or sets a name twice.
    """
    path = Path(path)
    try:
        text = read_text(path, max_bytes=_LARGEST)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such parameter file.") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}).") from error
    try:
        content = yaml.load(text, Loader=_StrictLoader)
    except _NO_YAML as error:
        raise ValueError(f"{path}: is no valid YAML ({_shown(error)}).") from error
    if content is None:
        raise ValueError(f"{path}: is empty. Write {{}} when there is nothing to set.")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold lines 'name: value'. Got a {type(content).__name__} at the top.")
    for name in content:
        if not isinstance(name, str):
            raise ValueError(f"{path}: YAML reads one name as {name!r} (on, off, yes, no, numbers). Put it in quotes.")
    return content


def from_command_line(text: str) -> tuple[str, Any]:
    """Read one ``name=value`` of the command line; the value is YAML, and ``1e-4`` a number.

    Returns
    -------
    name : str
    value : object

    Raises
    ------
    ValueError
        If the text is not ``name=value`` or the value is no YAML.

    Examples
    --------
    >>> from_command_line("units=[50, 100]")
    ('units', [50, 100])
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise ValueError(f"-p takes name=value, such as -p epochs=3. Got {text!r}.")
    try:
        parsed = yaml.load(value, Loader=_StrictLoader)
    except _NO_YAML as error:
        raise ValueError(f"-p {text}: the value is no valid YAML ({_shown(error)}).") from error
    if isinstance(parsed, str) and not value.strip().startswith(("'", '"')):
        parsed = _number(parsed, otherwise=parsed)
    return name.strip(), "" if parsed is None and not value.strip() else parsed


def unknown(name: str, known: Iterable[str], *, where: object, what: str = "parameter") -> ValueError:
    """Return the ValueError for a name that is not known, with the nearest one and all that are."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ValueError(f"{where}: unknown {what} {_shown(name)!r}.{hint} Known: {', '.join(sorted(known)) or 'none'}.")


def fitting(value: Any, default: Any, *, where: str) -> Any:
    """Return `value` if it has the type of `default`; a whole number fits a float.

    Raises
    ------
    ValueError
        If it has another type or is not finite; `where` begins the message.
    """
    if default is None:
        return value
    wanted = type(default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        hint = _hint(value, wanted)
        raise ValueError(
            f"{where} must be {_TYPES[wanted]} like its default {default!r}. Got {_shown(repr(value))}.{hint}"
        )
    if wanted is float and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number. Got {value!r}.")
    if wanted is list and default and not any(isinstance(entry, list | dict | None) for entry in default):
        example = next((entry for entry in default if isinstance(entry, float)), default[0])
        if all(type(entry) in (type(example), int) for entry in default):
            return [fitting(entry, example, where=f"{where}[{number}]") for number, entry in enumerate(value)]
    return value


def _shown(value):
    """A text on one line, cut where it is long."""
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:200]} …"


def _fitted(given, defaults, *, known, where):
    fitted = {}
    for name, value in given.items():
        if name not in known:
            raise unknown(name, known, where=where)
        if name in defaults:
            fitted[name] = fitting(value, defaults[name], where=f"{where}: {name}")
    return fitted


def _hint(value, wanted):
    """Say what to write instead, where YAML is known to surprise."""
    number = _number(value, otherwise=None) if isinstance(value, str) else None
    if wanted is float and number is not None:
        return f" YAML takes this for text: write {_with_point(value)}."
    if wanted is int and isinstance(value, float) and value.is_integer():
        return f" Write {int(value)}."
    if wanted is bool and str(value).lower() in ("true", "false", "0", "1"):
        return " Write true or false, without quotes."
    if wanted is str and not isinstance(value, list | dict):
        return f" Put it in quotes: '{value}'."
    return f" Write it as a list: [{value}]." if wanted is list and not isinstance(value, dict) else ""


def _with_point(text):
    mantissa, _, exponent = text.strip().lower().partition("e")
    mantissa += "" if "." in mantissa else ".0"
    return f"{mantissa}e{int(exponent):+d}" if exponent else mantissa


def _number(text, *, otherwise):
    try:
        return float(text)
    except ValueError:
        return otherwise


def _literal(statement, path):
    """Return name and value of one ``name = literal``."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    assigns = isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
    if not assigns or len(targets) != 1 or not isinstance(targets[0], ast.Name):
        raise ValueError(
            f"{path}: every line of the parameters cell must be 'name = literal'. "
            f"Got {_shown(ast.unparse(statement))!r}. Anything else belongs in the next cell."
        )
    name, value = targets[0].id, None
    try:
        value = ast.literal_eval(statement.value)
        fits = value is None or type(value) in _TYPES
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        fits = False
    if not fits:
        raise ValueError(
            f"{path}: parameter {name!r} must be a literal: text, number, True, False, None, list or dict. "
            f"Got {_shown(ast.unparse(statement.value))}. Derived values belong in the next cell."
        )
    return name, value


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader without aliases, which can describe any size in a few lines; no name may be set twice."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, "aliases (*name) are not read", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names, seen = [self.construct_object(key, deep=True) for key, _ in node.value], set()
        for name in names:
            if isinstance(name, str) and (name in seen or seen.add(name)):
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is set twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)
