"""The miniature world: seeded scenes with captions, masks and edits whose truth is known exactly."""

from zoo.world.captions import Facts, alt_text, caption, facts_of, read_facts, varied_caption
from zoo.world.edits import KINDS, Edit, EditKind, edit_mask, possible_kinds, sample_edit, sample_sequence
from zoo.world.scene import SIZE_PX, Scene, Thing, boxes, panoptic, render, sample_scene, scene_of, thing_masks
from zoo.world.vocabulary import COLOURS, FAMILIES, NOUNS, PLACES, STUFF, STYLES

__all__ = [
    "COLOURS", "FAMILIES", "KINDS", "NOUNS", "PLACES", "SIZE_PX", "STUFF", "STYLES", "Edit", "EditKind", "Facts",
    "Scene", "Thing", "alt_text", "boxes", "caption", "edit_mask", "facts_of", "panoptic", "possible_kinds",
    "read_facts", "render", "sample_edit", "sample_scene", "sample_sequence", "scene_of", "thing_masks",
    "varied_caption",
]  # fmt: skip
