"""Ends with 1, and a sentence, if pyproject.toml has dependencies that uv.lock does not know.

`uv sync --locked` would check this too, but it refuses every lock file that was made with another index than the one of
this build.
"""

import re
import sys
import tomllib


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def fail(sentence):
    print(f" !     {sentence}")
    sys.exit(1)


def load(file):
    try:
        with open(file, "rb") as stream:
            return tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fail(f"{file} is not valid TOML: {error}. If it has the marks of a merge conflict, correct them, run `uv lock`, and commit {file}.")


project = load("pyproject.toml").get("project", {})
lock = load("uv.lock")
wanted = {normal(re.match(r"[\w.-]*", text.strip())[0]): text for text in project.get("dependencies", [])}
name = normal(project.get("name", ""))
root = next((package for package in lock.get("package", []) if normal(package["name"]) == name), None)
if root is not None:
    known = {normal(entry["name"]) for entry in root.get("dependencies", [])}
    known |= {normal(entry["name"]) for entry in root.get("metadata", {}).get("requires-dist", [])}
    missing = [text for short, text in wanted.items() if short not in known]
    if missing:
        fail(f"uv.lock does not match pyproject.toml: it lacks {', '.join(missing)}. Run `uv lock` and commit uv.lock.")
