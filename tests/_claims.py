"""What holds of the claims of every benchmark."""

from benchmarks.claims.claims import Asked


def assert_claims_have_rows_and_measures(claims, cells, measures):
    """Every comparison is of rows that cells make, by a measure of the tables."""
    rows = {Asked(cell.name, task) for cell in cells.values() for task in cell.tasks}
    for claim in claims:
        for one in claim.comparisons:
            assert {*one.better, *one.worse} <= rows
            assert one.measure in measures
