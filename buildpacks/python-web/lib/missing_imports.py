"""Finds modules that a Python file imports and that neither Python, the tool nor an installed package has.

`missing_imports.py FILE FOLDER` prints LINE<TAB>MODULE<TAB>PACKAGE for the first one. FOLDER is where the file runs.
PACKAGE is the usual name of the package on the index, or `Python 3.13` if this Python no longer has the module. Only an
import that always runs counts: one inside `try`, `if` or a function may be for another case.
"""

import ast
import glob
import importlib.util
import os
import re
import sys

PACKAGES = {
    "bs4": "beautifulsoup4", "cv2": "opencv-python-headless", "dateutil": "python-dateutil", "dotenv": "python-dotenv",
    "MySQLdb": "mysqlclient", "mysql": "mysql-connector-python", "PIL": "pillow", "psycopg2": "psycopg2-binary",
    "sklearn": "scikit-learn", "yaml": "pyyaml",
}  # fmt: skip


# Modules that Python has removed
REMOVED = set(
    "aifc asynchat asyncore audioop binhex cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev pipes "
    "smtpd sndhdr spwd sunau telnetlib uu xdrlib".split()
)


def imports(tree):
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield statement.lineno, alias.name.split(".")[0]
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            yield statement.lineno, statement.module.split(".")[0]


def is_there(name, folder):
    # The tool may add any of its folders to sys.path, and a build of the tool may make modules.
    patterns = (f"{glob.escape(folder)}/{name}*", f"{name}*", f"*/{name}*", f"*/*/{name}*")
    found = {os.path.basename(path) for pattern in patterns for path in glob.glob(pattern)}
    is_own = any(one == name or re.fullmatch(rf"{name}\.(.*\.)?(py|pyi|pyx|so|c)", one) for one in found)
    if name in sys.stdlib_module_names or is_own:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return True


path, folder = sys.argv[1:3]
sys.path[:0] = [folder, "."]
try:
    with open(path, "rb") as file:
        found = list(imports(ast.parse(file.read(1_000_000))))
except (OSError, SyntaxError, ValueError, RecursionError):
    found = []
for line, name in found:
    if not is_there(name, folder):
        package = PACKAGES.get(name, name.replace("_", "-"))
        if name in REMOVED:
            package = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        print(f"{line}\t{name}\t{package}")
        break
