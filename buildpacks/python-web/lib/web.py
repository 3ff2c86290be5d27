"""Finds the web process of a Python tool whose Procfile has none. Reads the modules and never runs them.

Prints lines KEY<TAB>VALUE. `note` is a sentence about a file. The others describe the web process:

- kind: wsgi, asgi, script for a program that listens on $PORT by itself, or the framework whose own program serves it
- folder: the folder from which the module is imported
- target: MODULE:CALLABLE, or the path of a file
- file: the file in which it was found
- blocks: the line that starts a server as soon as the module is imported, so that no other server can serve it

Exits with 1 if there is no web process.
"""

import ast
import glob
import os
import re
import sys

WSGI = {"flask", "django", "bottle", "falcon", "pyramid", "werkzeug", "webob", "dash", "connexion", "apiflask", "flask_restx", "webapp2"}
ASGI = {"fastapi", "starlette", "quart", "litestar", "blacksheep", "fasthtml"}
ASGI_CALLS = {"FastAPI", "Starlette", "Quart", "Litestar", "FastHTML", "fast_app", "get_asgi_application"}
# Objects that are often called `app` and are no web applications
OTHER_CALLS = {"Celery", "Typer", "Tk", "QApplication", "ArgumentParser", "Client", "Bot", "Application", "Sanic", "Cyclopts"}
# Frameworks with a server of their own, and what a module that they serve contains
OWN_SERVERS = (
    ("streamlit", rb"\w"),
    ("gradio", rb"\.launch\("),
    ("panel", rb"\.(servable|show)\("),
    ("shiny", rb"\bApp\(|shiny\.express"),
    ("chainlit", rb"@\w+\.on_"),
    ("marimo", rb"\bmarimo\.App\("),
)
FACTORIES = ("create_app", "make_app", "create_application", "get_app")
FILES = ("app.py", "wsgi.py", "main.py", "application.py", "asgi.py", "server.py", "run.py", "streamlit_app.py")
MAX_BYTES = 1_000_000
MAX_FILES = 50


