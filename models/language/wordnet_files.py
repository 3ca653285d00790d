"""The files of the WordNet 3.0 database, read where they lie: senses of a word, relations of a sense, base forms.

Opening reads next to nothing: index files are sorted, so a word is found by halving, as WordNet's own programs do, and
a sense is read when it is asked for. Files are mapped into memory, which all processes of a machine share. Senses and
words answer like those of nltk's reader, which took seconds to open (`tests/unit/models/language` compares the two).
Source: wndb(5WN), senseidx(5WN) and morphy(7WN) of WordNet 3.0.
"""

from __future__ import annotations

import mmap
import zipfile
import zlib
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from core.errors import ModelError, one_line

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv", "s": "adj"}
"""Part of speech -> suffix of its files. Satellites of adjectives (`s`) share the files of adjectives."""
NUMBERS = {"n": 1, "v": 2, "a": 3, "r": 4, "s": 5}
"""Part of speech -> its number in the key of a sense."""
ENDINGS = {
    "n": (("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
          ("men", "man"), ("ies", "y")),
    "v": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}  # fmt: skip
"""Endings of inflected forms and what a base form has in their place, in the order in which they are tried."""

Buffer = bytes | mmap.mmap


class Pointer(NamedTuple):
    """A relation of a synset, or of its word number `source` (from 1; 0 for all), to another synset or its word."""

    symbol: str
    pos: str
    offset: int
    source: int
    target: int


class Lemma:
    """A word as a member of a synset. Words are equal when they are spelled alike, in whatever synset."""

    __slots__ = ("_name", "_synset", "lex_id")

    def __init__(self, synset: Synset, name: str, lex_id: int) -> None:
        self._synset, self._name, self.lex_id = synset, name, lex_id

    def __repr__(self) -> str:
        return f"Lemma({self._synset.name()}.{self._name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lemma) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def name(self) -> str:
        """The word, with underscores for blanks."""
        return self._name

    def synset(self) -> Synset:
        """The synset of which it is a member."""
        return self._synset

    def count(self) -> int:
        """How often the word was tagged with this sense in WordNet's concordance."""
        return self._synset.files.count(self.key())

    def key(self) -> str:
        """The key of the sense, such as `dog%1:05:00::`."""
        synset = self._synset
        heads = synset.similar_tos() if synset.pos == "s" else []
        head = heads[0].lemmas()[0] if heads else None
        tail = f"{head.name()}:{head.lex_id:02d}" if head else ":"
        number = NUMBERS[synset.pos]
        return f"{self._name}%{number}:{synset.lexname_number:02d}:{self.lex_id:02d}:{tail}".lower()

    def antonyms(self) -> list[Lemma]:
        """Words of the opposite meaning, in the order of the file."""
        return self._related("!")

    def usage_domains(self) -> list[Lemma]:
        """Words that name the usage of this one, such as a slur."""
        return self._related(";u")

    def _related(self, symbol: str) -> list[Lemma]:
        synset = self._synset
        return [
            synset.files.synset_at(pointer.pos, pointer.offset).lemmas()[pointer.target - 1]
            for pointer in synset.pointers
            if pointer.symbol == symbol and pointer.source and synset.lemmas()[pointer.source - 1] == self
        ]


class Synset:
    """A sense: the words that have it, and its relations. Synsets are equal when their names are."""

    def __init__(self, files: WordNetFiles, columns: list[str]) -> None:
        """Parse the columns of a line of a data file, without its gloss."""
        self.files = files
        self.offset, self.lexname_number, self.pos = int(columns[0]), int(columns[1]), columns[2]
        stop = 4 + 2 * int(columns[3], 16)
        words = zip(columns[4:stop:2], columns[5:stop:2], strict=True)
        self._lemmas = [Lemma(self, word.partition("(")[0], int(lex_id, 16)) for word, lex_id in words]
        relations = columns[stop + 1 : stop + 1 + 4 * int(columns[stop])]
        self.pointers = [
            Pointer(symbol, pos, int(offset), *divmod(int(ends, 16), 256))
            for symbol, offset, pos, ends in zip(*(relations[n::4] for n in range(4)), strict=True)
        ]

    def __repr__(self) -> str:
        return f"Synset({self.name()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Synset) and self.name() == other.name()

    def __hash__(self) -> int:
        return hash(self.name())

    @cached_property
    def _name(self) -> str:
        word = self._lemmas[0].name().lower()
        number = self.files.offsets(word, self.pos).index(self.offset) + 1
        return f"{word}.{self.pos}.{number:02d}"

    def name(self) -> str:
        """Its first word, part of speech and number among the senses of the word, such as `bus.n.01`."""
        return self._name

    def lexname(self) -> str:
        """The lexicographer file, such as `noun.animal`."""
        return self.files.lexnames[self.lexname_number]

    def lemmas(self) -> list[Lemma]:
        """Its words."""
        return self._lemmas

    def lemma_names(self) -> list[str]:
        """Its words as text, with underscores for blanks."""
        return [lemma.name() for lemma in self._lemmas]

    def hypernyms(self) -> list[Synset]:
        """What it is a kind of."""
        return self._related("@")

    def instance_hypernyms(self) -> list[Synset]:
        """What it is an instance of, as a river of that name is."""
        return self._related("@i")

    def hyponyms(self) -> list[Synset]:
        """Its kinds."""
        return self._related("~")

    def similar_tos(self) -> list[Synset]:
        """Adjectives of similar meaning: of a satellite its head, of a head its satellites."""
        return self._related("&")

    def usage_domains(self) -> list[Synset]:
        """Synsets that name the usage of this one, such as slang."""
        return self._related(";u")

    def _related(self, symbol: str) -> list[Synset]:
        return [self.files.synset_at(p.pos, p.offset) for p in self.pointers if p.symbol == symbol and not p.source]


class WordNetFiles:
    """The database in a folder, or in a zip archive that holds the folder `wordnet`. Safe to use in several threads."""

    def __init__(self, path: Path) -> None:
        """Open the database. Files are mapped at their first use."""
        self._path = path
        self._buffers: dict[str, Buffer] = {}
        self._synsets: dict[tuple[str, int], Synset] = {}
        self._exceptions: dict[str, dict[str, list[str]]] = {}
        try:
            self.lexnames = [line.split()[1] for line in self._text("lexnames")]
        except IndexError:
            raise self.damaged("lexnames", "a line without a name") from None

    def synset(self, name: str) -> Synset:
        """The synset called `name`, such as `bus.n.01`. Raises ModelError for a name that WordNet does not have."""
        word, pos, number = name.lower().rsplit(".", 2)
        offsets = self.offsets(word, pos)
        if not 0 < int(number) <= len(offsets):
            raise ModelError(f"WordNet 3.0 has no sense {name!r}: {word!r} has {len(offsets)} as {SUFFIXES[pos]}")
        return self.synset_at(pos, offsets[int(number) - 1])

    def synsets(self, form: str, pos: str) -> list[Synset]:
        """Senses of a word and of its base forms, most frequent first."""
        return [self.synset_at(pos, o) for base in self.base_forms(form, pos) for o in self.offsets(base, pos)]

    def base_forms(self, form: str, pos: str) -> list[str]:
        """The form and its base forms (morphy), as far as WordNet has them."""
        irregular = self._exceptions_of(pos).get(form)
        regular = (form.removesuffix(old) + new for old, new in ENDINGS[pos] if form.endswith(old))
        forms = dict.fromkeys([form, *(regular if irregular is None else irregular)])
        return [found for found in forms if self.offsets(found, pos)]

    def offsets(self, word: str, pos: str) -> list[int]:
        """Where the senses of a word lie in the data file, most frequent first. Adjectives (`a`) include satellites."""
        line = self._line(f"index.{SUFFIXES[pos]}", word)
        if line is None:
            return []
        columns = line.split()
        try:
            found = [int(offset) for offset in columns[-int(columns[2]) :]]
        except (ValueError, IndexError):
            raise self.damaged(f"index.{SUFFIXES[pos]}", f"no places of {word!r}") from None
        return [offset for offset in found if self.synset_at("a", offset).pos == "s"] if pos == "s" else found

    def synset_at(self, pos: str, offset: int) -> Synset:
        """The synset at a place of its data file. Raises ModelError where none begins there."""
        key = SUFFIXES[pos], offset
        if key not in self._synsets:
            name = f"data.{SUFFIXES[pos]}"
            buffer = self._buffer(name)
            line = buffer[offset : buffer.find(b"\n", offset)]
            if not line.startswith(b"%08d " % offset):
                raise self.damaged(name, f"no entry at byte {offset}")
            try:
                self._synsets[key] = Synset(self, line.partition(b" | ")[0].decode().split())
            except (ValueError, IndexError):
                raise self.damaged(name, f"no columns of an entry at byte {offset}") from None
        return self._synsets[key]

    def count(self, key: str) -> int:
        """Occurrences of a sense in WordNet's concordance, by its key."""
        line = self._line("cntlist.rev", key)
        try:
            return 0 if line is None else int(line.split()[-1])
        except ValueError:
            raise self.damaged("cntlist.rev", f"no count of {key!r}") from None

    def damaged(self, name: str, what: str) -> ModelError:
        """The error that a file of the database is not what it should be."""
        return ModelError(f"WordNet's file {name} in {self._path} is damaged: {what}")

    def _exceptions_of(self, pos: str) -> dict[str, list[str]]:
        if pos not in self._exceptions:
            lines = (line.split() for line in self._text(f"{SUFFIXES[pos]}.exc"))
            self._exceptions[pos] = {form: bases for form, *bases in lines}
        return self._exceptions[pos]

    def _line(self, name: str, key: str) -> bytes | None:
        """The line of a sorted file whose first column is the key, found by halving."""
        buffer, wanted = self._buffer(name), key.encode("utf-8", "surrogatepass") + b" "
        low, high = 0, len(buffer)
        while low < high:
            start = buffer.rfind(b"\n", low, (low + high) // 2) + 1 or low
            stop = buffer.find(b"\n", start)
            stop = len(buffer) if stop < 0 else stop
            line = buffer[start:stop]
            if line.startswith(wanted) and not line.startswith(b"  "):  # such lines are the licence
                return line
            if line < wanted:
                low = stop + 1
            else:
                high = start
        return None

    def _text(self, name: str) -> list[str]:
        try:
            return [line for line in self._buffer(name)[:].decode().splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise self.damaged(name, one_line(error)) from None

    def _buffer(self, name: str) -> Buffer:
        if name not in self._buffers:
            try:
                self._buffers[name] = _mapped(self._path, name)
            except (ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
                raise self.damaged(name, one_line(error)) from None
        return self._buffers[name]


def _mapped(path: Path, name: str) -> Buffer:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"wordnet/{name}")
    with (path / name).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
