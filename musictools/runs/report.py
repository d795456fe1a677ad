"""The report of a profile: one offline page that lays every published table beside the rebuilt one.

``report/index.html`` links to the executed notebooks as HTML. Nothing is loaded from the network.
"""

import html
import re
from pathlib import Path

from musictools.files import atomic

from . import manifests

SOURCES = {
    "rotheneder2023": ("Rotheneder 2023, master's thesis", "MagnaTagATune"),
    "sharma2022": ("Sharma 2022, “Why Pop?”", "FMA small"),
    "ren_poster": ("Ren, Moon and Guo, poster", "GTZAN"),
    "choi2018": ("Choi 2018, thesis chapter on music tagging",
                 "the Million Song Dataset with Last.fm tags, in 7.2 songs of Naver Music"),
    "tagger_slides": ("Evaluation of taggers, slides", "MagnaTagATune, MTG-Jamendo and others"),
}
_ROWS = 200
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
_STYLE = """
body { font: 16px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222;
       max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 }
h2 { margin-top: 3rem; border-bottom: 2px solid #357 }
h3 { margin-top: 2.5rem }
a { color: #1a5a96 }
table { border-collapse: collapse; font-size: 14px }
th, td { border: 1px solid #ccd; padding: .25rem .6rem; vertical-align: top; text-align: left }
th { background: #eef2f6 }
td.n { text-align: right; font-variant-numeric: tabular-nums }
td.published { background: #fbf7ea }
td.difference { color: #666 }
img { max-width: 100%; border: 1px solid #dde }
figure { margin: 1rem 0 }
.note, figcaption { color: #555; font-size: 14px }
.failed { color: #a40000; font-weight: bold }
.wide { overflow-x: auto }
.sides { display: flex; gap: 2rem; flex-wrap: wrap }
"""


def write(folder, *, outcome=None, published_dir=None):
    """Write the report of an output folder.

    Parameters
    ----------
    folder : str or Path
        ``outputs/<profile>``.
    outcome : dict or None
        (state, detail) by notebook of the rebuild that just ended.
    published_dir : str, Path or None
        CSV files with the sources' own numbers, named as the tables; None: those of the package.

    Returns
    -------
    index : Path
        ``report/index.html``.
    """
    folder = Path(folder)
    published_dir = Path(published_dir or manifests.PACKAGE / "published")
    parts = manifests.read_parts(folder)
    outcome = outcome or {}
    pages = {name: _export(folder, name) for name in sorted({*parts, *outcome})}
    tables = {
        Path(output).stem: name
        for name, part in parts.items()
        for output in part["outputs"]
        if _is_table(folder, output)
    }
    published = {path.stem: path for path in sorted(published_dir.glob("*.csv"))}
    body = [
        f"<h1>musictools, profile {_text(folder.name)}</h1>",
        "<h2 id='tables'>Tables</h2>",
        _table_index(tables, published),
        "<h2 id='notebooks'>Notebooks</h2>",
        *(_notebook(folder, name, parts.get(name), page, outcome.get(name)) for name, page in pages.items()),
        "<h2>Every table</h2>",
        *(_table(folder, table, tables[table], parts, published.get(table)) for table in sorted(tables)),
    ]
    index = folder / "report" / "index.html"
    _write_page(index, f"musictools: {folder.name}", "\n".join(body))
    return index


