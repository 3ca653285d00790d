"""The recipes, one file each: a subclass of `trainer.recipe.Recipe` under the name that `--recipe` takes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from core.errors import UsageError, nearest

if TYPE_CHECKING:
    from trainer.recipe import Recipe

RECIPES = {"iedit": "trainer.recipes.iedit.recipe:IEdit"}
"""Name -> class; a new recipe is a file beside this one and a line here."""


def find_recipe(name: str) -> type[Recipe]:
    """The settings class of a recipe. Raises UsageError with the nearest name for an unknown one."""
    if name not in RECIPES:
        raise UsageError(f"no recipe is called {name!r}{nearest(name, RECIPES)}")
    module, _, kind = RECIPES[name].partition(":")
    found: type[Recipe] = getattr(importlib.import_module(module), kind)
    return found
