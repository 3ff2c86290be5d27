"""Finds the Python that a tool asks for, and the one to use. Reads the files of the source and runs none of them.

`version.py detect` prints lines KEY<TAB>VALUE for bin/detect and bin/build:

- found: what the push shows, such as `python 3.13 (.python-version)`
- note: a sentence about a file
- error: why the tool cannot be built; nothing else follows
- program: the Python of this machine to use. Missing if none fits
- version: its version, such as `3.11.2`
- detail: a sentence, if the program is not the exact release that the tool asks for

If no Python of this machine fits, it prints these lines in place of `program` and `version`:

- asks: what the tool asks for, in words
- here: the minor versions of this machine
- nearest: the Python of this machine to use if the version cannot be downloaded. Missing unless only a service.template,
  a .tool-versions or a mise.toml names the version

`version.py choose LIST` reads what `uv python list --output-format json` printed into the file LIST. It prints
`download`, uv's name of the Python to download, if one fits. It also prints `versions`, all minor versions of the list
from 3.8 on.
"""

import configparser
import glob
import json
import os
import re
import subprocess
import sys

# pip brings the library that compares versions, as a package or as the wheel for new environments.
for wheel in glob.glob("/usr/share/python-wheels/pip-*.whl") + glob.glob(
    os.path.join(os.path.dirname(os.__file__), "ensurepip/_bundled/pip-*.whl")
):
    sys.path.append(wheel)
try:
    from pip._vendor.packaging.specifiers import InvalidSpecifier, SpecifierSet
    from pip._vendor.packaging.version import Version
except ImportError:
    # `except InvalidSpecifier` then catches nothing.
    InvalidSpecifier = ()

    def SpecifierSet(_):
        raise Refused("The version of Python cannot be chosen without pip: ask the operator to install the Debian package python3-venv on this server")


try:
    import tomllib
except ImportError:  # Python 3.10 and older
    from pip._vendor import tomli as tomllib

PLACES = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")
MAX_BYTES = 5_000_000


class Refused(Exception):
    """A file that cannot be used. The message is a sentence for the maintainer."""


class Wanted:
    """What one file asks for. `allowed` are version specifiers, of which one must fit.

    `exact` is the release that the file names, such as 3.13.1. `is_soft` is true if another minor version will do.
    """

    def __init__(self, place, text, allowed, is_soft=False, exact=None):
        self.place, self.text, self.allowed = place, text, allowed
        self.is_soft, self.exact = is_soft, exact

    def fits(self, version):
        return any(spec.contains(version, prereleases=False) for spec in self.allowed)


notes = []


def read(file):
    """Returns the text of a file, or None if there is no such file. Understands what editors on Windows write."""
    if not os.path.isfile(file):
        return None
    with open(file, "rb") as stream:
        data = stream.read(MAX_BYTES)
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
        notes.append(f"{file} is saved as UTF-16. Save it as UTF-8, because few programs understand UTF-16")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise Refused(f"{file} is not text in UTF-8. Save it as UTF-8") from None


def toml(file):
    text = read(file)
    if text is None:
        return {}, ""
    try:
        return tomllib.loads(text.replace("\r\n", "\n")), text
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{file} is not valid TOML: {error}") from None


def line_of(text, pattern):
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(pattern, line):
            return f" line {number}"
    return ""


def minor(version):
    """The specifiers for a version such as 3.11 or 3.11.4: every release of its minor version."""
    parts = version.split(".")
    return [SpecifierSet(f"=={'.'.join(parts[:2])}.*")]


def specifiers(place, text):
    """Version specifiers as in requires-python, and also as poetry writes them: ^3.11, ~3.11, 3.11.*, `||`."""
    allowed = []
    for alternative in re.split(r"\s*\|\|?\s*", text.strip()):
        parts = []
        for part in re.split(r"\s*,\s*|(?<=[\w*])\s+(?=[<>=!~^])", alternative):
            if match := re.fullmatch(r"\^\s*(\d+)(\.[\d.]+)?", part):
                parts.append(f">={part[1:].strip()},<{int(match[1]) + 1}")
            elif match := re.fullmatch(r"~\s*(\d+)(?:\.(\d+))?(\.\d+)?", part):
                end = f"{match[1]}.{int(match[2]) + 1}" if match[2] else int(match[1]) + 1
                parts.append(f">={part[1:].strip()},<{end}")
            elif re.fullmatch(r"\d+(\.\d+)?", part):
                parts.append(f"=={part}.*")
            elif re.fullmatch(r"\d+(\.\d+)?\.\*|\d+\.\d+\.\d+", part):
                parts.append(f"=={part}")
            elif part != "*":
                parts.append(part)
        try:
            allowed.append(SpecifierSet(",".join(parts)))
        except InvalidSpecifier:
            raise Refused(f'{place} asks for Python "{text}", which is not a version. Write for example ">=3.11"') from None
    return allowed


