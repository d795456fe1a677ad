"""Which branches of notebooks run: copies of notebooks that note every branch of an ``if`` that they take."""

import ast
import json
from pathlib import Path

__all__ = ["branches", "mark"]


class _Marker(ast.NodeTransformer):
    """Rewrite ``if`` statements and conditional expressions so that they note the branch they take."""

    def __init__(self, cell, log):
        self.cell, self.log, self.names = cell, log, []

    def note(self, node, outcome):
        """An expression that writes a line and is true."""
        test = node.test if isinstance(node, ast.If | ast.IfExp) else node
        name = f"{self.cell} {outcome}: {ast.unparse(test)}"
        self.names.append(name)
        return ast.parse(f"open({str(self.log)!r}, 'a').write({name + chr(10)!r})", mode="eval").body

    def visit_If(self, node):
        notes = [ast.Expr(self.note(node, outcome)) for outcome in ("if", "else")]
        self.generic_visit(node)
        node.body, node.orelse = [notes[0], *node.body], [notes[1], *node.orelse]
        return node

    def visit_IfExp(self, node):
        notes = [self.note(node, outcome) for outcome in ("if", "else")]
        self.generic_visit(node)
        node.body = ast.BoolOp(ast.And(), [notes[0], node.body])
        node.orelse = ast.BoolOp(ast.And(), [notes[1], node.orelse])
        return node


def _marked(source, cell, log):
    marker = _Marker(cell, log)
    tree = marker.visit(ast.parse(source))
    return (ast.unparse(ast.fix_missing_locations(tree)) if marker.names else source), marker.names


def mark(notebooks: list[Path], folder: Path, log: Path) -> None:
    """Write copies of notebooks that append a line to a file for every branch that they take."""
    for path in notebooks:
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                cell["source"] = _marked(source, path.stem[:2], log)[0].splitlines(keepends=True)
        (folder / path.name).write_text(json.dumps(notebook))


def branches(notebooks: list[Path]) -> set[str]:
    """All branches of notebooks, as `mark` makes them write: number of the notebook, outcome, condition."""
    return {
        name
        for path in notebooks
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
        for name in _marked("".join(cell["source"]), path.stem[:2], "")[1]
    }
