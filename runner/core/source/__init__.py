"""The code of a user's own classes: what they do, whatever it is called or looks like."""

from __future__ import annotations

import ast
import inspect
import os
import sys
import sysconfig
from collections.abc import Mapping, Set
from copy import deepcopy
from importlib.util import find_spec, resolve_name
from types import CodeType, FunctionType
from typing import Any

LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def read_code(kind: type, ignored: Set[str] = frozenset()) -> dict[str, Any]:
    """The source of a class, of its own bases, and of every own function, class and constant that they use.

    "Own" is what belongs to no library and not to this package, or to the package of the class itself.
    Comments, docstrings, formatting and the members of classes that are ``ignored`` are left out. Where there
    is no source, as in a console, the bytecode stands for it; a class that has neither gives nothing.
    """
    top = _top(kind.__module__)
    places = {base: (base.__module__, base.__qualname__.partition(".")[0]) for base in kind.__mro__}
    own = {base: place for base, place in places.items() if _is_own(base.__module__, top)}
    code = _Code(top, {".".join(place): ignored for place in own.values()})
    for base, place in own.items():
        if not code.add(*place):
            code.add_compiled(base)
    return code.found


class _Code:
    """Gathers the source of names in modules, with everything own that it uses, by ``module.name``."""

    def __init__(self, top: str, ignored: Mapping[str, Set[str]]) -> None:
        self._ignored = ignored
        self.found: dict[str, Any] = {}
        self._top = top
        self._statements: dict[str, dict[str, list[ast.stmt]]] = {}

    def add(self, module: str, name: str) -> bool:
        """Gather a name of a module; false if the module's source does not have it."""
        statements = self._read(module).get(name)
        if statements is None:
            stars = [item for item in self._read(module).get("*", []) if isinstance(item, ast.ImportFrom)]
            return any(self._import(module, star, name) for star in stars)
        if (key := f"{module}.{name}") in self.found:
            return True
        self.found[key] = sources = []
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._import(module, statement, name)
                continue
            plain = _strip(statement, self._ignored.get(key, frozenset()))
            sources.append(ast.unparse(plain))
            for node in ast.walk(plain):
                if isinstance(node, ast.Name):
                    self.add(module, node.id)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    for bound in _list_bound(node):
                        self._import(module, node, bound)
        if not sources:
            del self.found[key]
        return True

    def add_compiled(self, thing: Any) -> None:
        """Gather the bytecode of a class or function that has no source, such as one of a notebook."""
        key = f"{thing.__module__}.{thing.__qualname__}"
        if key in self.found:
            return
        functions = vars(thing).values() if isinstance(thing, type) else [thing]
        plain = (getattr(item, "fget", None) or getattr(item, "__func__", item) for item in functions)
        written = [item for item in map(inspect.unwrap, plain) if isinstance(item, FunctionType)]
        if written:
            self.found[key] = [_list_code(item.__code__) for item in written]
        for function in written:
            for name in sorted(_list_names(function.__code__)):
                used = function.__globals__.get(name)
                if isinstance(used, FunctionType | type) and _is_own(used.__module__, self._top):
                    self.add_compiled(used)
                elif isinstance(used, str | int | float):
                    self.found[f"{function.__module__}.{name}"] = repr(used)

    def _import(self, module: str, statement: ast.Import | ast.ImportFrom, name: str) -> bool:
        """Gather what an import statement of a module binds to a name, if it is the user's own."""
        for alias in statement.names:
            if alias.name != "*" and name != (alias.asname or alias.name.partition(".")[0]):
                continue
            if isinstance(statement, ast.Import):
                self._add_module(alias.name)
                continue
            package = _find_package(module) if statement.level else None
            source = resolve_name("." * statement.level + (statement.module or ""), package)
            wanted = name if alias.name == "*" else alias.name
            if not _is_own(source, self._top):
                continue
            if self.add(source, wanted):
                return True
            self._add_module(f"{source}.{wanted}")
        return False

    def _add_module(self, module: str) -> None:
        """Gather a whole module, since which of its names are used cannot be seen."""
        if _is_own(module, self._top):
            for name in self._read(module):
                self.add(module, name)

    def _read(self, module: str) -> dict[str, list[ast.stmt]]:
        """The statements of a module by the names that they bind or change; none if it has no source."""
        if module not in self._statements:
            found: dict[str, list[ast.stmt]] = {}
            for statement in _read_statements(module):
                for name in _list_bound(statement):
                    found.setdefault(name, []).append(statement)
            self._statements[module] = found
        return self._statements[module]


def _list_bound(statement: ast.AST) -> set[str]:
    """The names that a statement of a module binds, or whose values it changes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Name):
        return {statement.id} if isinstance(statement.ctx, ast.Store) else set()
    bound = set[str]().union(*map(_list_bound, ast.iter_child_nodes(statement)))
    changed = statement.func if isinstance(statement, ast.Call) else statement
    if isinstance(changed, ast.Attribute | ast.Subscript) and (
        changed is not statement or isinstance(changed.ctx, ast.Store)
    ):
        while isinstance(changed, ast.Attribute | ast.Subscript):
            changed = changed.value
        bound |= {changed.id} if isinstance(changed, ast.Name) else set()
    return bound


def _strip(statement: ast.stmt, ignored: Set[str]) -> ast.stmt:
    """A copy without docstrings, and of a class without these members."""
    copy = deepcopy(statement)
    if isinstance(copy, ast.ClassDef):
        copy.body = [line for line in copy.body if not _list_bound(line) & ignored]
    for node in ast.walk(copy):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return copy


def _is_text(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def _list_code(code: CodeType) -> list[Any]:
    return [code.co_code.hex(), list(map(_list_constant, code.co_consts)), code.co_names, code.co_varnames]


def _list_constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _list_code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _list_names(code: CodeType) -> set[str]:
    inner = (_list_names(item) for item in code.co_consts if isinstance(item, CodeType))
    return set(code.co_names).union(*inner)


def _read_statements(module: str) -> list[ast.stmt]:
    """The statements of a module, which need not be imported yet; none where it has no source."""
    try:
        if module in sys.modules:
            return ast.parse(inspect.getsource(sys.modules[module])).body
        spec = find_spec(module)
        source = spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
        return ast.parse(source or "").body
    except (ImportError, AttributeError, ValueError, OSError, TypeError, SyntaxError):
        return []


def _find_file(module: str) -> str | None:
    """The file of a module, which need not be imported yet; None where there is none."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__file__", None)
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec else None


def _find_package(module: str) -> str:
    known = getattr(sys.modules.get(module), "__package__", None)
    return str(known or module.rpartition(".")[0])


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_own(module: str, top: str) -> bool:
    """Whether a module is the user's: of the package ``top``, or no library's and not this package's."""
    if _top(module) in ("runner", *sys.stdlib_module_names):
        return False
    file = _find_file(module)
    return _top(module) == top or file is None or not os.path.abspath(file).startswith(LIBRARIES)
