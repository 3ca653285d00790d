"""The recipes, one folder each: a subclass of `trainer.recipe.Recipe` under the name that `--recipe` takes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from core.errors import SettingError, nearest

if TYPE_CHECKING:
    from trainer.recipe import Recipe

RECIPES = {
    "iedit": "trainer.recipes.iedit.recipe:IEdit",
    "instructgie": "trainer.recipes.instructgie.recipe:InstructGie",
    "ip2p": "trainer.recipes.ip2p.recipe:InstructPix2Pix",
    "regions": "trainer.recipes.regions.recipe:Regions",
    "uip2p": "trainer.recipes.uip2p.recipe:Uip2p",
}
"""Name -> module and class; a new recipe is a folder next to this file and a line here."""


def find_recipe(name: str) -> type[Recipe]:
    """The class of a recipe: a name in the table, or `package.module:Class` for one that lies elsewhere.

    Raises SettingError with the nearest name for an unknown one, and for a class that is no recipe.
    """
    if ":" not in name and name not in RECIPES:
        raise SettingError(f"no recipe is called {name!r}{nearest(name, RECIPES)}")
    module, _, kind = RECIPES.get(name, name).partition(":")
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ModuleNotFoundError as error:
        if not error.name or not module.startswith(error.name):
            raise  # the recipe's own imports are at fault
        raise SettingError(f"recipe {name!r}: there is no module {module!r} on the import path") from None
    from trainer.recipe import Recipe

    if not (isinstance(found, type) and issubclass(found, Recipe)):
        raise SettingError(f"{name!r} is no recipe; expected package.module:Class, a subclass of trainer.recipe.Recipe")
    if not found.recipe:
        raise SettingError(f"{name!r} has no name, by which a training is resumed; set `recipe` in the class")
    return found
