import random

import pytest

from core.errors import ModelError
from models.language.wordnet import wordnet_folder
from models.language.wordnet_files import WordNetFiles
from tests._nltks_wordnet import nltks_files

PARTS_OF_SPEECH = "nvar"
RELATIONS = ("hypernyms", "instance_hypernyms", "hyponyms", "similar_tos", "usage_domains")
WORD_RELATIONS = ("antonyms", "usage_domains")


@pytest.fixture(scope="module")
def reader():
    with nltks_files() as files:
        yield files


@pytest.fixture(scope="module")
def files():
    return WordNetFiles(wordnet_folder())


def described(synset):
    words = [(word.name(), word.key(), word.count()) for word in synset.lemmas()]
    relations = [sorted(other.name() for other in getattr(synset, name)()) for name in RELATIONS]
    of_words = [
        [(other.name(), other.synset().name()) for other in getattr(word, name)()]
        for word in synset.lemmas() for name in WORD_RELATIONS
    ]  # fmt: skip
    return synset.name(), synset.lexname(), synset.lemma_names(), words, relations, of_words


@pytest.mark.parametrize("pos", PARTS_OF_SPEECH)
def test_senses_are_those_of_nltks_reader(reader, files, pos):
    for word in random.Random(0).sample(reader.words(pos), 500):
        senses = reader.synsets(word, pos)
        assert [described(s) for s in files.synsets(word, pos)] == [described(s) for s in senses]
        assert [files.synset(s.name()).offset for s in senses] == [s.offset() for s in senses]


@pytest.mark.parametrize("pos", PARTS_OF_SPEECH)
def test_base_forms_are_those_of_nltks_reader(reader, files, pos):
    words = reader.words(pos)
    drawn = random.Random(0).sample(words, 500)
    endings = ("", "s", "es", "ed", "ing", "er", "est", "men", "ies", "xyz")
    forms = [*reader._exception_map[pos], *(word + ending for word in drawn for ending in endings)]
    forms += [words[0], words[-1], "", " ", "~", "!", "caf\u00e9", "\udc80"]
    assert [files.base_forms(form, pos) for form in forms] == [reader._morphy(form, pos) for form in forms]


def test_the_first_and_the_last_word_of_an_index_are_found(reader, files):
    for pos in PARTS_OF_SPEECH:
        words = reader.words(pos)
        for word in (words[0], words[-1]):
            assert files.offsets(word, pos) == reader._lemma_pos_offset_map[word][pos]


def test_a_sense_that_wordnet_does_not_have_is_named(files):
    with pytest.raises(ModelError, match=r"no sense 'bus\.n\.99': 'bus' has 4 as noun"):
        files.synset("bus.n.99")
    with pytest.raises(ModelError, match=r"no sense 'xyzzy\.n\.01': 'xyzzy' has 0 as noun"):
        files.synset("xyzzy.n.01")


def test_a_damaged_file_is_named_with_the_place(files, tmp_path):
    for name in ("lexnames", "index.noun"):
        (tmp_path / name).write_bytes((wordnet_folder() / name).read_bytes())
    (tmp_path / "data.noun").write_bytes(b"0" * 100)
    with pytest.raises(ModelError, match=r"WordNet's file data\.noun in .* is damaged: no entry at byte \d+"):
        WordNetFiles(tmp_path).synset("bus.n.01")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("index.noun", b"", "cannot mmap an empty file"),
        ("index.noun", b"bus n x\n", "no places of 'bus'"),
        ("index.noun", b"bus n\n", "no places of 'bus'"),
        ("data.noun", b"00000000 06 n 0z bus 0 000 | a vehicle\n", "no columns of an entry at byte 0"),
        ("data.noun", b"00000000 06 n\n", "no columns of an entry at byte 0"),
        ("lexnames", b"03\n", "a line without a name"),
        ("lexnames", b"\xff x\n", "codec can't decode"),
    ],
)
def test_a_file_with_other_content_is_named(tmp_path, name, content, said):
    (tmp_path / "lexnames").write_bytes((wordnet_folder() / "lexnames").read_bytes())
    (tmp_path / "index.noun").write_bytes(b"bus n 1 0 1 0 00000000\n")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"WordNet's file {name} in .* is damaged: .*{said}"):
        WordNetFiles(tmp_path).synset("bus.n.01")
