"""Prints the packages of a Pipfile that has no lock file as lines of a requirements.txt. Runs with pipenv's packages."""

from pipenv.project import Project
from pipenv.utils.dependencies import convert_deps_to_pip

packages = Project().pipfile.parsed.get("packages", {})
print("\n".join(convert_deps_to_pip(packages, include_index=False).values()))
