"""Lines of JSON whose paths a trainer opens as they are: relative to where it is started, or below a given folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.format import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

START = """\
Paths in the file are relative to this folder, and the trainer opens them as they are: start it here, or export with
`--set root=FOLDER` to have the paths begin with a folder."""
"""A paragraph for the guide of such formats."""


class LinesFormat(Format):
    """A format of lines of JSON beside image files."""

    root: str | None = None
    """A folder that all paths begin with; none: paths are relative to the export."""

    def placed(self, path: str) -> str:
        """A path below the output folder, as the lines have it."""
        return path if self.root is None else f"{self.root.rstrip('/')}/{path}"

    def all_placed(self, paths: Sequence[str]) -> list[str]:
        """Several paths as the lines have them."""
        return [self.placed(path) for path in paths]
