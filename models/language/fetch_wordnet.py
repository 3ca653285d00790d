"""Downloads the WordNet database from the first source that works.

Command: `python -m models.language.fetch_wordnet --to FOLDER`, for a folder of nltk data.
Owns fetching and unpacking; `models.language.wordnet` owns where the database is looked for. Sources, in order: nltk's
own downloader, Debian's packages wordnet-base and wordnet-sense-index. The folder appears complete or not at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError
from models.language.wordnet import FILES, data_folder, wordnet_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

NLTK_TIMEOUT_S = 90
APT_TIMEOUT_S = 300
ARCHIVE_BYTES = 10_775_600
"""Size of nltk's wordnet.zip."""
DEBIAN_PACKAGES = ("wordnet-base", "wordnet-sense-index")

_LEXICOGRAPHER_FILES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object "
    "noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
    "noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession "
    "verb.social verb.stative verb.weather adj.ppl"
)
"""Names in order of their numbers, from lexnames(5WN): Debian's package leaves the file out."""

SYNTACTIC_CATEGORY = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def lexnames_text() -> str:
    """The `lexnames` file: number, name and syntactic category, tab-separated, one lexicographer file a line."""
    lines = (
        f"{number:02d}\t{name}\t{SYNTACTIC_CATEGORY[name.split('.')[0]]}\n"
        for number, name in enumerate(_LEXICOGRAPHER_FILES.split())
    )
    return "".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Make the database available. Return 0, or 1 with one line on what to do when no source worked."""
    parser = argparse.ArgumentParser(
        prog="python -m models.language.fetch_wordnet", description="Fetch the WordNet 3.0 database."
    )
    parser.add_argument("--to", type=Path, default=data_folder(), help="nltk data folder to fill (%(default)s)")
    folder: Path = parser.parse_args(argv).to.absolute()
    present = folder / "corpora" / "wordnet" if is_complete(folder / "corpora" / "wordnet") else wordnet_folder()
    if present is not None:
        sys.stdout.write(f"wordnet: already at {present}\n")
        return 0
    try:
        sys.stdout.write(f"wordnet: now at {fetch(folder)}\n")
    except ModelError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def fetch(folder: Path) -> Path:
    """Fill the nltk data folder and return the database in it. Raises ModelError when no source worked."""
    problems = []
    for source in (fetch_with_nltk, fetch_from_debian):
        problem = source(folder)
        if problem is None:
            return folder / "corpora" / "wordnet"
        problems.append(problem)
    raise ModelError(
        f"WordNet could not be fetched ({'; '.join(problems)}); copy a folder corpora/wordnet from a machine "
        f"where python -c \"import nltk; nltk.download('wordnet')\" works into {folder}"
    )


def is_complete(folder: Path) -> bool:
    """True when every file that nltk's reader opens is in `folder`."""
    return all((folder / name).is_file() for name in FILES)


def fetch_with_nltk(folder: Path) -> str | None:
    """Fill `folder` through nltk's downloader, in a process that can be stopped. Return the problem if any."""
    script = "import sys, nltk; sys.exit(not nltk.download('wordnet', download_dir=sys.argv[1], quiet=True))"
    with _scratch(folder) as scratch:
        problem = _run("nltk's downloader", [sys.executable, "-c", script, str(scratch)], scratch, NLTK_TIMEOUT_S)
        if problem is not None:
            return problem
        archive = scratch / "corpora" / "wordnet.zip"
        if archive.is_file() and not is_complete(scratch / "corpora" / "wordnet"):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(scratch / "corpora")
        return _install(scratch / "corpora" / "wordnet", folder, "nltk's downloader")


def fetch_from_debian(folder: Path) -> str | None:
    """Fill `folder` from Debian's packages, as any user and with its own package lists. Return the problem if any."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "apt-get: not on this machine"
    with _scratch(folder) as scratch:
        for name in ("lists/partial", "cache/archives/partial", "debs", "unpacked"):
            (scratch / name).mkdir(parents=True)
        settings = {
            "Dir::State::Lists": scratch / "lists",
            "Dir::Cache": scratch / "cache",
            "APT::Sandbox::User": "root",  # apt's own user cannot write here; has no effect for other users
        }
        apt = ["apt-get", "-qq"] + [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        problem = _run("apt-get update", [*apt, "update"], scratch, APT_TIMEOUT_S)
        problem = problem or _run("apt-get", [*apt, "download", *DEBIAN_PACKAGES], scratch / "debs", APT_TIMEOUT_S)
        for package in sorted((scratch / "debs").glob("*.deb")):
            command = ["dpkg-deb", "-x", str(package), str(scratch / "unpacked")]
            problem = problem or _run("dpkg-deb", command, scratch, APT_TIMEOUT_S)
        if problem is not None:
            return problem
        database = scratch / "unpacked" / "usr" / "share" / "wordnet"
        if database.is_dir():
            (database / "lexnames").write_text(lexnames_text())
        return _install(database, folder, "Debian's packages")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder next to the result, so that the last step is a rename. It is removed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as name:
        yield Path(name)


def _run(label: str, command: list[str], folder: Path, timeout_s: float) -> str | None:
    """Run `command` in `folder`, or None when it exits 0, else one line naming `label` and its last words."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(  # noqa: S603 -- fixed commands of this module
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{label}: no answer in {timeout_s:.0f} s"
    if done.returncode == 0:
        return None
    words = " ".join((done.stderr or done.stdout).split()) or "no message"
    return f"{label}: {words[-200:]}"


def _install(database: Path, folder: Path, source: str) -> str | None:
    """Move what nltk reads from `database` to `folder`/corpora/wordnet in one rename."""
    lacking = [name for name in FILES if not (database / name).is_file()]
    if lacking:
        return f"{source}: came without {', '.join(lacking)}"
    target = folder / "corpora" / "wordnet"
    staged = database.with_name("staged")  # on the same file system as the target
    staged.mkdir()
    for name in FILES:
        (database / name).rename(staged / name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_complete(target):
        return None  # another process was faster
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    return None


if __name__ == "__main__":
    sys.exit(main())