def version_file(file, prefix):
    """.python-version or runtime.txt: one line with one version."""
    text = read(file)
    if text is None:
        return None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    example = f"{prefix}3.13"
    if not lines:
        raise Refused(f"{file} is empty. Write a version into it, such as {example}, or delete it")
    number, line = lines[0]
    place = f"{file} line {number}"
    if len(lines) > 1 or len(line.split()) > 1 and line[0] not in "<>=~!":
        second = lines[1] if len(lines) > 1 else (number, line.split()[1])
        raise Refused(f'{file} line {second[0]} names a second version, "{second[1][:40]}". Write only one version')
    if prefix == "" and line[0] in "<>=~!":
        return Wanted(file, line, specifiers(place, line))
    start = prefix or "(?:cpython-)?"
    match = re.fullmatch(start + r"([23](?:\.(?:0|[1-9]\d*)){0,2})", line)
    if match is None:
        meant = re.search(r"[23]\.0*(\d+)", line)
        better = f"{prefix}{meant[0][0]}.{meant[1]}" if meant else example
        raise Refused(f'{place}: "{line[:40]}" is not a version of Python. Write {better}')
    version = match[1]
    if version.startswith("2"):
        raise Refused(f"{place} asks for Python {version}, which ended in 2020. Write {example}")
    if version == "3":
        return Wanted(file, version, [SpecifierSet(">=3")])
    return Wanted(file, version, minor(version), exact=version if version.count(".") == 2 else None)


def service_template():
    # The folders in which Toolforge's webservice looks. The server refuses a source with more than one such file.
    for file in ("service.template", "www/python/src/service.template"):
        match = re.search(r"""(?m)^type:\s*["']?python([0-9.]*)""", read(file) or "")
        if match:
            version = match[1].strip(".")
            if version.startswith("2"):
                notes.append(f"service.template asks for Python {version}, which ended in 2020. Python 3 is used")
            if not re.fullmatch(r"3\.\d+", version):
                return Wanted("service.template", "3", [SpecifierSet(">=3")], True)
            return Wanted("service.template", version, minor(version), True)
    return None


def pipfile():
    content, text = toml("Pipfile")
    name, requires = "Pipfile", content.get("requires") or {}
    if not text and (lock := read("Pipfile.lock")):
        try:
            name, requires = "Pipfile.lock", json.loads(lock).get("_meta", {}).get("requires", {})
        except ValueError as error:
            raise Refused(f"Pipfile.lock is not valid JSON: {error}") from None
    asked = requires.get("python_full_version") or requires.get("python_version")
    if not isinstance(asked, str) or asked.strip() in ("", "*"):
        return None
    asked = asked.strip()
    if re.fullmatch(r"3\.\d+(\.\d+)?", asked):
        return Wanted(name, asked, minor(asked), exact=asked if asked.count(".") == 2 else None)
    return Wanted(name, asked, specifiers(name + line_of(text, "python_(full_)?version"), asked))


def tool_versions():
    """The version of asdf's or mise's file. These choose programs for a laptop, so another version will do."""
    for file in (".tool-versions", "mise.toml", ".mise.toml"):
        text = read(file) or ""
        if file == ".tool-versions":
            match = re.search(r"(?m)^\s*python\s+(\S+)", text)
            asked = match and match[1]
        else:
            try:
                tools = tomllib.loads(text).get("tools")
            except tomllib.TOMLDecodeError:
                continue
            asked = tools.get("python") if isinstance(tools, dict) else None
            asked = asked[0] if isinstance(asked, list) and asked else asked
            asked = asked.get("version") if isinstance(asked, dict) else asked
        if isinstance(asked, str) and re.fullmatch(r"3\.\d+(\.\d+)?", asked):
            return Wanted(file, asked, minor(asked), True, asked if asked.count(".") == 2 else None)
    return None


def project_range():
    """The range of versions that pyproject.toml, a lock file, setup.py or setup.cfg allows, or None."""
    content, text = toml("pyproject.toml")
    asked = (content.get("project") or {}).get("requires-python")
    if isinstance(asked, str):
        return Wanted("pyproject.toml", asked, specifiers("pyproject.toml" + line_of(text, r"requires-python"), asked))
    asked = ((content.get("tool") or {}).get("poetry") or {}).get("dependencies", {}).get("python")
    asked = asked.get("version") if isinstance(asked, dict) else asked
    if isinstance(asked, str):
        return Wanted("pyproject.toml", asked, specifiers("pyproject.toml" + line_of(text, r"^\s*python\s*="), asked))
    for file, pattern in (
        ("uv.lock", r'^requires-python = "([^"]+)"'),
        ("pylock.toml", r'^requires-python = "([^"]+)"'),
        ("poetry.lock", r'^python-versions = "([^"]+)"\s*(?=^content-hash|\Z)'),
        ("setup.py", r"""python_requires\s*=\s*["']([^"']+)["']"""),
    ):
        if match := re.search(pattern, read(file) or "", re.MULTILINE):
            return Wanted(file, match[1], specifiers(file, match[1]))
    if text := read("setup.cfg"):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error as error:
            raise Refused(f"setup.cfg cannot be read: {str(error).splitlines()[0]}") from None
        asked = parser.get("options", "python_requires", fallback="").strip()
        if asked:
            return Wanted("setup.cfg", asked, specifiers("setup.cfg" + line_of(text, "python_requires"), asked))
    return None


