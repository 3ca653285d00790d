"""Each loss against its equation written out in numpy, one row after the other."""

import numpy as np
import pytest
import torch

from trainer.recipes.uip2p import losses

NORMS = ("mean_square", "l2")
ROWS = 3


def rows(*shape, seed=0):
    return torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(seed))


def units(seed):
    emb_BD = rows(8, seed=seed)
    return emb_BD / emb_BD.norm(dim=-1, keepdim=True)


def maps(seed, num_queries):
    """Attention over seven tokens."""
    return rows(num_queries, 7, seed=seed).softmax(-1)


def words(*lengths):
    """Masks of texts of so many tokens, behind the start of the text."""
    return torch.tensor([[0 < place <= length for place in range(7)] for length in lengths])


EDITED, SOURCE, AFTER, BEFORE, FOUND = (units(seed) for seed in range(5))
IMAGE, RECONSTRUCTED = rows(3, 6, 5, seed=5), rows(3, 6, 5, seed=6)
FORWARD = {"shallow": maps(7, 12), "deep": maps(8, 4)}
REVERSE = {"shallow": maps(9, 12), "deep": maps(10, 4)}
INSTRUCTION, UNDO = words(2, 5, 1), words(4, 1, 3)


def cosine(one, other):
    return (one @ other) / (np.linalg.norm(one) * np.linalg.norm(other))


def length(difference, norm):
    squares = [float(number) ** 2 for number in difference.flatten()]
    return sum(squares) ** 0.5 if norm == "l2" else sum(squares) / len(squares)


def places(map_QL, num_words):
    """The heat map of one sample, whose text has so many tokens."""
    mean_Q = np.array([sum(float(row[place]) for place in range(1, num_words + 1)) / num_words for row in map_QL])
    return (mean_Q - min(mean_Q)) / (max(mean_Q) - min(mean_Q))


def test_direction_loss_is_the_cosine_of_two_differences():
    edited, source, after, before = (one.numpy() for one in (EDITED, SOURCE, AFTER, BEFORE))
    expected = [1 - cosine(edited[row] - source[row], after[row] - before[row]) for row in range(ROWS)]
    np.testing.assert_allclose(losses.direction_loss(EDITED, SOURCE, AFTER, BEFORE), expected, rtol=1e-5)


def test_direction_loss_is_0_along_the_captions_and_2_against_them():
    moved = SOURCE + 0.3 * (AFTER - BEFORE)
    torch.testing.assert_close(losses.direction_loss(moved, SOURCE, AFTER, BEFORE), torch.zeros(ROWS))
    torch.testing.assert_close(losses.direction_loss(moved, SOURCE, BEFORE, AFTER), torch.full((ROWS,), 2.0))


