"""Reads source text, imports nothing of it, and says which rules of structure it breaks.

Modules are named by path, ``mlsdk/delivery/buffer``; a package's ``__init__`` by its folder, ``mlsdk/delivery``.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: dotted, as far as the statement names it, and the names taken from it."""

    module: str
    names: tuple[str, ...]
    line: int
    type_only: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One source file, parsed."""

    name: str
    is_package: bool
    tree: ast.Module

    @property
    def imports(self) -> list[Import]:
        return list(_imports(self))


def read_package(folder: Path) -> dict[str, Module]:
    """Return every module below ``folder``, by name; the first part of a name is the folder's own."""
    modules = {}
    for file in sorted(folder.rglob("*.py")):
        parts = (folder.name, *file.relative_to(folder).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = "/".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, is_package, ast.parse(file.read_text(encoding="utf-8"), str(file)))
    return modules


# --- What a module imports -------------------------------------------------------------------------------------------


def _imports(module: Module) -> Iterator[Import]:
    for node, type_only in _nodes(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno, type_only)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(_absolute(module, node), names, node.lineno, type_only)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, (), node.lineno, type_only)


def _nodes(node: ast.AST, *, type_only: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Walk the tree and say of each node whether only a type checker sees it."""
    for child in ast.iter_child_nodes(node):
        yield child, type_only
        if isinstance(child, ast.If) and _last_name(child.test) == "TYPE_CHECKING":
            for inner in child.body:
                yield inner, True
                yield from _nodes(inner, type_only=True)
            for inner in child.orelse:
                yield inner, type_only
                yield from _nodes(inner, type_only=type_only)
        else:
            yield from _nodes(child, type_only=type_only)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split("/")
    climb = node.level - 1 if module.is_package else node.level
    return ".".join([*package[: len(package) - climb], *([node.module] if node.module else [])])


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.Call) -> str:
    return _last_name(node.func)


def _targets(item: Import, modules: Mapping[str, Module]) -> Iterator[tuple[str, str]]:
    """Resolve an import within ``modules``: (module, name taken from it, or "" where the module itself is meant)."""
    base = item.module.replace(".", "/")
    if not item.names and base in modules:
        yield base, ""
    for name in item.names:
        if f"{base}/{name}" in modules:
            yield f"{base}/{name}", ""
        elif base in modules:
            yield base, name


# --- Import direction ------------------------------------------------------------------------------------------------


def direction_problems(modules: Mapping[str, Module], order: Sequence[str]) -> list[str]:
    """Check that each module imports only what stands above it in ``order``.

    An entry that ends with ``/*`` is a folder within which any order will do that has no cycle. A package's
    ``__init__`` is apart: it loads its names lazily, so it may name what it likes; who imports *from* it is taken to
    import the last module below that folder, so that no one gets round the order this way. From the topmost one only
    dunder names may be taken (``__version__``), since whatever else it holds stands above somebody.
    """
    problems = []
    edges: dict[str, set[str]] = {}
    for module in modules.values():
        if module.is_package:
            continue
        place = _place(module.name, order)
        if place is None:
            problems.append(f"{module.name}: not in the order; say where it stands")
            continue
        for item in module.imports:
            for target, name in _targets(item, modules):
                if "/" not in target:
                    if not name.startswith("__"):
                        taken = f"{name} of " if name else ""
                        problems.append(f"{module.name}:{item.line}: imports {taken}{target}, not the module it is in")
                    continue
                above = _package_place(target, order) if modules[target].is_package else _place(target, order)
                if above is None:
                    continue  # reported for the target itself
                if above > place or (above == place and not order[place].endswith("/*")):
                    problems.append(f"{module.name}:{item.line}: imports {target}, which does not stand above it")
                edges.setdefault(module.name, set()).add(target)
    problems += [f"import cycle: {' -> '.join(cycle)}" for cycle in _cycles(edges)]
    return problems


def _place(name: str, order: Sequence[str]) -> int | None:
    """Return the place of a module: its own entry if it has one, else the first folder entry that it matches."""
    if name in order:
        return order.index(name)
    for index, entry in enumerate(order):
        if entry.endswith("/*") and fnmatch.fnmatchcase(name, entry):
            return index
    return None


def _package_place(name: str, order: Sequence[str]) -> int | None:
    return max((index for index, entry in enumerate(order) if entry.startswith(f"{name}/")), default=None)


def _cycles(edges: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield [*path[path.index(name) :], name]
            return
        if name in done:
            return
        for target in sorted(edges.get(name, ())):
            yield from visit(target, [*path, name])
        done.add(name)

    for name in sorted(edges):
        yield from visit(name, [])


def foreign_problems(modules: Mapping[str, Module], package: str, allowed: Mapping[str, Collection[str]]) -> list[str]:
    """Check what these modules import of another package.

    ``allowed`` maps importing modules (a folder stands for all below it) to what they may import of ``package``; what
    every matching entry grants adds up. With any grant the dunder names of the package itself are free.
    """
    problems = []
    for module in modules.values():
        granted = [
            entry for pattern, entries in allowed.items() if _matches(module.name, [pattern]) for entry in entries
        ]
        for item in module.imports:
            if item.module != package and not item.module.startswith(f"{package}."):
                continue
            base = item.module.replace(".", "/")
            for name in item.names or ("",):
                if item.module == package and name.startswith("__") and granted:
                    continue
                wanted = [base, f"{base}/{name}"] if name else [base]
                if not any(_matches(path, granted) for path in wanted):
                    problems.append(f"{module.name}:{item.line}: imports {'.'.join(wanted[-1].split('/'))}")
    return problems


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Match the pattern itself and all that is below it."""
    return any(name == pattern or fnmatch.fnmatchcase(name, f"{pattern}/*") for pattern in patterns)


# --- Purity ----------------------------------------------------------------------------------------------------------

IMPURE_MODULES: Final = frozenset(
    {
        *("time", "random", "secrets", "uuid"),
        *("threading", "asyncio", "multiprocessing", "concurrent", "queue", "subprocess", "signal"),
        *("os", "io", "pathlib", "shutil", "tempfile", "sqlite3"),
        *("socket", "ssl", "select", "selectors", "http", "aiohttp"),
        "logging",
    }
)
"""No clock, randomness, threads, disk, network or logging comes in by import."""

IMPURE_CALLS: Final = frozenset({"open", "print", "input", "breakpoint", "exec", "eval", "__import__", "import_module"})
CLOCK_METHODS: Final = frozenset({"now", "utcnow", "today"})


def purity_problems(modules: Mapping[str, Module], pure: Collection[str], *, also: Collection[str] = ()) -> list[str]:
    """Check the modules matching ``pure``: no I/O, clock, randomness, threads, await or logging.

    Nor do they import a module of ours that may have them: only each other, and those in ``also``. What only a type
    checker sees is free.
    """
    problems = []
    for module in modules.values():
        if not _matches(module.name, pure):
            continue
        for item in module.imports:
            if item.type_only:
                continue
            if item.module.partition(".")[0] in IMPURE_MODULES:
                problems.append(f"{module.name}:{item.line}: imports {item.module}")
            for target, _ in _targets(item, modules):
                if not modules[target].is_package and not _matches(target, [*pure, *also]):
                    problems.append(f"{module.name}:{item.line}: imports {target}, which is not pure")
        problems += [f"{module.name}:{line}: {what}" for line, what in _impure_nodes(module.tree)]
    return problems


def _impure_nodes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, "is asynchronous"
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                yield node.lineno, f"calls {node.func.id}()"
            elif isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_METHODS:
                yield node.lineno, f"asks a clock: .{node.func.attr}()"


# --- Exports and tests -----------------------------------------------------------------------------------------------


def exports(module: Module) -> list[str] | None:
    """Return the literal ``__all__`` of a module, or None if it has none."""
    for node in module.tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__" and isinstance(node, ast.Assign | ast.AnnAssign):
            return None if node.value is None else list(ast.literal_eval(node.value))
    return None


def mirrored_test(name: str, roots: Mapping[str, str]) -> str:
    """Return where the tests of a module belong; ``roots`` maps module folders to test folders, longest first."""
    for root, tests in roots.items():
        if name.startswith(f"{root}/"):
            folder, _, last = name.removeprefix(f"{root}/").rpartition("/")
            return "/".join(part for part in (tests, folder, f"test_{last}.py") if part)
    raise ValueError(f"{name} is in none of {', '.join(roots)}")