class Module:
    """One file: the names that it sets, and what they are."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.source = file.read(MAX_BYTES + 1)
        self.is_valid = len(self.source) <= MAX_BYTES
        self.names, self.imports, self.functions = {}, set(), {}
        # The objects whose method `run` is called when the module is imported, and the lines of these calls
        self.runs = {}
        try:
            self.add(ast.parse(self.source if self.is_valid else b"").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.is_valid = False

    def add(self, body):
        """Adds the statements that run when the module is imported. Also looks into `if`, `match`, `try`, `with` and loops."""
        for statement in body:
            if isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test):
                self.add(statement.orelse)
                continue
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.names[statement.name] = None
                if isinstance(statement, ast.FunctionDef):
                    self.functions[statement.name] = statement
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    self.imports.add(alias.name.split(".")[0])
                    self.names[alias.asname or alias.name.split(".")[0]] = None
            elif isinstance(statement, ast.ImportFrom):
                if statement.level == 0:
                    self.imports.add(statement.module.split(".")[0])
                for alias in statement.names:
                    self.names[alias.asname or alias.name] = (statement.level, statement.module or "", alias.name)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                for node in (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)):
                    self.names[node.id] = statement.value
            elif isinstance(statement, ast.Expr):
                function = getattr(statement.value, "func", None)
                if isinstance(function, ast.Attribute) and function.attr == "run" and isinstance(function.value, ast.Name):
                    self.runs[function.value.id] = statement.lineno
            else:
                for field in ("body", "orelse", "finalbody"):
                    self.add(getattr(statement, field, None) or [])
                for part in (getattr(statement, "handlers", None) or []) + (getattr(statement, "cases", None) or []):
                    self.add(part.body)

    def call(self, name):
        """The name of the class or function whose result the name is, such as Flask."""
        function = getattr(self.names.get(name), "func", None)
        return getattr(function, "id", None) or getattr(function, "attr", None) or ""

    def origin(self, node):
        """The dotted name of a call's function, with the module that it comes from, such as falcon.asgi.App."""
        if isinstance(node, ast.Call):
            return self.origin(node.func)
        if isinstance(node, ast.Attribute):
            return f"{self.origin(node.value)}.{node.attr}"
        if not isinstance(node, ast.Name):
            return ""
        origin = self.names.get(node.id)
        return f"{origin[1]}.{origin[2]}" if isinstance(origin, tuple) else node.id

    def source_of(self, name, folder):
        """The module of the tool from which the name is imported, or None."""
        origin = self.names.get(name)
        if not isinstance(origin, tuple):
            return None
        level, module, imported = origin
        base = folder if level == 0 else os.path.join(os.path.dirname(self.path), *[".."] * (level - 1))
        stem = os.path.join(base, *module.split("."))
        for path, inner in ((f"{stem}.py", imported), (f"{stem}/__init__.py", imported), (f"{stem}/{imported}.py", "app")):
            if os.path.isfile(path) and path != self.path:
                return Module(path), inner
        return None

    def is_asgi(self, name, folder, depth=0):
        """True for an ASGI application, False for a WSGI application, None for anything else."""
        call = self.call(name)
        origin = self.origin(self.names.get(name)).split(".")
        if call in ASGI_CALLS or origin[0] in WSGI and "asgi" in origin:
            return True
        if call in OTHER_CALLS and not self.imports & WSGI:
            return None
        if depth < 4 and (found := self.source_of(name, folder)):
            return found[0].is_asgi(found[1], folder, depth + 1)
        if depth < 4 and call in self.names and (found := self.source_of(call, folder)):
            return found[0].is_asgi(found[1], folder, depth + 1)
        if self.imports & WSGI:
            return False
        if self.imports & ASGI:
            return True
        function = self.functions.get(name)
        if function and len(function.args.args) == 2:
            return False
        return None

    def import_folder(self, folder):
        """The folder from which the module is imported: of `folder` and those below, the one with the most modules that it imports."""
        folders = [folder]
        for part in os.path.relpath(os.path.dirname(self.path) or ".", folder).split("/"):
            folders.append(os.path.normpath(os.path.join(folders[-1], part)))
        names = self.imports - set(sys.stdlib_module_names)
        return max(folders, key=lambda one: sum(is_module(one, name) for name in names))

    def own_server(self):
        """The framework that serves the module with a server of its own, or None."""
        return next((name for name, pattern in OWN_SERVERS if name in self.imports and re.search(pattern, self.source)), None)

    def reads_port(self):
        return re.search(rb"""(environ|env)[^\n]{0,40}["']PORT["']""", self.source) is not None

    def application(self, folder, is_app_file):
        """The callable and its kind, or None."""
        if not self.is_valid:
            # The server gives a better error for invalid Python when it starts.
            return ("app", "wsgi") if is_app_file and b"app" in self.source else None
        if "dash" in self.imports and "server" in self.names:
            return "server", "wsgi"
        for name in ("app", "application"):
            if self.call(name) == "Sanic" and "sanic" in self.imports:
                return name, "sanic"
            if name not in self.names and not ("*" in self.names and name == "app" and is_app_file):
                continue
            asgi = self.is_asgi(name, folder)
            # Toolforge starts every app.py that sets `app`.
            if asgi is None and (not is_app_file or name != "app" or self.call(name) in OTHER_CALLS or self.own_server()):
                continue
            return name, "asgi" if asgi else "wsgi"
        for name in FACTORIES:
            function = self.functions.get(name)
            arguments = function.args if function else None
            if name in self.names and (not arguments or len(arguments.args) <= len(arguments.defaults)):
                asgi = self.is_asgi(name, folder)
                if asgi is not None:
                    return f"{name}()", "asgi" if asgi else "wsgi"
        return None


def found(kind, folder, target, file, blocks=""):
    for key, value in (("kind", kind), ("folder", folder), ("target", target), ("file", os.path.normpath(file)), ("blocks", blocks)):
        print(f"{key}\t{value}")
    sys.exit(0)


def is_module(folder, name):
    return any(os.path.exists(os.path.join(folder, name + end)) for end in (".py", "/"))


