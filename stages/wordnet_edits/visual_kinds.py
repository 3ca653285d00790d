"""Curated lists of words that may replace each other in an image. No code here reads captions.

WordNet says what is a co-hyponym of what; it does not say what looks alike. A *kind* names synsets that can take each
other's place in a photograph (size, place and use agree), so that a dog on a bench becomes a cat and not a whale.
`members` were checked one by one (`synset` or `synset:word` to choose the word); below `roots` every synset counts that
is the dominant sense of its word. A noun may be of several kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.wordnet_edits.grammar import word_set


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A set of synsets that can take each other's place: `members` themselves, and descendants of `roots`."""

    members: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    never: frozenset[str] = frozenset()
    """Synsets below the roots, or words by their first sense, that are left out."""


def _of(members: str, roots: str = "", never: str = "") -> Kind:
    return Kind(members=_names(members), roots=_names(roots), never=frozenset(_names(never)))


def _names(text: str) -> tuple[str, ...]:
    """Synset names. `bus` means `bus.n.01`, and `2` in `glass.2` the second sense."""
    return tuple(_full_name(word) for word in text.split())


def _full_name(word: str) -> str:
    synset, _, label = word.partition(":")
    lemma, _, sense = synset.partition(".")
    return f"{lemma}.n.{int(sense or 1):02d}" + (f":{label}" if label else "")


KINDS: dict[str, Kind] = {
    "road vehicle": _of("car truck bus van.5"),
    "work vehicle": _of("truck tractor"),
    "public transport": _of("bus train streetcar:tram"),
    "two-wheeler": _of("bicycle motorcycle motor_scooter:scooter"),
    "watercraft": _of("boat ship canoe kayak yacht ferry sailboat raft"),
    "aircraft": _of("airplane helicopter glider"),
    "seat": _of("bench chair stool armchair"),
    "place to lie": _of("bed sofa hammock.2"),
    "soft seat": _of("sofa armchair"),
    "cupboard": _of("cabinet bookcase cupboard"),
    "drinkware": _of("cup mug.4 glass.2"),
    "dish": _of("bowl bowl.3 plate.4 tray"),
    "flat dish": _of("plate.4 tray"),
    "vessel": _of("vase jar bottle pitcher.2 bucket"),
    "cookware": _of("pan kettle wok"),
    "luggage": _of("backpack bag.6:suitcase briefcase bag.4:purse"),
    "carrier": _of("bag basket box crate bucket"),
    "headwear": _of("hat cap helmet.2"),
    "upper clothing": _of("shirt sweater jacket coat vest jersey.3:T-shirt"),
    "footwear": _of("shoe boot sandal gym_shoe:sneaker slipper"),
    "neckwear": _of("scarf necktie:tie bow_tie"),
    "string instrument": _of("guitar violin cello banjo ukulele"),
    "wind instrument": _of("cornet:trumpet flute sax.2:saxophone clarinet trombone"),
    "large appliance": _of("refrigerator stove dishwasher washer.3:washing_machine"),
    "small appliance": _of("toaster.2 microwave.2 blender coffee_maker"),
    "reading matter": _of("book book.2 magazine magazine.2 newspaper newspaper.3"),
    "bedding": _of("blanket quilt towel"),
    "house": _of("house cottage cabin.2 hotel barn castle.2 mansion.2 church.2 school.2 apartment_building farmhouse"),
    "public building": _of("library.3 museum theater hotel hospital school.2 church.2"),
    "shop": _of("cafe restaurant shop bakery bookshop:bookstore drugstore:pharmacy hotel barroom:bar grocery_store"),
    "tower": _of("beacon.3:lighthouse clock_tower windmill water_tower"),
    "monument": _of("statue fountain obelisk"),
    "light": _of("lamp.2 candle lantern"),
    "shelter": _of("tent cabin.2 hut"),
    "street": _of("street highway alley"),
    "footway": _of("sidewalk path.2 trail.2"),
    "fresh water": _of("lake river pond"),
    "wide water": _of("ocean lake"),
    "green space": _of("hayfield:meadow park park.2 garden orchard"),
    "elevation": _of("mountain hill"),
    "pet": _of("dog cat rabbit fox"),
    "dog or wolf": _of("dog wolf fox"),
    "young animal": _of("puppy kitten"),
    "dog breed": _of("golden_retriever", "dog", "cur pooch lapdog cocker puppy"),
    "predator": _of("bear lion tiger.2 wolf leopard.2"),
    "farm animal": _of("cow sheep goat horse domestic_ass:donkey bull hog.3:pig"),
    "mount": _of("horse domestic_ass:donkey camel mule"),
    "grazer": _of("horse deer zebra cow"),
    "large wild animal": _of("elephant giraffe rhinoceros hippopotamus camel zebra"),
    "primate": _of("monkey chimpanzee gorilla orangutan"),
    "rodent or alike": _of("squirrel hamster rabbit chipmunk hedgehog.2 guinea_pig.2"),
    "marine animal": _of("dolphin.2 shark whale.2 seal.9"),
    "perching bird": _of("eagle owl hawk parrot crow pigeon sparrow woodpecker raven falcon hummingbird dove finch"),
    "swimming bird": _of("duck goose swan pelican gull.2:seagull"),
    "wading bird": _of("heron.2 flamingo stork egret"),
    "farmyard bird": _of("cock.4:rooster hen turkey"),
    "small reptile or amphibian": _of("frog lizard turtle.2 salamander"),
    "crawling animal": _of("snail beetle caterpillar ladybug spider grasshopper"),
    "flying insect": _of("butterfly bee dragonfly moth"),
    "flower": _of(
        "tulip rose lily daffodil dandelion sunflower daisy orchid",
        "flower",
        "pink.2 wallflower composite vanilla veronica marguerite columbine",
    ),
    "tree": _of("oak.2 pine maple.2 willow birch.2 palm.3 fir.2 spruce.2 elm"),
    "woody plant": _of("tree shrub:bush"),
    "tree fruit": _of("apple orange banana.2 pear peach lemon mango.2 lime.6"),
    "berry": _of("strawberry cherry.3 grape blueberry.2 raspberry.2"),
    "vegetable": _of("carrot carrot.3 cucumber.2 potato onion.3 tomato"),
    "leafy vegetable": _of("broccoli broccoli.2 cauliflower.2 cabbage lettuce.3 spinach.2"),
    "hand food": _of("pizza hamburger:burger sandwich taco.2 burrito"),
    "bowl food": _of("soup salad pasta rice stew.2"),
    "slice": _of("cake.3 pie pizza"),
    "small pastry": _of("doughnut.2:donut cookie muffin cupcake bagel crescent_roll:croissant"),
    "hot drink": _of("coffee tea cocoa"),
    "cold drink": _of("milk juice lemonade"),
    "alcoholic drink": _of("wine beer"),
}

