"""Which module imports which, read from the sources: no module needs itself in order to be loaded."""

import ast
from pathlib import Path

import pytest

import gridnn

pytestmark = pytest.mark.one_tier

ROOT = Path(gridnn.__file__).parent


def sources():
    """Module -> its text; packages are called `gridnn.model.__init__`."""
    paths = {".".join(("gridnn", *p.relative_to(ROOT).with_suffix("").parts)): p for p in ROOT.rglob("*.py")}
    return {module: path.read_text("utf-8") for module, path in paths.items()}


# Imports inside functions that lead back to the module at hand: `Sequential.report` is only a shorter way to
# call what knows models, and so is loading of what others wrote. Anything else belongs into a module of its
# own.
BACK = {
    ("gridnn.model.file_methods", "gridnn._report"),
    ("gridnn.model.saving", "gridnn.interop"),
    ("gridnn.model.window_methods", "gridnn.model.windows"),
    ("gridnn.model.window_methods", "gridnn.model.window_evaluation"),
    ("gridnn.model.loading", "gridnn.interop"),
}


def executed(body):
    """Import statements that run when a module is loaded: not those for type checkers or in functions."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            checked = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            blocks = ["orelse"] if checked else ["body", "orelse", "finalbody"]
            parts = [*(getattr(node, block, []) for block in blocks)]
            parts += [handler.body for handler in getattr(node, "handlers", [])]
            for part in parts:
                yield from executed(part if isinstance(part, list) else [])


def inside_functions(tree):
    """Import statements that run when a function is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom))


def named(statement, importer, modules):
    """The modules that a statement names."""
    if isinstance(statement, ast.Import):
        return {alias.name for alias in statement.names}
    package = statement.module
    if statement.level:
        around = importer.split(".")[: -statement.level]
        package = ".".join([*around, *([package] if package else [])])
    return {
        below if below in modules or below == "gridnn._core" else package
        for below in (f"{package}.{alias.name}" for alias in statement.names)
    }


def graph_of(texts, *, lazy=False):
    """Module -> those that are loaded when it is, packages around them included."""
    modules = {name.removesuffix(".__init__") for name in texts}
    graph = {}
    for importer, text in texts.items():
        tree = ast.parse(text)
        statements = [*executed(tree.body), *(inside_functions(tree) if lazy else ())]
        needed = {name for statement in statements for name in named(statement, importer, modules)}
        for name in list(needed):
            parents = {name[:i] for i, letter in enumerate(name) if letter == "."}
            # Those around the importer are being loaded already.
            needed |= {parent for parent in parents if not importer.startswith(f"{parent}.")}
        module = importer.removesuffix(".__init__")
        graph[module] = (needed & modules) - {module}
    return graph


def circles(graph):
    """Groups of modules each of which needs all others (Tarjan's algorithm)."""
    number, low, stack, found = {}, {}, [], []

    def visit(module):
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in number:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[len(stack) - len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in number:
            visit(module)
    return found


def test_no_circle_of_imports():
    assert circles(graph_of(sources())) == []


def test_imports_inside_functions_hide_no_circle_but_those_listed():
    graph = graph_of(sources(), lazy=True)
    for module, other in BACK:
        assert other in graph[module], f"{module} no longer imports {other}: take it off the list"
        graph[module] -= {name for name in graph[module] if f"{name}.".startswith(f"{other}.")}
    assert circles(graph) == []


def test_circles_are_found():
    texts = {
        "gridnn.__init__": "",
        "gridnn.saving": "from gridnn.callbacks import base",
        "gridnn.callbacks.__init__": "from .base import Callback\nfrom gridnn.callbacks.files import Saver",
        "gridnn.callbacks.base": "if TYPE_CHECKING:\n    from gridnn import saving",
        "gridnn.callbacks.files": "def save():\n    from gridnn import saving",
    }
    assert circles(graph_of(texts)) == []
    # `saving` loads the package around `base`, which loads `files`.
    circle = ["gridnn.callbacks", "gridnn.callbacks.files", "gridnn.saving"]
    assert circles(graph_of(texts, lazy=True)) == [circle]


# From the bottom to the top; a module imports from its own level and from those below.
LEVELS = (
    (
        "_arrays",
        "_batches",
        "_custom",
        "_dtypes",
        "_engine",
        "_forks",
        "_hints",
        "_host_memory",
        "_network",
        "_notebook",
        "_optimizer_steps",
        "_ranks",
        "_reading",
        "_reduction",
        "_seeding",
        "_sharing",
        "_structures",
        "_texts",
        "_validation",
        "_versions",
        "_variables",
        "errors",
    ),
    (
        "_config",
        "_optimizer_base",
        "constraints",
        "functional",
        "initializers",
        "regularizers",
        "schedules",
        "optimizers",
    ),
    ("layers", "losses", "metrics"),
    (
        "_graph",
        "_diagram",
        "_fields",
        "_html",
        "_receptive_field",
        "_encoding",
        "activations",
        "callbacks",
        "model",
    ),
    (
        "_auto",
        "_lr_finder",
        "_series_models",
        "data",
        "datasets",
        "distribute",
        "filters",
        "inspect",
        "interop",
        "models",
    ),
    ("plot",),
    ("_report", "lab", "sklearn", "utils"),
    ("aeon",),
    ("bench", "commands"),
    ("cli", "__main__"),
)
FORMER = {"kernels", "saving", "sequential", "trainer"}  # names of what lies elsewhere now


def level_problems(graph):
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    problems = []
    for module, used in graph.items():
        top = module.split(".")[1] if "." in module else ""
        if top in FORMER:
            continue
        above = [name for name in used - {"gridnn"} if level[name.split(".")[1]] > level.get(top, 0)]
        problems += [f"{module} imports {name}" for name in above]
    return problems


def test_levels():
    graph = graph_of(sources())
    tops = {module.split(".")[1] for module in graph if "." in module}
    assert {name for names in LEVELS for name in names} | FORMER == tops, "say where a new module belongs"
    assert level_problems(graph) == []


def test_wrong_levels_are_found():
    graph = {"gridnn.layers.base": {"gridnn.model.saving"}, "gridnn.model.saving": {"gridnn.layers"}}
    assert level_problems(graph) == ["gridnn.layers.base imports gridnn.model.saving"]


def foreign_privates(text):
    """Private members of other objects that a module uses and does not define itself."""
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    used = set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (own if mine else used).add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            used.add(getattr(node.args[1], "value", ""))
    used -= {*own, "_replace"}  # the latter of named tuples, which is public
    return {name for name in used if name.startswith("_") and not name.startswith("__")}


# A model tells its layers which names and weights are theirs; nobody else asks them for more than users may.
FRIENDS = (
    "gridnn.layers.",
    "gridnn.model.base",
    "gridnn.model.functional",
    "gridnn.model.stack",
    "gridnn.functional.",
    "gridnn.bench.",
)
ALLOWED = {"gridnn._forks": {"_lock"}}  # which it renews, as it says


def test_models_and_layers_are_known_by_their_public_members():
    texts = {module: text for module, text in sources().items() if not module.startswith(FRIENDS)}
    found = {module: foreign_privates(text) for module, text in texts.items()}
    assert {module: names for module, names in found.items() if names} == ALLOWED


def test_private_members_of_others_are_found():
    text = """
class Watch:
    def __init__(self, other):
        self._mine = other._theirs, other._mine
        getattr(other, "_spelled")
"""
    assert foreign_privates(text) == {"_theirs", "_spelled"}
