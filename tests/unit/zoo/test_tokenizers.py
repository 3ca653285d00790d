import pytest

from zoo.tokenizers import bert_tokenizer, clip_tokenizer, corpus, grounding_tokenizer, learn_merges, words


@pytest.mark.parametrize("make", [clip_tokenizer, bert_tokenizer, grounding_tokenizer])
def test_every_word_of_the_world_is_one_token(make):
    tokenizer = make()
    assert [word for word in words() if len(tokenizer.tokenize(word)) != 1] == []


@pytest.mark.parametrize("make", [clip_tokenizer, bert_tokenizer, grounding_tokenizer])
def test_vocabulary_is_the_same_every_time(make):
    assert make().get_vocab() == make().get_vocab()


@pytest.mark.parametrize("make", [clip_tokenizer, bert_tokenizer])
def test_captions_come_back_from_their_tokens(make):
    tokenizer = make()
    for line in corpus()[:40]:
        back = tokenizer.decode(tokenizer(line).input_ids, skip_special_tokens=True)
        assert back.replace(" ", "") == line.replace(" ", "")


def test_a_word_from_elsewhere_is_spelt_not_lost():
    assert "[UNK]" not in bert_tokenizer().tokenize("zebra")
    assert clip_tokenizer().decode(clip_tokenizer()("zebra").input_ids, skip_special_tokens=True) == "zebra"


def test_special_tokens_of_the_detector_have_berts_numbers():
    tokenizer = grounding_tokenizer()
    assert tokenizer("red car. blue cat?").input_ids[0] == 101
    assert [tokenizer.convert_tokens_to_ids(token) for token in ("[SEP]", ".", "?", "[PAD]")] == [102, 1012, 1029, 0]


def test_merges_take_the_commonest_pair_first_and_end_in_whole_words():
    merges = learn_merges(["aab", "aac", "b"])
    assert merges[0] == ("a", "a")
    assert {"".join(pair) for pair in merges} >= {"aab</w>", "aac</w>"}