MASS_KINDS = frozenset({"alcoholic drink", "bowl food", "cold drink", "hot drink", "leafy vegetable", "slice"})
"""Food that can be named without an article, as in "a slice of pizza"."""

MASS_NOUNS = word_set("grass hair hay sand snow water wood")
"""Nouns that cannot be counted, as far as edits of colour or look concern them."""

ANTONYM_NOUNS = (("man", "woman"), ("boy", "girl"))
"""The only persons that change: pairs that are antonyms in WordNet. No other trait of a person is ever edited."""

HOLLOW = word_set("bag basket bottle bowl box bucket crate cup glass jar mug pitcher vase")
FLAT = word_set("plate saucer tray")
"""Things lie in the hollow and on the flat: after "in", "on" and before "of" one never becomes the other."""

MOUNTS = word_set("camel donkey elephant horse mule")
"""Animals that may replace one that is being ridden."""

OWN_COLOURS = word_set("crow daisy flamingo giraffe leopard panda raven swan tiger zebra") | {"polar bear"}
"""Living things known by their colours: never offered after a colour word, and never given another colour."""

ROOM_FOR_ONE = frozenset({"armchair", "chair", "stool"})
"""Never offered where several sit."""

GENDERED_WORDS = word_set(
    "he she him her his hers himself herself beard bearded mustache moustache pregnant shirtless bikini bra bride "
    "groom husband wife father mother dad mom son daughter gentleman lady king queen"
)
"""A caption with one of these keeps its persons: the change would contradict the rest of it."""

BASIC_COLOURS = ("black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow")
"""The basic colour terms of English (Berlin and Kay 1969): what a colour may become."""

OTHER_COLOURS = frozenset({"beige", "crimson", "cyan", "gold", "golden", "grey", "lavender", "magenta", "maroon",
    "navy", "scarlet", "silver", "tan", "teal", "turquoise", "violet"})  # fmt: skip
"""Further words that name the colour of a thing when they precede it: what a colour may be changed from."""

FUR = ("black", "brown", "gray", "white")
PETALS = ("blue", "orange", "pink", "purple", "red", "white", "yellow")
FOLIAGE = ("brown", "green", "orange", "red", "yellow")
LAND = ("brown", "green", "yellow")
STONE = ("black", "brown", "gray", "red", "white")

