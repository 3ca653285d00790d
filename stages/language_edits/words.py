"""Words of captions and instructions: stems, closed word lists, and which words carry meaning.

Rules of English spelling, no lexicon: `stem` is for comparing two words, never for showing one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from stages.wordnet_edits.grammar import tokenise, word_set

if TYPE_CHECKING:
    from collections.abc import Iterable

GRAMMAR_WORDS = word_set(
    "a an the this that these those some any its it his her hers their theirs my your our he she they him them i "
    "you we us me is are was were be been being am do does did has have had can could will would shall should may "
    "might must and or but so as if than then there here of to in on at by for with from into onto out up off over "
    "such very also just only please let lets not no who which what whose while where when each every all both "
    "other own more most still too again now together until till rather without because instead either neither how "
    "why ever"
)
"""Words without a meaning of their own that can be seen."""
PLACE_WORDS = word_set(
    "near beside behind under underneath below beneath above across along around against between among amongst next "
    "front back inside outside through past before after down towards toward beyond opposite during"
)
"""Words that say where one thing is to another. A change of one is a change, but it names nothing."""
LINK_WORDS = GRAMMAR_WORDS | PLACE_WORDS

EDIT_VERBS = word_set(
    "add adjust alter apply arrange ask attach become bend bleach blow break bring build burn calm cancel carry "
    "change clean clear close color colour come convert cool cover crack create crop crumple cut darken decorate "
    "delete depict dent detach disappear discard dismantle do drain draw dress drop dry dye edit empty end erase "
    "exchange extend extinguish fade fill fish fix flatten flip float fold freeze get give go gone grow hang have "
    "heal heat hide hold imagine include increase inflate insert introduce join keep lay lead leave let lift light "
    "lighten lose lower make melt mend merge mix modify move need open pack paint park pass peel photograph picture "
    "pile place plant polish position pour present press pull push put raise recolor recolour redraw reduce "
    "reimagine release relocate remove render repaint repair replace reposition resemble restore retouch return "
    "revert reverse rid roll rotate scatter scrape scratch scrub seal seat see seem send set shall shift shoot show "
    "shut shrink slide smooth soften spread stack stick stitch stop straighten strip style stylise stylize "
    "substitute swap swell switch take tear thaw throw tidy tie tint touch transfer transform trim turn undo unfold "
    "unload unpick untie unwrap use vanish wake want wash wear wipe wrap load stretch squeeze sweep sharpen "
    "brighten dim blur look appear like"
)
"""Verbs of requests. Not those of pose and motion: that a dog sits or sleeps is for its caption to say."""
GENERIC_WORDS = word_set(
    "background backdrop foreground scene scenery setting surroundings surrounding environment location place "
    "picture photo photograph photography image shot view frame whole entire everything rest thing things item "
    "object objects subject style look appearance effect version kind type form mood atmosphere lighting light "
    "colour color shade tone hue texture material surface size shape pose position spot side part left right centre "
    "center middle top bottom corner edge original previous former initial earlier first second third last usual "
    "normal normally plain regular ordinary standard natural naturally real realistic realism actual same different "
    "new old instead away back completely fully entirely one ones another once upon way else anything nothing "
    "altogether lot bit everyone everybody somebody someone time season hour moment weather manner"
)
"""Words of instructions that name no thing and no quality of one that a caption would have to say."""
FREE_WORDS = EDIT_VERBS | GENERIC_WORDS
AMBIENT_WORDS = word_set("sky sun ground air horizon landscape world day")
"""Things of nearly every photograph, which an instruction may speak of though no caption does."""
RESTORE_WORDS = word_set(
    "restore undo revert return original originally previous former back again normal plain regular ordinary "
    "natural usual real realistic initial earlier before had was were"
)
"""Words that ask for the state before an edit without saying what it was."""
OPPOSITE_VERBS = word_set(
    "bend calm clean close cool deflate drain dry dull empty extinguish fill fix flatten fold freeze heal inflate "
    "lift lower melt mend open pick polish raise repair roll sharpen shut smooth soften straighten thaw tidy tie "
    "unfold untie unwrap wake wash wet wipe wrap light dim brighten out"
)
"""Verbs that undo a state of a thing which its caption now names."""
EMPTY_WORDS = word_set("empty bare plain alone lone single blank vacant deserted unoccupied bald left right")
"""Words of a caption that an addition makes untrue."""
POSITIONS = word_set("left right centre center middle top bottom front back corner side")
REMOVE_WORDS = word_set(
    "remove delete erase rid take away clear strip wipe undo cut lose without hide stop drop no off end cancel lift "
    "melt vanish disappear gone pass scrape get out"
)
COLOURS = word_set(
    "red orange yellow green blue purple violet pink brown black white grey gray golden gold silver beige turquoise "
    "teal navy maroon crimson scarlet magenta cyan lavender lilac mustard ivory cream tan bronze copper olive "
    "indigo amber burgundy coral emerald ruby sapphire charcoal khaki peach mint"
)
FOREIGN_WORDS = word_set(
    "der die das den dem ein eine einen einem einer und nicht mit auf von zum zur ist im ins durch le la les un une "
    "des du de et est avec dans pour sur sans en el los las una y con para por del al se il lo gli nella di da che "
    "per uno o os as um uma com em na do dos het een van niet met op naar och att det pa med ett av"
)
"""Frequent function words of other languages in Latin script, some of them English words too."""
ENGLISH_WORDS = GRAMMAR_WORDS | PLACE_WORDS | EDIT_VERBS

_IRREGULAR = dict(
    pair.split(":")
    for pair in word_set(
        "men:man women:woman children:child people:person mice:mouse geese:goose feet:foot teeth:tooth wolves:wolf "
        "leaves:leaf knives:knife loaves:loaf shelves:shelf calves:calf halves:half scarves:scarf grey:gray buses:bus "
        "lying:lie frozen:freeze fallen:fall worn:wear wore:wear lit:light flew:fly flown:fly broken:break sat:sit "
        "stood:stand held:hold ran:run hung:hang laid:lay ate:eat eaten:eat drawn:draw grown:grow burnt:burn sunk:sink "
        "sunken:sink torn:tear swept:sweep slept:sleep asleep:sleep made:make built:build woke:wake bent:bend"
    )
)
_ALIKE = tuple(
    map(
        word_set,
        (
            "snow winter wintry snowfall blizzard", "night dark nighttime midnight", "rain storm thunderstorm",
            "sun sunshine sunny sunlight", "monochrome gray grayscale", "autumn fall autumnal", "sunset dusk",
            "sunrise dawn", "fog mist haze", "sketch drawing", "painting painted", "fire flame burning",
            "tv television", "photo photograph picture", "bike bicycle", "airplane aeroplane plane",
        ),
    )
)  # fmt: skip
"""Words that an instruction and a caption use for each other."""
_MEMBERS = {
    "dog": "corgi retriever bulldog puppy spaniel terrier poodle dachshund husky labrador beagle pug collie hound",
    "cat": "kitten tabby",
    "bird": "seagull gull parrot owl eagle swan duck crow pigeon sparrow flamingo goose penguin hen rooster chicken",
    "flower": "rose sunflower dahlia tulip daisy lily poppy orchid dandelion",
    "tree": "palm oak pine maple birch willow",
    "vehicle": "car bus truck van taxi tram lorry jeep motorcycle train pickup",
    "car": "taxi jeep limousine sedan suv cab",
    "boat": "ship yacht canoe kayak sailboat ferry",
    "animal": "dog cat horse cow sheep bear lion elephant zebra giraffe goat frog fox rabbit cub corgi retriever",
    "person": "man woman boy girl child bride groom player rider skier surfer officer",
    "building": "house tower church shop skyscraper barn castle",
    "child": "boy girl toddler baby",
}
"""A general word -> words of captions for which an instruction may say it: "the dog" of a corgi."""
_VOWEL = re.compile(r"[aeiouy]")


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The word in lower case without the endings of number, tense and comparison that rules can take away."""
    plain = word.lower().replace("\u2019", "'").removesuffix("'s").removesuffix("'")
    plain = _IRREGULAR.get(plain, plain).replace("colour", "color")
    if plain.endswith(("ies", "ied")) and len(plain) > 4:
        plain = f"{plain[:-3]}y"
    elif re.search(r"(s|x|z|ch|sh)es$", plain) and len(plain) > 4:
        plain = plain[:-2]
    elif plain.endswith("s") and not plain.endswith(("ss", "us", "is")) and len(plain) > 3:
        plain = plain[:-1]
    for ending in ("ing", "ed", "en", "ly", "y"):  # "flattened" and "flatten" both come down to "flat"
        rest = plain.removesuffix(ending)
        if rest != plain and len(rest) >= 3 and _VOWEL.search(rest):
            plain = rest[:-1] if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "aeilos" else rest
    return plain.removesuffix("e") if len(plain) > 3 else plain


