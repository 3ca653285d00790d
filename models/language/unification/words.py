"""English words that the rules of unification know, and the pieces of patterns made of them.

The lists are chosen. A word that is absent costs a merge of two wordings, never a wrong one.
"""

from __future__ import annotations

import re


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


def one_of(words: str | frozenset[str]) -> str:
    """A pattern of any one of the words, the longest first. In a text, `_` stands for a blank within a word."""
    found = words.split() if isinstance(words, str) else words
    return f"(?:{'|'.join(re.escape(word.replace('_', ' ')) for word in sorted(found, key=lambda w: (-len(w), w)))})"


ARTICLES = word_set("a an the")
DEMONSTRATIVES = word_set("this that these those")
NUMBERS = word_set("one two three four five six seven eight nine ten eleven twelve several many few")
POSSESSIVES = word_set("my your his her its their our")
PRONOUNS = word_set(
    "it them him me us you this that these those everything everyone everybody something someone somebody anything "
    "nothing"
)
SET_WORDS = word_set("all every each both any some no another other more most half only not")
DETERMINERS = ARTICLES | DEMONSTRATIVES | NUMBERS | POSSESSIVES | PRONOUNS | SET_WORDS
"""First words of a phrase that gets no further article."""
INDEFINITE = one_of("a an some another more one two three four five six seven eight nine ten several many lots_of")

SPELLINGS = {
    "color": "colour", "colors": "colours", "colored": "coloured", "coloring": "colouring", "colorful": "colourful",
    "recolor": "recolour", "watercolor": "watercolour", "multicolored": "multicoloured", "gray": "grey",
    "grays": "greys", "grayish": "greyish", "grayscale": "greyscale", "center": "centre", "centers": "centres",
    "centered": "centred",
}  # fmt: skip
"""American spelling -> British spelling."""

NOUN_COLOURS = word_set(
    "orange violet gold silver bronze copper olive amber coral emerald ruby sapphire peach mint lavender lilac mustard "
    "ivory cream salmon chocolate lemon lime rainbow"
)
"""Colours that are things too: "an orange" is a fruit, "orange" alone is a colour."""
PLAIN_COLOURS = word_set(
    "red yellow green blue purple pink brown black white grey golden beige turquoise teal navy maroon crimson scarlet "
    "magenta cyan tan indigo burgundy charcoal khaki multicoloured reddish orangish yellowish greenish bluish purplish "
    "pinkish brownish blackish whitish greyish"
)
SHADES = word_set(
    "light dark darker lighter bright brighter pale deep vivid neon pastel soft hot royal baby sky forest blood jet "
    "snow navy midnight metallic matte glossy dusty electric fiery lime olive rose cherry ruby emerald mint chocolate"
)
COLOUR = rf"(?:(?:{one_of(SHADES)}[ -])*{one_of(PLAIN_COLOURS | NOUN_COLOURS)})"
COLOURS = rf"(?:{COLOUR}(?:(?:, and |, | and ){COLOUR})*)"
SURE_COLOURS = rf"(?:(?:{one_of(SHADES)}[ -])+{COLOUR}|{one_of(PLAIN_COLOURS)})(?:(?:, and |, | and ){COLOUR})*"
"""Colours that may follow an article and are colours still: "a bright orange", not "an orange"."""

PICTURE = one_of("image picture photo photograph pic")
WHOLE = rf"(?:(?:the|this|my|your|our) (?:(?:whole|entire|given|attached|original) )?(?:{PICTURE}|scene))"
"""The image as a whole."""
SCENE = rf"(?:(?:the|this) {one_of('background backdrop scenery surroundings scene setting location environment')})"

SIDES = one_of("left right")
CORNER = rf"(?:(?P<high>top|upper|bottom|lower)[ -](?P<wide>{SIDES})(?: corner)?)"
PLACE = (
    rf"(?:(?:on|at|to|in|into|toward|towards|onto) the (?:{CORNER}|(?P<side>{SIDES})(?:[ -]hand)?(?: side)?|"
    rf"(?P<centre>centre|middle)|(?P<edge>top|bottom)|(?P<depth>background|foreground)))"
)
"""A place on the image, with named groups that `rules.things` reads."""

MASS_MEDIA = one_of("pixel_art line_art pop_art anime manga origami graffiti claymation stained_glass")
COUNT_MEDIA = one_of(
    "sketch drawing painting cartoon comic watercolour mosaic engraving etching illustration gouache fresco woodcut "
    "linocut render rendering collage caricature doodle poster postcard photo photograph picture"
)
"""Nouns for a whole image of some make: a request for one is a request for a style."""
NORMAL = rf"(?:normal|(?:an? |the )?{one_of('normal plain ordinary regular standard')} {PICTURE})"
LIGHT_NAMES = {
    "nighttime": "night", "night time": "night", "night-time": "night", "daytime": "day", "day time": "day",
    "wintertime": "winter", "summertime": "summer", "springtime": "spring", "greyscale": "black and white",
}  # fmt: skip
"""Name of a time, season or tone -> the name that is used."""
STATES = one_of(
    frozenset(LIGHT_NAMES)
    | word_set("night day dawn dusk evening morning afternoon midnight noon sunset sunrise sepia")
    | word_set("winter summer spring autumn")
    | {"black and white"}
)
"""Times of day, seasons and tones that a whole image can have."""
FALLING = one_of("snow rain")
NOT_PLACES = word_set(
    "style way manner mood tone tones format frame font resolution light lighting colour colours shade shape size "
    "future past dark one ones version quality rain snow fog pattern"
)
"""Last words of a phrase after "in a" or "to a" that is no place."""
ATTRIBUTES = word_set(
    "colour colours shade tone texture material size shape pose position style expression hairstyle mood lighting text "
    "font look appearance angle direction age gender season weather time name title number"
)
"""Nouns for a quality of a thing: a change of one replaces no thing."""

EDIT_VERBS = word_set(
    "add adjust alter apply brighten change colour convert crop cut darken delete draw dye edit eliminate erase "
    "exchange extend flip get give include insert introduce make modify move paint place put recolour remove render "
    "repaint replace rotate set shift swap switch substitute take transform turn"
)
"""First words of requests, at which a text of several requests is divided."""
GERUNDS = {
    "adding": "add", "altering": "alter", "changing": "change", "colouring": "colour", "converting": "convert",
    "deleting": "delete", "drawing": "draw", "erasing": "erase", "getting": "get", "giving": "give",
    "including": "include", "inserting": "insert", "making": "make", "moving": "move", "painting": "paint",
    "placing": "place", "putting": "put", "recolouring": "recolour", "removing": "remove", "replacing": "replace",
    "setting": "set", "shifting": "shift", "swapping": "swap", "taking": "take", "transforming": "transform",
    "turning": "turn",
}  # fmt: skip
PARTICIPLES = {
    "changed": "change", "converted": "convert", "deleted": "delete", "moved": "move", "painted": "paint",
    "removed": "remove", "replaced": "replace", "swapped": "swap", "turned": "turn",
}  # fmt: skip
"""What is to be done to a thing -> the verb: "have the car removed"."""
