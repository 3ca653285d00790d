"""Hashes that lie close together, and their clusters by brute force."""

from hypothesis import strategies as st

HASHES = st.integers(0, 2**64 - 1)


@st.composite
def crowds(draw):
    """Distinct hashes that lie around a few centres, so that near pairs and chains of them are common."""
    centres = draw(st.lists(HASHES, min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=5)
    made = draw(st.lists(st.tuples(st.sampled_from(centres), flips), min_size=1, max_size=30))
    hashes = set()
    for centre, bits in made:
        for bit in bits:
            centre ^= 1 << bit  # noqa: PLW2901
        hashes.add(centre)
    return sorted(hashes)


def brute_clusters(hashes, distance):
    """Label of each hash: the smallest index that it is linked to, by relaxation over all pairs."""
    labels = list(range(len(hashes)))
    changed = True
    while changed:
        changed = False
        for i, a in enumerate(hashes):
            for j, b in enumerate(hashes):
                if (a ^ b).bit_count() <= distance and labels[j] < labels[i]:
                    labels[i], changed = labels[j], True
    return labels


def same_partition(left, right):
    """True when both lists of labels put the same items together."""
    pairs = set(zip(left, right, strict=True))
    return len(pairs) == len(set(left)) == len(set(right))
