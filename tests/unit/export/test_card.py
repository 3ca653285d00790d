"""The card: licence, what is carried, what is not, what was left out."""

import pytest
from _export_datasets import mixed_dataset, row_members, write_export_dataset

from core.settings import checked
from export.formats import FORMATS, find_format
from export.run import export_dataset
from samples.shards import read_shards


def card_of(dataset, out, to, **settings):
    export_dataset(read_shards(dataset), checked(find_format(to), settings, to), out, split="train", workers=1)
    return (out / "README.md").read_text()


OF_ONE_EDIT = [name for name in FORMATS if "rejected_image" not in find_format(name).needs]


@pytest.mark.parametrize("to", OF_ONE_EDIT)
def test_card_states_licence_direction_and_every_part(to, tmp_path):
    card = card_of(mixed_dataset(tmp_path / "dataset"), tmp_path / "out", to)
    assert card.startswith('---\nlicense: "cc-by-4.0"\nlanguage:\n- "en"\n')
    assert card.endswith("Licence of this dataset: `cc-by-4.0`. Photographs of nobody.\n")
    assert "The target image carries the text (`instruction`), the source image is the control." in card
    made = find_format(to)
    for part in ("mask", "reverse instruction", "turns of a session", "more than one source image"):
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {part} |")]
        assert (part in made.carries) == ("not carried" not in line)
    assert "- rows left out, `lacks_column` (no value in a column that the format cannot do without): 1\n" in card


def test_card_counts_rows_with_and_without_masks(tmp_path):
    card = card_of(mixed_dataset(tmp_path / "dataset"), tmp_path / "out", "diffusion-pipe")
    assert "- rows with a mask: 6\n" in card
    assert "- rows without a mask: 1\n" in card


def test_card_counts_no_mask_of_a_row_that_was_left_out(tmp_path):
    broken = row_members(2) | {"target.jpg": b"no image"}
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1), 2: broken}])
    card = card_of(dataset, tmp_path / "out", "diffusion-pipe")
    assert "- rows in the export: 1\n- rows with a mask: 1\n- rows left out, `unreadable_image`" in card


def test_dataset_without_a_card_is_said_to_state_no_licence(tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1)}])
    (dataset / "README.md").unlink()
    card = card_of(dataset, tmp_path / "out", "diffsynth")
    assert not card.startswith("---")
    assert "The dataset has no card that states a licence." in card
    assert "No row was left out." in card


def test_names_of_a_dataset_are_no_markup(tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: row_members(1)}])
    (dataset / "shards.json").write_text((dataset / "shards.json").read_text().replace('"tiny"', '"a`b\\n# c<script>"'))
    card = card_of(dataset, tmp_path / "out", "diffsynth")
    assert "\n# c" not in card
    assert "`a'b # c<script>`" in card