NATURAL_COLOURS: dict[str, tuple[str, ...]] = {
    "apple": ("green", "red", "yellow"), "berry": ("black", "blue", "red"),
    "cloud": ("black", "gray", "pink", "white"),
    "cliff": STONE, "fruit": (), "grape": ("green", "purple", "red"),
    "hair": ("black", "brown", "gray", "red", "white"),
    "moon": (), "mountain": STONE, "pebble": STONE, "rock": STONE, "sand": ("black", "brown", "white", "yellow"),
    "sky": ("blue", "gray", "orange", "pink", "purple"), "snow": (), "stone": STONE, "sun": (), "water": (),
    "background": BASIC_COLOURS, "backdrop": BASIC_COLOURS, "surface": BASIC_COLOURS, "pattern": BASIC_COLOURS,
    "pepper": ("green", "orange", "red", "yellow"), "rose": PETALS, "flower": PETALS, "blossom": PETALS,
    "petal": PETALS, "plant": FOLIAGE, "grass": ("brown", "green", "yellow"),
    "image": (), "photo": (), "photograph": (), "picture": (),
    "lake": (), "river": (), "ocean": (), "sea": (), "pond": (), "wave": (),
}  # fmt: skip
"""Colours that a thing may take on, where its class in WordNet does not say it; empty: its colour is never edited."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Nouns that both words of an antonym pair suit: classes of WordNet, kinds, single nouns, but not `never`."""

    classes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    before_colour: bool = False
    adjacent: bool = False
    """True when the pair must be right before its noun: a "cloudy blue sky" is none."""
    after_in: bool = True
    """False when the pair must not change inside "in the ...": what is inside would become impossible."""


_THINGS = ("animal", "artifact", "food", "object", "plant")
ATTRIBUTES: dict[tuple[str, str], Fit] = {
    ("old", "young"): Fit(classes=("animal", "person"),
                           never=("baby", "boy", "calf", "child", "girl", "kid", "kitten", "lamb", "puppy")),
    ("old", "new"): Fit(classes=("artifact",)),
    ("large", "small"): Fit(classes=(*_THINGS, "location"), never=("skyscraper",)),
    ("big", "little"): Fit(classes=_THINGS, never=("skyscraper",)),
    ("dark", "light"): Fit(nouns=("background", "hair", "surface", "wood"), before_colour=True),
    ("empty", "full"): Fit(kinds=("drinkware", "dish", "vessel", "carrier", "cookware"), nouns=("shelf",)),
    ("wet", "dry"): Fit(classes=("animal",), kinds=("street", "footway"),
                        nouns=("grass", "ground", "hair", "leaf", "pavement", "road", "rock", "sand", "towel")),
    ("tall", "short"): Fit(classes=("plant",), kinds=("house", "tower"), nouns=("building", "fence", "vase", "tower"),
                           never=("skyscraper", "leaf")),
    ("long", "short"): Fit(nouns=("boat", "bridge", "coat", "dress", "fence", "hair", "leaf", "rope", "skirt", "sofa",
                                  "table", "train", "bench")),
    ("clear", "cloudy"): Fit(nouns=("sky", "water"), adjacent=True),
    ("clean", "dirty"): Fit(classes=("artifact",)),
    ("open", "closed"): Fit(nouns=("book", "box", "door", "drawer", "gate", "laptop", "suitcase", "umbrella", "window"),
                            after_in=False),
    ("wide", "narrow"): Fit(kinds=("street", "footway"), nouns=("bridge", "river", "road", "canal")),
    ("thick", "thin"): Fit(nouns=("blanket", "book", "branch", "rope", "slice")),
    ("smooth", "rough"): Fit(nouns=("rock", "stone", "surface")),
    ("curly", "straight"): Fit(nouns=("hair",)),
}  # fmt: skip
"""Pairs that are antonyms in WordNet and can be seen in an image, each with the nouns that both words suit."""

BLOCKED_WORDS = word_set("ass bitch booby cock dildo pussy tit")
"""Vulgar, or an animal with a vulgar second meaning: never a replacement."""

BLOCKED_USAGE = ("ethnic_slur.n.01", "disparagement.n.01", "obscenity.n.01")
"""Usages of a word, as WordNet marks them, that keep it from being a replacement."""

BLOCKED_CLASSES = ("weapon.n.01", "weaponry.n.01", "explosive_device.n.01")
"""Nothing below these is ever a replacement."""