def test_similarity_loss_is_the_cosine_to_the_caption_after_the_edit():
    expected = [1 - cosine(one, other) for one, other in zip(EDITED.numpy(), AFTER.numpy(), strict=True)]
    np.testing.assert_allclose(losses.similarity_loss(EDITED, AFTER), expected, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_reconstruction_loss_is_a_distance_of_pixels_and_a_cosine(norm):
    expected = [
        length((IMAGE - RECONSTRUCTED)[row].numpy(), norm) + 1 - cosine(SOURCE[row].numpy(), FOUND[row].numpy())
        for row in range(ROWS)
    ]
    found = losses.reconstruction_loss(IMAGE, RECONSTRUCTED, SOURCE, FOUND, norm)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_place_map_is_the_stretched_mean_over_the_words():
    found = losses.place_map(FORWARD["shallow"], INSTRUCTION)
    for row, num_words in enumerate((2, 5, 1)):
        np.testing.assert_allclose(found[row], places(FORWARD["shallow"][row], num_words), atol=1e-5)
    assert found.amin(1).tolist() == [0.0] * ROWS
    torch.testing.assert_close(found.amax(1), torch.ones(ROWS))


def test_start_end_and_padding_do_not_change_a_place_map():
    other = torch.where(INSTRUCTION[:, None], FORWARD["shallow"], 9 * maps(11, 12))
    torch.testing.assert_close(losses.place_map(other, INSTRUCTION), losses.place_map(FORWARD["shallow"], INSTRUCTION))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_place_map_of_a_flat_map_is_zeros(dtype):
    flat = maps(7, 1).expand(-1, 12, -1).to(dtype)
    assert losses.place_map(flat, INSTRUCTION).tolist() == [[0.0] * 12] * ROWS


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_place_map_of_half_precision_is_computed_in_float32(dtype):
    half = FORWARD["shallow"].to(dtype)
    found = losses.place_map(half, INSTRUCTION)
    assert found.dtype == torch.float32
    assert torch.equal(found, losses.place_map(half.float(), INSTRUCTION))


def test_place_map_of_a_text_without_words_is_zeros():
    assert not losses.place_map(FORWARD["deep"], words(0, 0, 0)).any()


@pytest.mark.parametrize("norm", NORMS)
def test_attention_loss_is_the_sum_of_the_distances_of_all_layers(norm):
    expected = [
        sum(
            length(places(FORWARD[name][row], forth) - places(REVERSE[name][row], back), norm)
            for name in ("shallow", "deep")
        )
        for row, (forth, back) in enumerate(((2, 4), (5, 1), (1, 3)))
    ]
    found = losses.attention_loss(FORWARD, REVERSE, INSTRUCTION, UNDO, norm)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_attention_loss_of_the_same_places_is_0_whatever_the_contrast():
    fainter = {name: 0.5 * map_BQL + 0.1 for name, map_BQL in FORWARD.items()}
    found = losses.attention_loss(FORWARD, fainter, INSTRUCTION, INSTRUCTION, "mean_square")
    assert found.abs().max() < 1e-9


def test_mean_square_does_not_depend_on_the_size_of_the_image_as_l2_does():
    large, larger = (image.repeat(1, 1, 2, 2) for image in (IMAGE, RECONSTRUCTED))
    for norm, factor in (("mean_square", 1), ("l2", 2)):
        expected = factor * losses.distance(IMAGE, RECONSTRUCTED, norm)
        torch.testing.assert_close(losses.distance(large, larger, norm), expected)


def leaf(tensor):
    return tensor.clone().requires_grad_()


def gradient(loss_B, given):
    (found,) = torch.autograd.grad(loss_B.sum(), given)
    return found


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_finite_where_images_are_identical(norm):
    edited, image, emb = leaf(SOURCE), leaf(IMAGE), leaf(SOURCE)
    for loss_B, given in (
        (losses.direction_loss(edited, SOURCE, AFTER, BEFORE), edited),
        (losses.direction_loss(edited, SOURCE, AFTER, AFTER), edited),
        (losses.similarity_loss(edited, SOURCE), edited),
        (losses.reconstruction_loss(IMAGE, image, SOURCE, emb, norm), image),
        (losses.reconstruction_loss(IMAGE, image, SOURCE, emb, norm), emb),
    ):
        assert loss_B.isfinite().all()
        assert gradient(loss_B, given).isfinite().all()


def test_captions_that_say_the_same_give_no_direction():
    edited = leaf(EDITED)
    loss_B = losses.direction_loss(edited, SOURCE, AFTER, AFTER)
    assert loss_B.tolist() == [1.0] * ROWS
    assert not gradient(loss_B, edited).any()


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_finite_where_maps_are_flat_or_the_same(norm):
    flat = leaf(torch.full((ROWS, 12, 7), 1 / 7))
    same = leaf(FORWARD["shallow"])
    for given, other in ((flat, REVERSE["shallow"]), (flat, flat.detach()), (same, same.detach())):
        loss_B = losses.attention_loss({"a": given}, {"a": other}, INSTRUCTION, INSTRUCTION, norm)
        assert loss_B.isfinite().all()
        assert gradient(loss_B, given).isfinite().all()
    assert not gradient(losses.place_map(flat, INSTRUCTION), flat).any()