def compare(published, rebuilt):
    """Lay a published table and its rebuilt counterpart side by side.

    Rows are matched by the shared columns that hold no numbers, by the first of them where that matches more rows, and
    by the first column where all hold numbers; the k-th row with a key is matched with the k-th row with that key.

    Parameters
    ----------
    published, rebuilt : pd.DataFrame
        Tables with the same columns as far as they mean the same.

    Returns
    -------
    table : pd.DataFrame or None
        Columns (name, ``"published" | "rebuilt" | "difference"``), and (name, ``""``) for the keys; None when no number
        or no row is shared.
    """
    import pandas as pd

    shared = [column for column in published.columns if column in rebuilt.columns]
    numbers = [column for column in shared if _is_number(published[column]) and _is_number(rebuilt[column])]
    words = [column for column in shared if not _is_number(published[column]) and not _is_number(rebuilt[column])]
    candidates = [words, words[:1]] if words else [numbers[:1]]
    keys = max(candidates, key=lambda keys: _matches(published, rebuilt, keys))
    if not set(numbers) - set(keys) or not _matches(published, rebuilt, keys):
        return None
    sides = [_counted(table, keys) for table in (published, rebuilt)]
    order = pd.concat([side[[*keys, "_nth"]] for side in sides]).drop_duplicates()
    left, right = (order.merge(side, on=[*keys, "_nth"], how="left") for side in sides)
    columns = {(key, ""): left[key] for key in keys}
    for column in [*published.columns, *rebuilt.columns.difference(published.columns, sort=False)]:
        if column in keys:
            continue
        columns |= {(column, "published"): left[column]} if column in left else {}
        columns |= {(column, "rebuilt"): right[column]} if column in right else {}
        if column in numbers:
            columns[column, "difference"] = right[column] - left[column]
    return pd.DataFrame(columns)


def _counted(table, keys):
    """Number the rows with equal keys."""
    return table.assign(_nth=table.groupby(keys, dropna=False).cumcount())


def _matches(published, rebuilt, keys):
    """Return how many rows of the two tables share their keys."""
    if not keys:
        return 0
    return len(_counted(published, keys).merge(_counted(rebuilt, keys), on=[*keys, "_nth"]))


def _is_number(column):
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _is_table(folder, output):
    return output.startswith("tables/") and output.endswith(".csv") and (folder / output).is_file()


def _table_index(tables, published):
    """Return the list of all tables, those with a published counterpart first."""
    beside = [name for name in sorted(tables) if name in published]
    alone = [name for name in sorted(tables) if name not in published]
    waiting = [name for name in published if name not in tables]
    blocks = []
    for title, names in (("Published beside rebuilt", beside), ("Rebuilt only", alone)):
        links = "".join(f"<li><a href='#{_text(name)}'>{_text(_title(name))}</a></li>" for name in names)
        blocks.append(f"<h3>{title}</h3><ul>{links or '<li>none</li>'}</ul>")
    if waiting:
        blocks.append(f"<p class='note'>Published, not rebuilt here: {_text(', '.join(map(_title, waiting)))}.</p>")
    return "\n".join(blocks)


def _notebook(folder, name, part, page, outcome):
    """Return a notebook's section: link, data, what was said, figures, sounds."""
    title = f"<a href='{page.relative_to(folder / 'report')}'>{_text(name)}</a>" if page else _text(name)
    lines = [f"<h3>{title}</h3>"]
    if outcome and outcome[0] in ("failed", "not run"):
        lines.append(f"<p class='failed'>{_text(outcome[0])}: {_text(outcome[1])}</p>")
    if part:
        facts = [_data(part), f"{part['seconds']:.0f} s", part.get("device"), f"files: {len(part['outputs'])}"]
        lines.append(f"<p class='note'>{_text(' · '.join(filter(None, facts)))}</p>")
        lines += [_markdown(sentence) for sentence in part["said"]]
        lines += [_media(output) for output in part["outputs"] if (folder / output).is_file()]
    return "\n".join(lines)


def _media(output):
    kind, name = output.split("/", 1)
    if kind == "figures":
        return f"<figure><img src='../{output}' alt='{name}' loading='lazy'><figcaption>{name}</figcaption></figure>"
    if kind == "audio":
        return (
            f"<figure><audio controls preload='none' src='../{output}'></audio><figcaption>{name}</figcaption></figure>"
        )
    if kind == "files" and name.endswith(".html"):
        return f"<p>A page of its own: <a href='../{output}'>{name}</a></p>"
    return ""


