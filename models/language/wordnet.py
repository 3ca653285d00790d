"""WordNet 3.0: the place of the database, its revision, and the look-ups of stages.

Owns where the database may lie and what identifies it. Its files are read by `models.language.wordnet_files` and
fetched by `models.language.fetch_wordnet`; what is an edit is decided in `stages.wordnet_edits.edits`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError
from models.language.wordnet_files import WordNetFiles

if TYPE_CHECKING:
    from models.language.wordnet_files import Synset
    from models.placement import Placement
    from models.schemes.weights import Weights

MODEL_ID = "wordnet:3.0"
DATA_VARIABLE = "EDITLOOM_DATA"

FILES = (
    "cntlist.rev", "lexnames", "index.sense", "index.adj", "index.adv", "index.noun", "index.verb", "data.adj",
    "data.adv", "data.noun", "data.verb", "adj.exc", "adv.exc", "noun.exc", "verb.exc",
)  # fmt: skip
"""The files of which the revision is made: those that nltk's reader opens."""
REMEDY = f"get it with `editloom fetch {MODEL_ID}`"

REPO_ROOT = Path(__file__).resolve().parents[2]


class MissingDataError(ModelError):
    """A data set that a model wrapper reads is nowhere to be found."""


def data_folder() -> Path:
    """The folder that `make data` fills with nltk data: under $EDITLOOM_DATA, or `data/` of the checkout."""
    root = os.environ.get(DATA_VARIABLE)
    return (Path(root) if root else REPO_ROOT / "data") / "nltk_data"


def search_places() -> tuple[Path, ...]:
    """Every `nltk_data` folder that is looked at, in order: ours, the checkout's, then nltk's standard ones."""
    places = [data_folder(), REPO_ROOT / "data" / "nltk_data"]
    places += [Path(entry) for entry in os.environ.get("NLTK_DATA", "").split(os.pathsep) if entry]
    places.append(Path("~/nltk_data").expanduser())
    places += [Path(sys.prefix) / tail for tail in ("nltk_data", "share/nltk_data", "lib/nltk_data")]
    places += [Path(root) / "nltk_data" for root in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    return tuple(dict.fromkeys(places))


def wordnet_folder() -> Path | None:
    """The database, complete: a folder `corpora/wordnet`, or an unopened `corpora/wordnet.zip`, or None when absent."""
    for place in search_places():
        folder = place / "corpora" / "wordnet"
        if all((folder / name).is_file() for name in FILES):
            return folder
        archive = folder.with_suffix(".zip")
        if archive.is_file() and zipfile.is_zipfile(archive):
            return archive
    return None


def not_found() -> str:
    """One clause saying that the database is nowhere, and where it was looked for."""
    places = ", ".join(str(place) for place in search_places())
    return f"the WordNet 3.0 database (corpora/wordnet) is missing; looked in {places}"


def wordnet_revision() -> str:
    """`3.0@` and 12 hex digits over the database files, the same for a folder and a zip. Raises MissingDataError."""
    path = wordnet_folder()
    if path is None:
        raise MissingDataError(f"{not_found()}; {REMEDY}")
    return _revision_of(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _revision_of(path: Path, _mtime_ns: int) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        content = _read(path, name)
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return f"3.0@{digest.hexdigest()[:12]}"


def _read(path: Path, name: str) -> bytes:
    if path.suffix != ".zip":
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"wordnet/{name}")


class WordNet:
    """Look-ups in WordNet 3.0, cached in the process. `n`, `v`, `a` name parts of speech.

    Read-only and deterministic: lists come in WordNet's own order (senses by frequency) or sorted by name.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open the database at `path`, or in the first folder that has it. Raises MissingDataError."""
        found = path or wordnet_folder()
        if found is None:
            raise MissingDataError(f"{not_found()}; {REMEDY}")
        self._path = path
        self._files = WordNetFiles(found)
        self.synsets = lru_cache(maxsize=None)(self._synsets)
        self.lemma = lru_cache(maxsize=None)(self._lemma)
        self.count = lru_cache(maxsize=None)(self._count)
        self.sense_count = lru_cache(maxsize=None)(self._sense_count)
        self.ancestors = lru_cache(maxsize=None)(self._ancestors)
        self.descendants = lru_cache(maxsize=None)(self._descendants)

    def __reduce__(self) -> tuple[type[WordNet], tuple[Path | None]]:
        return (WordNet, (self._path,))  # a worker opens its own copy

    def synset(self, name: str) -> Synset:
        """The synset called `name`, for example `bus.n.01`."""
        return self._files.synset(name)

    def _synsets(self, word: str, pos: str) -> tuple[Synset, ...]:
        """Senses of a lemma (spaces or underscores), most frequent first. Inflected forms find nothing."""
        lemma = word.replace(" ", "_").lower()
        return tuple(s for s in self._files.synsets(lemma, pos) if lemma in {n.lower() for n in s.lemma_names()})

    def _lemma(self, word: str, pos: str) -> str | None:
        """Base form of `word` (morphy) with spaces, or None when WordNet has no such word.

        Of an irregular form that is an entry of its own too ("men", a force of workers) the more frequent base wins.
        """
        form = word.replace(" ", "_").lower()
        bases = self._files.base_forms(form, pos)
        if not bases:
            return None
        is_singular = bases[0] == form and not form.endswith("s")
        base = max(bases, key=lambda entry: self.count(entry, pos)) if is_singular else bases[0]
        return base.replace("_", " ")

    def _sense_count(self, word: str, synset: Synset) -> int:
        """How often `word` was tagged with this sense in WordNet's concordance."""
        lemma = word.replace(" ", "_").lower()
        return sum(entry.count() for entry in synset.lemmas() if entry.name().lower() == lemma)

    def _count(self, word: str, pos: str) -> int:
        """How often `word` was tagged as this part of speech in WordNet's concordance."""
        return sum(self.sense_count(word, synset) for synset in self.synsets(word, pos))

    def _ancestors(self, synset: Synset) -> dict[Synset, int]:
        """Every hypernym of the synset, itself included, with its distance in steps."""
        distance = {synset: 0}
        front = [synset]
        while front:
            following = []
            for child in front:
                for parent in child.hypernyms() + child.instance_hypernyms():
                    if parent not in distance:
                        distance[parent] = distance[child] + 1
                        following.append(parent)
            front = following
        return distance

    def _descendants(self, synset: Synset) -> tuple[Synset, ...]:
        """Every hyponym at any depth, without named instances and without the synset itself, sorted by name."""
        seen: dict[str, Synset] = {}
        front = [synset]
        while front:
            for child in front.pop().hyponyms():
                if child.name() not in seen:
                    seen[child.name()] = child
                    front.append(child)
        return tuple(seen[name] for name in sorted(seen))

    def antonyms(self, word: str, synset: Synset) -> tuple[str, ...]:
        """Direct antonyms of `word` in this sense, sorted."""
        lemma = word.replace(" ", "_").lower()
        entries = [entry for entry in synset.lemmas() if entry.name().lower() == lemma]
        found = {other.name().replace("_", " ") for entry in entries for other in entry.antonyms()}
        return tuple(sorted(found))


def load_wordnet(weights: Weights, _placement: Placement) -> WordNet:
    """The lexicon, for the registry."""
    return WordNet(Path(weights.location))
