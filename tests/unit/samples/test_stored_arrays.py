"""Arrays as files: what NumPy reads, and how many axes each column declares."""

import io

import numpy as np
import pytest

from samples.members import MEMBERS
from samples.stored_arrays import npy, num_axes


def test_numpy_reads_the_array_in_half_precision():
    values = np.linspace(-3, 3, 12, dtype=np.float32).reshape(2, 2, 3)
    found = np.load(io.BytesIO(npy(values)), allow_pickle=False)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, values.astype(np.float16))


@pytest.mark.parametrize(
    ("name", "axes"), [("source_latent", 3), ("instruction_emb", 2), ("instruction_pooled_emb", 1)]
)
def test_axes_are_those_of_the_columns_unit(name, axes):
    assert num_axes(name) == axes


def test_every_array_of_a_dataset_declares_its_axes():
    assert all(num_axes(one.column) for one in MEMBERS.values() if one.kind == "array")