def is_own_name(path):
    """Whether a file may be the web process although it has none of the usual names."""
    return path not in FILES and not re.match(r"test_|conftest\.py|setup\.py|gunicorn\.conf\.py|manage\.py|config", path)


def try_file(path, folder):
    module = Module(path)
    folder = module.import_folder(folder)
    answer = module.application(folder, os.path.basename(path) == "app.py")
    if answer is None:
        return module
    name = os.path.relpath(path, folder)[: -len(".py")].removesuffix("/__init__").replace("/", ".")
    if re.fullmatch(r"[A-Za-z_][\w.]*", name):
        blocks = module.runs.get(answer[0], "")
        if blocks and module.reads_port():
            found("script", ".", os.path.normpath(path), path)
        found(answer[1], folder, f"{name}:{answer[0]}", path, blocks)
    return module


def django():
    for pattern in ("manage.py", "*/manage.py", "*/*/manage.py"):
        for manage in sorted(glob.glob(pattern)):
            folder = os.path.dirname(manage) or "."
            with open(manage, encoding="utf-8", errors="replace") as file:
                named = re.search(r"DJANGO_SETTINGS_MODULE['\"],\s*['\"]([\w.]+)", file.read())
            packages = [named[1].split(".")[0]] if named else []
            packages += [os.path.basename(os.path.dirname(path)) for path in sorted(glob.glob(f"{folder}/*/wsgi.py"))]
            for kind in ("wsgi", "asgi"):
                for package in packages:
                    path = os.path.join(folder, package, f"{kind}.py")
                    if os.path.isfile(path):
                        found(kind, folder, f"{package}.{kind}:application", path)


def flaskenv():
    if not os.path.isfile(".flaskenv"):
        return
    with open(".flaskenv", encoding="utf-8", errors="replace") as file:
        named = re.search(r"(?m)^\s*(?:export\s+)?FLASK_APP\s*=\s*['\"]?([\w./]+?)(?:\.py)?(?::([\w]+)(\(\))?)?['\"]?\s*$", file.read())
    if named is None:
        return
    stem = named[1].replace(".", "/")
    for path in (f"{stem}.py", f"{stem}/__init__.py"):
        if os.path.isfile(path):
            if named[2]:
                found("wsgi", ".", f"{named[1].replace('/', '.')}:{named[2]}{named[3] or ''}", path)
            try_file(path, ".")


def main():
    if os.path.isfile("www/python/src/app.py"):
        try_file("www/python/src/app.py", "www/python/src")
    django()
    flaskenv()
    modules = []
    for folder in (".", "src"):
        modules += [try_file(path, folder) for path in (os.path.join(folder, name) for name in FILES) if os.path.isfile(path)]
    for folder, below in ((".", "*"), ("src", "*"), (".", "*/*")):
        for pattern in ("__init__.py", *FILES):
            paths = sorted(glob.glob(os.path.join(folder, below, pattern)))
            for path in paths[:MAX_FILES]:
                if not re.search(r"(^|/)(tests?|docs|examples?|migrations|scripts|node_modules|vendor)/", path):
                    try_file(path, folder)
    others = [Module(path) for path in sorted(glob.glob("*.py"))[:MAX_FILES] if is_own_name(path)]
    for module in modules + others:
        path = os.path.normpath(module.path)
        if framework := module.own_server():
            found(framework, ".", path, path)
    for module in modules:
        path = os.path.normpath(module.path)
        if module.reads_port():
            found("script", ".", path, path)
        if "aiohttp" in module.imports and module.call("app") == "Application":
            folder = "src" if path.startswith("src/") else "."
            found("aiohttp", folder, f"{os.path.basename(path)[: -len('.py')]}:app", path)
    applications = [module for module in others if module.application(".", False)]
    if len(applications) == 1:
        try_file(applications[0].path, ".")
    for module in modules:
        print(f"note\t{os.path.normpath(module.path)} cannot be the web process: it has no web application named `app`, and does not read $PORT")
    sys.exit(1)


main()
