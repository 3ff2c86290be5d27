"""Prints the main dependencies of a tool without poetry.lock as lines of a requirements.txt. Runs with poetry's packages."""

from pathlib import Path

from poetry.core.factory import Factory

for dependency in Factory().create_poetry(Path(".")).package.requires:
    if not dependency.is_optional():
        print(dependency.to_pep_508())
