"""`code:package.module:Class`: a class of the user's own that serves a protocol, importable on every worker.

The class states two constants in its body, which are read from its source without importing it:

    serves = ("EditJudge",)    # names of protocols in models/protocols.py
    version = 1                # raise it when anything else that the class uses changes its results

It is made as every wrapper is: `Class(weights, placement, **settings)`. The pin is the version with a hash of the file
that holds the class. Other files that it imports are not in the pin. Naming such an id in a manifest means to run that
code.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.schemes import on_disk
from models.schemes.snapshot import content_pin
from models.schemes.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

FORM = "code:package.module:Class"
KIND = "code"
PACKAGES = ()

missing, offer, fetch = on_disk.missing, on_disk.offer, on_disk.fetch


def find(model_id: str, name: str) -> Weights:
    """The file of the class, and the protocols that it states. Raises ModelError where it has no such class."""
    module, _, class_name = name.partition(":")
    parts = module.split(".")
    if not all(part.isidentifier() for part in (*parts, class_name)):
        raise ModelError(f"model {model_id!r} is malformed; expected {FORM}")
    file = _file_of(parts)
    if file is None:
        raise ModelError(
            f"model {model_id!r}: there is no module {module!r} with a source file on the import path; correct the id, "
            "or set PYTHONPATH"
        )
    stated = _stated(model_id, file, class_name)
    serves = stated.get("serves")
    if not isinstance(serves, tuple) or not serves or not all(isinstance(one, str) for one in serves):
        raise ModelError(
            f'model {model_id!r}: class {class_name} states no protocol; expected a line serves = ("EditJudge",) in it'
        )
    version = str(_version_of(model_id, stated))
    return Weights(model_id, "code", str(file), version, is_local=True, wrapper=f"{module}:{class_name}", serves=serves)


def pin(weights: Weights) -> str:
    """The class's own version, and a hash over its source file."""
    return f"v{weights.revision} {content_pin(Path(weights.location))}"


def _version_of(model_id: str, stated: dict[str, Any]) -> int:
    version = stated.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelError(f"model {model_id!r}: its class states version = {version!r}; expected a whole number from 1")
    return version


def _file_of(parts: Sequence[str]) -> Path | None:
    """The source file of a module, found without importing its packages, or None."""
    top, *inner = parts
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    spec: Any = next((found for finder in finders if (found := finder.find_spec(top, None))), None)
    if spec is None:
        return None
    files = [Path(str(spec.origin))]
    if inner:
        folders = [Path(place).joinpath(*inner[:-1]) for place in spec.submodule_search_locations or ()]
        files = [folder / name for folder in folders for name in (f"{inner[-1]}/__init__.py", f"{inner[-1]}.py")]
    return next((file.resolve() for file in files if file.suffix == ".py" and file.is_file()), None)


def _stated(model_id: str, file: Path, class_name: str) -> dict[str, Any]:
    """The constants in the body of the class, by name. Raises ModelError where the file has no such class."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ModelError(f"model {model_id!r}: {file} cannot be read as Python ({error})") from error
    body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name), None)
    if body is None:
        raise ModelError(f"model {model_id!r}: {file} has no class {class_name}; correct the id in the manifest")
    return dict(pair for node in body for pair in _constants(node))


def _constants(node: ast.stmt) -> list[tuple[str, Any]]:
    """(name, value) of the constants that a statement assigns."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = getattr(node, "value", None)
    try:
        constant = ast.literal_eval(value) if value is not None and targets else None
    except (ValueError, TypeError):  # computed when the class is made
        return []
    return [(target.id, constant) for target in targets if isinstance(target, ast.Name)]
