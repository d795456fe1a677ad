"""Make the table of all packages of requirements.lock in DEPENDENCIES.md: ``python tests/support/licences.py``.

Licences are those that the installed packages state about themselves, as SPDX expressions where that is clear. Packages
that this platform or version of Python does not need are not installed; their licences are given here by hand.
"""

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, LOCK = ROOT / "DEPENDENCIES.md", ROOT / "requirements.lock"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
SPDX = {  # what packages write -> SPDX; the first pattern that begins the text wins
    r"apache( software)?( license)?,?( version)? ?2\.0|apache software license": "Apache-2.0",
    r"(modified |new )?bsd 3-clause|3-clause bsd": "BSD-3-Clause",
    r"bsd 2-clause": "BSD-2-Clause",
    r"bsd( license)?": "BSD-3-Clause",  # as their licence files are, but for those in BY_HAND
    r"mit( license)?\b": "MIT",
    r"isc": "ISC",
    r"mozilla public license 2\.0": "MPL-2.0",
    r"psfl|python software foundation": "PSF-2.0",
    r"public domain": "public domain",
}
BY_HAND = {  # not installed everywhere, or unclear in the package's own metadata
    "aggdraw": "HPND", "aiohappyeyeballs": "PSF-2.0", "aiohttp": "Apache-2.0 AND MIT", "aiosignal": "Apache-2.0",
    "alabaster": "BSD-3-Clause", "appnope": "BSD-2-Clause", "audioop-lts": "PSF-2.0", "colorama": "BSD-3-Clause",
    "docutils": "public domain AND BSD-2-Clause AND GPL-3.0-or-later", "frozenlist": "Apache-2.0",
    "jupyter-builder": "BSD-3-Clause", "matplotlib": "PSF-2.0", "msgspec": "BSD-3-Clause", "multidict": "Apache-2.0",
    "namex": "Apache-2.0", "nest-asyncio2": "BSD-2-Clause", "numba": "BSD-2-Clause", "numpydoc": "BSD-2-Clause",
    "propcache": "Apache-2.0", "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "pywinpty": "MIT", "standard-aifc": "PSF-2.0", "standard-chunk": "PSF-2.0", "standard-sunau": "PSF-2.0",
    "terminado": "BSD-2-Clause", "yarl": "Apache-2.0",
    **{f"sphinxcontrib-{name}": "BSD-2-Clause" for name in ("applehelp", "devhelp", "htmlhelp", "jsmath", "qthelp",
                                                            "serializinghtml")},
}  # fmt: skip


def locked():
    """(name, version, for whom) of every line of the lock, in its order."""
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)(?: ; (.*))?$", line):
            name, version, marker = found.groups()
            yield name, version, marker or ""


def licence(name):
    """Licence of an installed package as SPDX; None where it is not installed or says nothing clear."""
    if name in BY_HAND:
        return BY_HAND[name]
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    if expression := about.get("License-Expression"):
        return expression
    text = (about.get("License") or "").strip()
    if re.fullmatch(r"[A-Z][\w.-]+( (AND|OR|WITH) [\w.-]+)*", text) and any(c in text for c in "-.") or text == "MIT":
        return text
    classifiers = [c.rpartition(":: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    for one in [text, *classifiers]:
        for pattern, spdx in SPDX.items():
            if re.match(pattern, one, re.IGNORECASE):
                return spdx
    return None


def table():
    """The table in Markdown."""
    rows = ["| package | version | licence | only for |", "|---|---|---|---|"]
    for name, version, marker in locked():
        rows.append(f"| {name} | {version} | {licence(name) or 'unknown'} | {marker.replace('|', '/')} |")
    return "\n".join(rows) + "\n"


def main():
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