COLOUR_STEMS = frozenset(map(stem, COLOURS))
POSITION_STEMS = frozenset(map(stem, POSITIONS))
"""Words for a place on the image: captions may name a new one though the thing did not move."""
_GROUPS = {stem(word): number for number, group in enumerate(_ALIKE) for word in group}

_GENERAL = {
    member: frozenset(stem(general) for general, members in _MEMBERS.items() if member in map(stem, members.split()))
    for member in {stem(word) for members in _MEMBERS.values() for word in members.split()}
}


def alike(word: str, other: str) -> bool:
    """True for two stems of one word, or of two words that mean the same edit."""
    return word == other or (word in _GROUPS and _GROUPS[word] == _GROUPS.get(other))


def named_in(word: str, stems: frozenset[str]) -> bool:
    """True where one of the stems is of that word, or means the same edit."""
    return word in stems or (word in _GROUPS and any(alike(word, other) for other in stems))


def with_general(stems: Iterable[str]) -> frozenset[str]:
    """The stems, and those of the general words for them."""
    found = frozenset(stems)
    return found.union(*(_GENERAL.get(one, ()) for one in found))


def words(text: str) -> tuple[str, ...]:
    """The words in lower case, in order, without punctuation."""
    return tuple(token.lower for token in tokenise(text))


def content(text: str) -> tuple[str, ...]:
    """Stems of the words that name something that can be seen, in order."""
    return stems_of(words(text))


def stems_of(found: tuple[str, ...]) -> tuple[str, ...]:
    """Stems of those of the words that carry meaning."""
    return tuple(stem(word) for word in found if word not in LINK_WORDS)


def normalised(text: str) -> str:
    """The text as it is compared with others: words in lower case, articles and punctuation left out."""
    return " ".join(word for word in words(text) if word not in {"a", "an", "the", "please"})
