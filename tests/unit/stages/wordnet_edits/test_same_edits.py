"""The edits of many captions depend neither on who reads WordNet, nor on the run-time checks of the grammar."""

import random
import subprocess
import sys

import pytest

from models.language.wordnet import WordNet
from stages.wordnet_edits.drawing import draw, edit_columns
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.grammar import article_for, pluralise
from stages.wordnet_edits.sisters import Sisters
from stages.wordnet_edits.visual_kinds import ATTRIBUTES, BASIC_COLOURS, KINDS
from tests._nltks_wordnet import nltks_files

ADJECTIVES = (*(word for pair in ATTRIBUTES for word in pair), *BASIC_COLOURS)
PLACES = ("on", "in", "near", "under", "behind", "next to", "in front of", "full of", "of")
CASES = (str, str, str, str.title, str.upper)


@pytest.fixture(scope="module")
def reader():
    with nltks_files() as files:
        yield files


@pytest.fixture(scope="module")
def words(reader):
    """Nouns, adjectives and verbs of WordNet, with blanks."""
    return {pos: [word.replace("_", " ") for word in reader.words(pos)] for pos in "nav"}


@pytest.fixture(scope="module")
def by_nltk(reader):
    lexicon = WordNet()
    lexicon._files = reader
    return lexicon


def captions(words, count):
    """Captions of a few forms, of words that can change and of any words."""
    rng = random.Random(5)
    usual = [name.partition(":")[0].split(".")[0].replace("_", " ") for kind in KINDS.values() for name in kind.members]

    def noun():
        return rng.choice(usual if rng.random() < 0.6 else words["n"])

    def adjective():
        return rng.choice(ADJECTIVES if rng.random() < 0.6 else words["a"])

    def verb():
        return rng.choice(words["v"]) + rng.choice(("s", "ing", "ed", ""))

    forms = (
        lambda: f"a {adjective()} {noun()} {rng.choice(PLACES)} the {noun()}",
        lambda: f"two {noun()}s {verb()} {rng.choice(PLACES)} a {adjective()} {noun()}",
        lambda: f"{noun()} and {adjective()} {adjective()} {noun()}",
        lambda: f"the {noun()} {verb()} an {adjective()} {noun()}",
        lambda: f"{adjective()} {noun()} {noun()} {rng.choice(PLACES)} {noun()}s",
        lambda: f"a man with his {noun()} {verb()} {rng.choice(PLACES)} some {adjective()} {noun()}",
    )
    return [rng.choice(CASES)(rng.choice(forms)()) for _ in range(count)]


def edits(finder, caption):
    sites, rng = finder.sites(caption), random.Random(caption)
    drawn = draw(sites, 4, rng) if sites else []
    return sites, [edit_columns(caption, edit_type, option, rng) for edit_type, option in drawn]


@pytest.mark.parametrize(("scope", "count"), [("visual", 1000), ("any", 12)])
def test_edits_are_those_made_with_nltks_reader(words, by_nltk, scope, count):
    ours, theirs = (EditFinder(Sisters(wordnet=lexicon, scope=scope), 6) for lexicon in (WordNet(), by_nltk))
    num_edits = 0
    for caption in captions(words, count):
        made = edits(ours, caption)
        assert made == edits(theirs, caption)
        num_edits += len(made[1])
    assert num_edits > count


def test_articles_and_plurals_are_those_of_inflect_with_its_checks(words):
    drawn = sorted({word for pos in words for word in random.Random(0).sample(words[pos], 3000)})
    code = (
        "import sys, inflect\n"
        "engine = inflect.engine()\n"
        "for word in sys.stdin.read().splitlines():\n"
        "    print(engine.a(word.split(' ', 1)[0].lower()).split(' ', 1)[0], engine.plural_noun(word))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(drawn), capture_output=True, text=True, check=True
    )
    assert [f"{article_for(word)} {pluralise(word)}" for word in drawn] == done.stdout.splitlines()


def test_inflect_alone_is_imported_without_its_run_time_checks():
    code = (
        "from stages.wordnet_edits.grammar import pluralise\n"
        "assert pluralise('wolf') == 'wolves'\n"
        "import inflect, typeguard\n"
        "assert typeguard.typechecked.__module__.startswith('typeguard')\n"
        "inflect.engine().plural_noun('')\n"  # a checked one raises TypeCheckError
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
