"""Tells whether a module sets `app` when it is imported. Reads the module and never runs it.

Exits with 0 if the module sets `app` or may set it, and with 1 if not.
"""

import ast
import sys


def sets_app(body):
    """Returns whether a statement gives a value to `app`. Also looks into `if`, `match`, `try`, `with` and loops."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if statement.name == "app":
                return True
            continue
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = [alias.asname or alias.name for alias in statement.names]
            if "app" in names or "*" in names:
                return True
            continue
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if any(isinstance(node, ast.Name) and node.id == "app" for node in ast.walk(target)):
                    return True
            continue
        if any(sets_app(inner) for inner in bodies(statement)):
            return True
    return False


def bodies(statement):
    for field in ("body", "orelse", "finalbody"):
        yield getattr(statement, field, None) or []
    for part in (getattr(statement, "handlers", None) or []) + (getattr(statement, "cases", None) or []):
        yield part.body


with open(sys.argv[1], "rb") as file:
    source = file.read(1_000_001)
if len(source) > 1_000_000:
    sys.exit(1)
try:
    found = sets_app(ast.parse(source).body)
except (SyntaxError, ValueError, RecursionError, MemoryError):
    # The file is not valid Python. Take part if it may set `app`, because uwsgi gives the better error when the tool
    # starts.
    found = b"app" in source
sys.exit(0 if found else 1)