def _table(folder, name, notebook, parts, published):
    """Return a table's section."""
    import pandas as pd

    rebuilt = pd.read_csv(folder / "tables" / f"{name}.csv")
    source, data = SOURCES.get(_source(name), (_source(name), "the source's data"))
    link = f"<a href='../tables/{name}.csv'>{name}.csv</a>, <a href='notebooks/{notebook}.html'>{notebook}</a>"
    lines = [f"<h3 id='{name}'>{_text(_title(name))}</h3>"]
    if published is None:
        lines += [f"<p class='note'>{_text(_data(parts[notebook]))} ({link})</p>", _frame(rebuilt)]
        return "\n".join(lines)
    lines.append(
        f"<p class='note'><b>Published:</b> {_text(source)}; its experiments use {_text(data)}. "
        f"<b>Rebuilt:</b> {_text(_data(parts[notebook]))}, profile {_text(folder.name)} ({link}).</p>"
    )
    original = pd.read_csv(published)
    both = compare(original, rebuilt)
    if both is not None:
        lines.append(_frame(both))
    else:
        lines.append(
            f"<div class='sides'><div><h4>Published</h4>{_frame(original)}</div>"
            f"<div><h4>Rebuilt</h4>{_frame(rebuilt)}</div></div>"
        )
    return "\n".join(lines)


def _frame(table):
    """Return a DataFrame as an HTML table; names in two levels make a two-level head."""
    if table.columns.nlevels == 2:
        groups = [name for name, _ in table.columns]
        spans = [(name, groups.count(name)) for name in dict.fromkeys(groups)]
        top = "".join(f"<th colspan='{span}'>{_text(name)}</th>" for name, span in spans)
        head = f"<tr>{top}</tr><tr>{''.join(f'<th>{_text(side)}</th>' for _, side in table.columns)}</tr>"
        classes = [side for _, side in table.columns]
    else:
        head = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in table.columns)}</tr>"
        classes = [""] * len(table.columns)
    numeric = [_is_number(table.iloc[:, number]) for number in range(table.shape[1])]
    rows = []
    for values in table.head(_ROWS).itertuples(index=False, name=None):
        cells = zip(values, classes, numeric, strict=True)
        rows.append("".join(f"<td class='{kind}{' n' * n}'>{_value(value, kind)}</td>" for value, kind, n in cells))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    more = f"<p class='note'>The first {_ROWS} of {len(table)} rows.</p>" if len(table) > _ROWS else ""
    return f"<div class='wide'><table><thead>{head}</thead><tbody>{body}</tbody></table></div>{more}"


def _value(value, kind):
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        sign = "+" if kind == "difference" else ""
        return f"{value:{sign},.0f}" if value == int(value) and abs(value) >= 1 else f"{value:{sign}.4g}"
    if isinstance(value, int):
        return f"{value:+,}" if kind == "difference" else f"{value}"
    return _text(value)


def _source(name):
    return next((key for key in SOURCES if name.startswith(key + "_")), name.split("_")[0])


def _title(name):
    """Return ``rotheneder2023_3_4_genre_performance`` as ``rotheneder2023 3.4: genre performance``."""
    rest = name.removeprefix(_source(name)).strip("_")
    number = re.match(r"((?:section_|figure_)?(?:\d+(?:_\d+)*(?:_[ab](?=_))?|[ab]_\d+))(?:_|$)", rest)
    if not number or _source(name) not in SOURCES:
        return name.replace("_", " ")
    words = rest[number.end() :].replace("_", " ")
    where = re.sub(r"(?<=[\dab])_(?=[\dab])", ".", number[1]).replace("_", " ")
    where = re.sub(r"\.?\b[ab]\b", lambda letter: letter[0].replace(".", "-").upper(), where)
    return f"{_source(name)} {where}" + (f": {words}" if words else "")


def _data(part):
    """Say in words what data a notebook's results stand for."""
    names = list(part["data"]) or [name for name in [part["parameters"].get("dataset")] if name]
    return f"data: {', '.join(names)}" if names else "no data set recorded"


def _export(folder, name):
    """Write an executed notebook as HTML and return the page, or None when there is no executed notebook."""
    from nbconvert import HTMLExporter

    source = folder / "notebooks" / f"{name}.ipynb"
    if not source.is_file():
        return None
    page = folder / "report" / "notebooks" / f"{name}.html"
    if page.is_file() and page.stat().st_mtime_ns > source.stat().st_mtime_ns:
        return page
    text, _ = HTMLExporter(template_name="lab", embed_images=True).from_filename(str(source))
    with atomic(page) as temporary:
        temporary.write_text(_SCRIPT.sub("", text), encoding="utf-8")
    return page


def _markdown(text):
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    return markdown2html_mistune(text)


def _text(value):
    return html.escape(str(value))


def _write_page(path, title, body):
    page = (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{_text(title)}</title>"
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
