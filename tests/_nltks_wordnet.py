"""WordNet through nltk's reader: the reference for `models.language.wordnet_files`."""

import contextlib
import warnings

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from models.language.wordnet import wordnet_folder


class NltksFiles(WordNetCorpusReader):
    """nltk's reader, which answers all that `WordNet` asks its files."""

    def map_wn(self, version="wordnet"):
        """No map from WordNet 3.0 to itself: it takes seconds."""

    def base_forms(self, form, pos):
        """The form and its base forms, as far as WordNet has them."""
        return self._morphy(form, pos)

    def words(self, pos):
        """All words of a part of speech, sorted."""
        return sorted(word for word, senses in self._lemma_pos_offset_map.items() if pos in senses)


@contextlib.contextmanager
def nltks_files():
    """The reader, open."""
    folder = wordnet_folder()
    nltk.data.path.append(str(folder.parent.parent))  # nltk refuses files outside its data path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "multilingual functions are not available"
            yield NltksFiles(str(folder), None)
    finally:
        nltk.data.path.pop()
