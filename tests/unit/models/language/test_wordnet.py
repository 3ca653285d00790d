import pickle
import shutil
import subprocess
import sys
import zipfile

import pytest

from core.errors import ModelError
from models import registry
from models.language import fetch_wordnet, wordnet
from models.language.wordnet import FILES, MissingDataError, WordNet, wordnet_folder, wordnet_revision
from models.model_ids import find


@pytest.fixture(scope="module")
def lexicon():
    return WordNet()


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No WordNet on this machine, as far as the wrapper can see."""
    monkeypatch.setattr(wordnet, "search_places", lambda: (tmp_path / "here", tmp_path / "there"))
    return tmp_path


def test_the_database_is_found_and_has_a_revision():
    assert wordnet_folder() is not None
    version, _, digest = wordnet_revision().partition("@")
    assert version == "3.0"
    assert len(digest) == 12


def test_hashing_the_database_and_looking_a_word_up_import_no_nltk():
    code = (
        "import sys; from models import registry; from models.language import wordnet; wordnet.wordnet_revision(); "
        "assert wordnet.WordNet().lemma('buses', 'n') == 'bus'; "
        "sys.exit('nltk' in sys.modules or 'wordfreq' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_database_is_named_with_places_and_remedy(nowhere):
    with pytest.raises(MissingDataError) as error:
        WordNet()
    message = str(error.value)
    assert "WordNet 3.0 database (corpora/wordnet) is missing" in message
    assert str(nowhere / "here") in message
    assert str(nowhere / "there") in message
    assert message.endswith("; get it with `editloom fetch wordnet:3.0`")
    assert "\n" not in message


def test_an_incomplete_folder_does_not_count_as_the_database(nowhere):
    folder = nowhere / "here" / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    (folder / "data.noun").write_text("cut short")
    assert wordnet_folder() is None
    assert not find("wordnet:3.0").is_local


def test_a_zip_has_the_revision_of_the_folder_it_was_made_from(nowhere, monkeypatch):
    for place, kind in (("here", "folder"), ("there", "zip")):
        corpora = nowhere / place / "corpora"
        (corpora / "wordnet").mkdir(parents=True)
        for name in FILES:
            (corpora / "wordnet" / name).write_text(f"content of {name}")
        if kind == "zip":
            with zipfile.ZipFile(corpora / "wordnet.zip", "w") as archive:
                for name in FILES:
                    archive.write(corpora / "wordnet" / name, f"wordnet/{name}")
            shutil.rmtree(corpora / "wordnet")
    revisions = set()
    for place in ("here", "there"):
        monkeypatch.setattr(wordnet, "search_places", lambda place=place: (nowhere / place,))
        revisions.add(wordnet_revision())
    assert len(revisions) == 1


def test_a_zipped_database_can_be_opened(tmp_path):
    archive_path = tmp_path / "corpora" / "wordnet.zip"
    archive_path.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive_path, "w") as archive:
        for name in FILES:
            archive.writestr(f"wordnet/{name}", wordnet._read(wordnet_folder(), name))
    assert WordNet(archive_path).lemma("wolves", "n") == "wolf"


def test_senses_come_most_frequent_first(lexicon):
    assert lexicon.synsets("bus", "n")[0].name() == "bus.n.01"
    assert lexicon.synsets("golden retriever", "n")[0].lexname() == "noun.animal"
    assert lexicon.synsets("buses", "n") == ()


def test_base_forms_keep_singular_words_that_end_in_s(lexicon):
    forms = {word: lexicon.lemma(word, "n") for word in ("buses", "bus", "leaves", "men", "grass", "xyzzy")}
    assert forms == {"buses": "bus", "bus": "bus", "leaves": "leaf", "men": "man", "grass": "grass", "xyzzy": None}


def test_ancestors_have_their_distance(lexicon):
    bus, train = lexicon.synset("bus.n.01"), lexicon.synset("train.n.01")
    shared = lexicon.synset("public_transport.n.01")
    assert lexicon.ancestors(bus)[shared] == lexicon.ancestors(train)[shared] == 1
    assert train in lexicon.descendants(shared)


def test_antonyms_belong_to_a_sense(lexicon):
    old = lexicon.synsets("old", "a")
    assert lexicon.antonyms("old", old[0]) == ("young",)
    assert lexicon.antonyms("old", old[1]) == ("new",)


def test_a_pickled_lexicon_opens_the_database_again(lexicon):
    assert pickle.loads(pickle.dumps(lexicon)).lemma("mice", "n") == "mouse"


def test_a_pickled_lexicon_keeps_the_path_that_it_was_opened_with(monkeypatch):
    opened = []
    monkeypatch.setattr(wordnet, "WordNetFiles", opened.append)
    folder = wordnet_folder()
    named = WordNet(folder)
    monkeypatch.setattr(wordnet, "search_places", tuple)
    pickle.loads(pickle.dumps(named))
    assert opened == [folder, folder]


def test_the_registry_knows_wordnet_and_refuses_other_names():
    assert registry.revision("wordnet:3.0") == wordnet_revision()
    assert registry.missing("wordnet:3.0") == []
    assert "no model is called 'wordnet:9'" in registry.missing("wordnet:9")[0].message
    with pytest.raises(ModelError, match=r"known: .*wordnet:3\.0"):
        registry.load("WordNet", "wordnet:9")


def test_the_registry_says_what_is_missing(nowhere):
    [lack] = registry.missing("wordnet:3.0")
    assert lack.model_id == "wordnet:3.0"
    assert lack.what.startswith("the WordNet 3.0 database (corpora/wordnet) is missing; looked in ")


def test_fetching_again_says_that_the_database_is_there(capsys):
    assert fetch_wordnet.main([]) == 0
    assert capsys.readouterr().out.startswith("wordnet: already at ")


def test_failed_fetch_exits_1_with_one_line_that_says_what_to_do(nowhere, monkeypatch, capsys):
    monkeypatch.setattr(fetch_wordnet, "fetch_with_nltk", lambda _: "nltk's downloader: no answer in 90 s")
    monkeypatch.setattr(fetch_wordnet, "fetch_from_debian", lambda _: "apt-get: not on this machine")
    assert fetch_wordnet.main(["--to", str(nowhere / "here")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "apt-get: not on this machine" in lines[0]
    assert "nltk.download('wordnet')" in lines[0]


def test_a_source_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_wordnet, "_run", lambda *_: "nltk's downloader: broken")
    assert fetch_wordnet.fetch_with_nltk(tmp_path) == "nltk's downloader: broken"
    assert list(tmp_path.iterdir()) == []


def test_lexnames_lists_45_files_with_their_category():
    lines = fetch_wordnet.lexnames_text().splitlines()
    assert len(lines) == 45
    assert lines[3] == "03\tnoun.Tops\t1"
    assert lines[44] == "44\tadj.ppl\t3"
