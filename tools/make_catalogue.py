# ruff: noqa: INP001  a script, in no package
"""Write the catalogues docs/stages.md, docs/recipes.md and docs/modules.md: `python tools/make_catalogue.py`.

The words in their tables come from the code: stages, recipes, editors, their settings, columns and docstrings. The same
code gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
DOCS = TOOLS.parent / "docs"


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name -> text of each page."""
    for folder in (TOOLS, TOOLS.parent):  # where a script lies is the start of its path
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    from catalogue_modules import modules_page
    from catalogue_recipes import recipes_page
    from catalogue_stages import stages_page

    return {"stages.md": stages_page(), "recipes.md": recipes_page(), "modules.md": modules_page()}


if __name__ == "__main__":
    main()
