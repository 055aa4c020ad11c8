"""Finds in source text the private names of somebody else's objects.

A private name (one underscore in front) is a class's own business. It may be used on ``self`` where
the class, or a base of it in this package, defines it; nowhere else. What a class defines must not
be a private name of a library's class below it: that would be an override nobody meant to allow.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "stream_detector"

DOCUMENTED = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}
"""The public methods of a named tuple, which begin with an underscore to leave room for fields."""

DOCUMENTED_FUNCTIONS = {"os._exit", "sys._getframe"}

_PRIVATE = re.compile(r"_[^\W_]\w*|_")
_PRIVATE_PATH = re.compile(r"(?:\w+\.)*_[^\W\d_]\w*(?:\.\w+)*")
_OF_TEXT = {"endswith", "startswith", "removeprefix", "removesuffix", "split", "join", "replace"}
_BY_NAME = {"getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller"}


def is_private(name: str) -> bool:
    return len(name) > 1 and name.startswith("_") and not name.startswith("__")


@dataclass
class Class:
    """One class of the package: what it defines, and what lies below it."""

    name: str
    bases: list[str]
    defined: set[str] = field(default_factory=set)


@dataclass
class Module:
    """One module: its classes, and where its names come from."""

    name: str
    tree: ast.Module
    classes: dict[str, Class] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)

    def origin(self, dotted: str) -> str:
        """The full name of what is called so in this module."""
        first, _, rest = dotted.partition(".")
        if first in self.classes:
            return f"{self.name}.{dotted}"
        base = self.imported.get(first, first)
        return f"{base}.{rest}" if rest else base


def parse(name: str, text: str) -> Module:
    module = Module(name, ast.parse(text))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                module.imported[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                module.imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.ClassDef):
            bases = [ast.unparse(_without_parameters(base)) for base in node.bases]
            module.classes[node.name] = Class(node.name, bases, set(_definitions(node)))
    return module


def _without_parameters(base: ast.expr) -> ast.expr:
    return base.value if isinstance(base, ast.Subscript) else base


def _definitions(of: ast.ClassDef) -> Iterator[str]:
    """Names that a class gives itself: in its body, and on the first argument of its methods."""
    for node in of.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
            first = node.args.args[0].arg if node.args.args else ""
            for each in ast.walk(node):
                stored = isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
                if stored and isinstance(each.value, ast.Name) and each.value.id == first:
                    yield each.attr
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            yield from names
            if names == ["__slots__"] and node.value is not None:
                yield from (c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant))


@dataclass
class Package:
    """All modules of the package, by name."""

    modules: dict[str, Module]

    def defines(self, module: Module, name: str, attribute: str) -> bool:
        """Whether a class, or a base of it in the package, defines an attribute."""
        one = module.classes.get(name)
        if one is None:
            return False
        if attribute in one.defined:
            return True
        for base in one.bases:
            where, _, base_name = module.origin(base).rpartition(".")
            if where in self.modules and self.defines(self.modules[where], base_name, attribute):
                return True
        return False

    def foreign_bases(self, module: Module, name: str) -> Iterator[str]:
        """Full names of the classes from outside of the package that a class is made of."""
        for base in module.classes[name].bases if name in module.classes else ():
            origin = module.origin(base)
            where, _, base_name = origin.rpartition(".")
            if where in self.modules:
                yield from self.foreign_bases(self.modules[where], base_name)
            else:
                yield origin


@cache
def names_inside(origin: str) -> frozenset[str] | None:
    """Private names that a class from outside uses, by its own source; None: it is not found."""
    where, _, name = origin.rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(where or "builtins"), name)
    except (ImportError, AttributeError):
        return None
    if not inspect.isclass(found):
        return None
    names = {one for one in dir(found) if is_private(one)} - DOCUMENTED
    for each in found.__mro__:
        try:
            names.update(one for one in _PRIVATE.findall(inspect.getsource(each)) if one != "_")
        except (OSError, TypeError):
            continue  # of C, or a built-in
    return frozenset(names)


class _Finder(ast.NodeVisitor):
    """Walks a module with the class that ``self`` and its like stand for."""

    def __init__(self, package: Package, module: Module) -> None:
        self.package, self.module = package, module
        self.found: list[tuple[int, str]] = []
        self.classes: list[str] = []
        self.own: list[dict[str, str]] = [{}]
        self.texts: set[int] = set()
        self.methods = {
            id(method)
            for one in ast.walk(module.tree)
            if isinstance(one, ast.ClassDef)
            for method in one.body
        }

    def say(self, node: Any, what: str) -> None:
        self.found.append((node.lineno, what))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.classes.append(node.name)
        self._check_overrides(node)
        for each in node.body:
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__slots__":
                self.texts.update(id(c) for c in ast.walk(each) if isinstance(c, ast.Constant))
        self.generic_visit(node)
        self.classes.pop()

    def _check_overrides(self, node: ast.ClassDef) -> None:
        defined = {name for name in _definitions(node) if is_private(name)}
        for origin in self.package.foreign_bases(self.module, node.name):
            inside = names_inside(origin)
            if inside is None and defined:
                self.say(node, f"class {node.name}: its base {origin} cannot be looked into")
            for name in sorted(defined & (inside or set())):
                self.say(node, f"class {node.name}: {name} is a private name of {origin}")

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        own = dict(self.own[-1])
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        decorators = {ast.unparse(one) for one in node.decorator_list}
        for number, argument in enumerate(arguments):
            own.pop(argument.arg, None)
            said = ast.unparse(argument.annotation).strip("'\"") if argument.annotation else ""
            is_method = id(node) in self.methods and "staticmethod" not in decorators
            if (number == 0 and is_method) or (self.classes and said in (self.classes[-1], "Self")):
                own[argument.arg] = self.classes[-1]
        self.own.append(own)
        own.update(self._made_here(node))
        self.generic_visit(node)
        self.own.pop()

    def _made_here(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
        """Names that a function gives to nothing but new objects of a class of this module."""
        stored: dict[str, int] = {}
        made: dict[str, list[str]] = {}
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
                stored[each.id] = stored.get(each.id, 0) + 1
            if not isinstance(each, ast.Assign) or not isinstance(each.targets[0], ast.Name):
                continue
            if len(each.targets) == 1 and isinstance(each.value, ast.Call):
                called = ast.unparse(each.value.func)
                kind = self._class_of(each.value.func)
                if kind is not None and called in {"cls", *self.module.classes}:
                    made.setdefault(each.targets[0].id, []).append(kind)
        return {
            name: kinds[0]
            for name, kinds in made.items()
            if len(kinds) == stored[name] and len(set(kinds)) == 1
        }

    visit_FunctionDef = _function  # noqa: N815 - the names that NodeVisitor calls
    visit_AsyncFunctionDef = _function  # noqa: N815 - likewise

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if is_private(node.attr) and node.attr not in DOCUMENTED:
            whole = ast.unparse(node)
            owner = self._class_of(node.value)
            if whole in DOCUMENTED_FUNCTIONS:
                pass
            elif owner is None:
                self.say(node, whole)
            elif not self.package.defines(self.module, owner, node.attr):
                self.say(node, f"{whole}, which {owner} does not define")
        self.generic_visit(node)

    def _class_of(self, node: ast.expr) -> str | None:
        """The class of this module whose instance, or which itself, an expression surely is."""
        if isinstance(node, ast.Name):
            if node.id in self.own[-1]:
                return self.own[-1][node.id]
            return node.id if node.id in self.module.classes else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "super" and self.classes:
                return self.classes[-1]
            if node.func.id == "type" and len(node.args) == 1:
                return self._class_of(node.args[0])
        return None

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name in _OF_TEXT:
            self.texts.update(id(one) for one in node.args)
        if name in _BY_NAME:
            for argument in node.args:
                self._check_made_name(argument)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            for keyword in node.keywords:
                if keyword.arg and is_private(keyword.arg):
                    self.say(node, ast.unparse(node))
        self.generic_visit(node)

    def _check_made_name(self, node: ast.expr) -> None:
        """A name put together from pieces, of which the first or one after a dot is private."""
        if isinstance(node, ast.BinOp | ast.JoinedStr):
            pieces = [c for c in ast.walk(node) if isinstance(c, ast.Constant)]
            if any(isinstance(c.value, str) and c.value.startswith(("_", "._")) for c in pieces):
                self.say(node, ast.unparse(node))

    def visit_Constant(self, node: ast.Constant) -> None:
        if (
            isinstance(node.value, str)
            and id(node) not in self.texts
            and _PRIVATE_PATH.fullmatch(node.value)
            and any(is_private(part) for part in node.value.split("."))
            and node.value not in DOCUMENTED
        ):
            self.say(node, repr(node.value))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for value in node.values:  # pieces of a text are no names
            if isinstance(value, ast.FormattedValue):
                self.visit(value)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if any(map(is_private, alias.name.split("."))):
                self.say(node, f"import {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if any(map(is_private, [*(node.module or "").split("."), alias.name])):
                self.say(node, f"from {node.module} import {alias.name}")

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for name in filter(is_private, node.kwd_attrs):
            self.say(node, f"case {ast.unparse(node.cls)}({name}=...)")
        self.generic_visit(node)


def private_names(package: Package, module: Module) -> list[str]:
    """Each private name of somebody else's in a module, with its line."""
    finder = _Finder(package, module)
    finder.visit(module.tree)
    return [f"{line}: {what}" for line, what in sorted(finder.found)]


def package_of(root: Path) -> Package:
    """All modules of the package that lies in ``root``."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = parse(name, path.read_text())
    return Package(modules)
