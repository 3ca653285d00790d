"""The kinds of models that transformers lists under a task, read from its source without importing it.

Importing the list itself imports torch, which takes seconds; `plan` asks for it too.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import lru_cache
from pathlib import Path

CHAT = "any image-text-to-text model"
CAUSAL = "any causal language model"
IMAGE_CLASSES = "any image classifier"
LISTS = {
    CHAT: "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    CAUSAL: "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    IMAGE_CLASSES: "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
}
"""Task -> name of its list in transformers, an ordered dictionary of model types to classes."""
SOURCE = "models/auto/modeling_auto.py"


@lru_cache(maxsize=1)
def task_kinds() -> dict[str, frozenset[str]]:
    """Task -> the model types of its list, or empty where transformers is not installed."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        return {}
    tree = ast.parse((Path(spec.origin).parent / SOURCE).read_text(encoding="utf-8"))
    lists = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Call) and value.args:
            lists[target.id] = value.args[0]
    return {task: frozenset(dict(ast.literal_eval(lists[name]))) for task, name in LISTS.items()}