def wanted():
    """What the tool asks for, or None if any Python will do."""
    said = [service_template(), version_file(".python-version", ""), version_file("runtime.txt", "python-"), pipfile(), tool_versions()]
    said = [one for one in said if one is not None]
    range_ = project_range()
    if said and said[0].is_soft and range_ is not None and not overlap(said[0], range_):
        notes.append(f"{said[0].place} asks for Python {said[0].text}, but {range_.place} requires {range_.text}. The version of {range_.place} is used")
        said = said[1:]
    if not said:
        return range_
    first = said[0]
    for other in said[1:]:
        if not overlap(first, other):
            notes.append(f"{other.place} asks for Python {other.text}, but {first.place} asks for {first.text}. The version of {first.place} is used")
    if range_ is not None and not overlap(first, range_):
        raise Refused(f"{first.place} asks for Python {first.text}, but {range_.place} requires {range_.text}. Change one of them")
    return first


def overlap(one, other):
    versions = [Version(f"3.{number}.{patch}") for number in range(40) for patch in (0, 5, 99)]
    return any(one.fits(version) and other.fits(version) for version in versions)


def installed():
    """The Pythons of this machine, as {minor: path}."""
    found = {}
    for folder in PLACES:
        for path in glob.glob(f"{folder}/python3.*"):
            match = re.fullmatch(r"python3\.(\d+)", os.path.basename(path))
            if match and int(match[1]) not in found and os.access(path, os.X_OK):
                found[int(match[1])] = path
    return found


def full_version(path):
    # Do not start this Python again, because starting a Python takes longer than everything else in this program.
    if os.path.realpath(path) == os.path.realpath(sys.executable):
        return Version("%d.%d.%d" % sys.version_info[:3])
    said = subprocess.run([path, "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], capture_output=True, text=True)
    return Version(said.stdout.strip() or "0")


def distance(version):
    """Sorts versions: the minor version nearest to this machine's usual Python first, then the newest."""
    here = sys.version_info[1]
    return (abs(version.minor - here), -version.minor, -version.micro)


def detect():
    asked = wanted()
    pythons = installed()
    for note in notes:
        say("note", note)
    if asked is None:
        say("found", f"python {sys.version_info[0]}.{sys.version_info[1]}")
        say("program", sys.executable)
        say("version", "%d.%d.%d" % sys.version_info[:3])
        return
    versions = sorted(((full_version(path), path) for path in pythons.values()), key=lambda pair: distance(pair[0]))
    fitting = [path for version, path in versions if asked.fits(version)]
    if fitting:
        chosen = next(version for version, path in versions if path == fitting[0])
        say("found", f"python {chosen.major}.{chosen.minor} ({asked.place})")
        if asked.exact and str(chosen) != asked.exact:
            say("detail", f"{asked.place} asks for Python {asked.exact}: Python {chosen} is the release of {chosen.major}.{chosen.minor} here")
        say("program", fitting[0])
        say("version", str(chosen))
        return
    say("found", f"python {asked.text} ({asked.place})")
    say("asks", f"{asked.place} asks for Python {asked.text}")
    say("here", ", ".join(f"{v.major}.{v.minor}" for v, _ in sorted(versions)))
    if asked.is_soft and versions:
        wish = Version(asked.text)
        nearest = min(versions, key=lambda pair: (abs(pair[0].minor - wish.minor), -pair[0].minor))
        say("nearest", nearest[1])


def choose(file):
    asked = wanted()
    with open(file, encoding="utf-8") as stream:
        entries = json.load(stream)
    offers = {}
    for entry in entries:
        if entry.get("implementation") != "cpython" or entry.get("variant", "default") != "default":
            continue
        version = Version(entry["version"])
        if not version.is_prerelease and entry.get("url"):
            offers[version] = entry["key"]
    fitting = sorted((version for version in offers if asked.fits(version)), key=distance)
    exact = [version for version in fitting if str(version) == asked.exact]
    for version in (exact + fitting)[:1]:
        say("download", offers[version])
    minors = sorted({(version.major, version.minor) for version in offers if version.minor >= 8})
    say("versions", " ".join(f"{major}.{number}" for major, number in minors))


def say(key, value):
    print(f"{key}\t{value}")


try:
    if sys.argv[1] == "choose":
        choose(sys.argv[2])
    else:
        detect()
except Refused as error:
    for note in notes:
        say("note", note)
    say("found", "python")
    say("error", f"{error}.")
