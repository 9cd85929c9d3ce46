"""What the pictures of the development sets show, and words for things that they do not: the truth of a search.

Queries of a set are class names, categories, nouns of captions, or WordNet nouns above the classes; the pictures of a
class, with an instance, with the noun in a caption, or of a class below are right. ``WORDS`` were written by hand,
once, before any cut was fitted; for each set those are struck that its captions and labels name, and those of
``SHOWN``, by its pictures. They are kept aside: no calibration sees them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych.data.words.classnames import tidy
from diptych.data.words.nouns import nouns
from diptych.data.words.sentences import article
from diptych.data.words.wordnet import WordNet

Truth = dict[str, set[str]]
"""Query -> file names of the pictures that are right."""
LEAST_PHOTOS = 4
"""Photos whose captions name a noun, below which it is no query of flickr8k_small."""
MOST_CLASSES = 150
"""Classes below a WordNet noun, above which it is no query of imagenet1k_sample."""
LOOKS = {"sketch": "a sketch of", "cartoon": "a cartoon of", "photo": "a photo of", "art_painting": "a painting of"}
WORDS = """accordion, ambulance, astronaut, baby, bagpipes, ballerina, banknote, barcode, beaver, bookshelf,
bow and arrow, bride, bridge, bulldozer, cable car, cactus, camel, cannon, canoe, carousel, cash register, castle,
cave, chainsaw, chameleon, chess board, chimpanzee, Christmas tree, clown, cockroach, coconut, coffin,
compass, coral reef, corn,
courtroom, crane, crocodile, crossword puzzle, dice, dinosaur, donkey, dragon, drum kit, eagle, eclipse, face,
ferris wheel, fire engine, fire hydrant, firefighter, forklift, fox, galaxy, garlic, ghost, giraffe, glacier, globe,
goat, gondola, gorilla, gravestone, hair dryer, hamburger, hammer, hamster, hand grenade, harp, hedgehog, hippopotamus,
hospital bed, hot air balloon, hot dog, hourglass, ice cream, igloo, iguana, jellyfish, kangaroo, koala, lawn mower,
lighthouse, lightning, lobster, lollipop, mailbox, mannequin, mermaid, microscope, moon, mosquito, mushroom, newspaper,
nun, octopus, oil rig, onion, ostrich, owl, panda, parking meter, parrot, passport, peacock, penguin, pig, pineapple,
playing cards, polar bear, popcorn, power drill, power line, prison cell, pumpkin, pyramid, rabbit, rainbow, rhinoceros,
rice field, rifle, robot, rocket, roller coaster, rooster, Santa Claus, satellite, scarecrow, screwdriver,
sewing machine, shark, shopping cart, skeleton, skull, snail, snowman, snowmobile, solar panel, spaceship, squirrel,
steam train, stethoscope, stop sign, submarine, supermarket, sushi, swimming pool, sword, syringe, tank, tarantula,
telescope, toaster, tornado, toucan, tractor, traffic light, tram, trumpet, turkey, typewriter, unicorn,
vacuum cleaner, vending machine, vineyard, violin, volcano, walrus, washing machine, waterfall, watermelon,
wedding cake, whale, wheelbarrow, wind turbine, windmill, wolf, wrench, x-ray, zebra"""
SHOWN = {
    "caltech40": "clown dragon globe hot_dog moon bridge rainbow skull spaceship swimming_pool face",
    "clothing_large": "mannequin face compass",
    "pacs_large": "face baby clown bride castle swimming_pool goat ballerina fox wolf",
    "imagenet1k_sample": "hot_air_balloon drum_kit steam_train bookshelf sword bride baby cave cable_car power_line "
    "waterfall face",
    "flickr8k_small": "hot_air_balloon drum_kit rainbow face",
    "coco_mini": "power_line bookshelf newspaper face",
}
"""Set -> words for what its pictures show, or may show, and its labels do not name; spaces are "_"."""


@dataclass(frozen=True)
class SearchSet:
    """A set that is searched.

    Args:
        source: what is indexed, below the folder of data.
        about: what the queries are.
        truth: (folder of data, names of the entries, WordNet) -> the truth, and all words that its labels name.
    """

    source: str
    about: str
    truth: Callable[[Path, list[str], WordNet], tuple[Truth, set[str]]]

    def absent(self, name: str, named: set[str], wordnet: WordNet) -> list[str]:
        """Return the words for absent things that are kept aside, given all words that the labels name."""
        parts = {part for text in named for part in text.lower().split()} | {text.lower() for text in named}
        offsets = {sense.offset for text in named if text in wordnet for sense in wordnet.senses(text)[:2]}
        above = {up for offset in offsets for up in wordnet.ancestors(offset)}
        shown, left = SHOWN.get(name, "").split(), []
        for word in (w.strip() for w in WORDS.replace("\n", " ").split(",")):
            senses = {sense.offset for sense in wordnet.senses(word)[:1]}
            narrower = {up for offset in senses for up in wordnet.synset(offset).hypernyms}
            named_so = word.lower() in parts or senses & (offsets | above) or narrower & offsets
            if not named_so and word.replace(" ", "_") not in shown:
                left.append(word)
        return left


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _classes(_: Path, names: list[str], __: WordNet) -> tuple[Truth, set[str]]:
    truth: Truth = {}
    for name in names:
        truth.setdefault(tidy(Path(name).parent.name), set()).add(name)
    return truth, set(truth)


def _looks(_: Path, names: list[str], __: WordNet) -> tuple[Truth, set[str]]:
    truth: Truth = {}
    for name in names:
        label, look = Path(name).parent.name, LOOKS[Path(name).parents[2].name]
        truth.setdefault(label, set()).add(name)
        truth.setdefault(f"{look} {article(label)}", set()).add(name)
    return truth, {label for label in truth if " " not in label} | {"sketch", "cartoon", "painting", "person"}


def _captioned(data: Path, folder: str, names: list[str], wordnet: WordNet) -> Truth:
    by_file, truth = {Path(n).name: n for n in names}, Truth()
    for row in _rows(data / folder / "captions.csv"):
        for noun in {n for k in range(5) for n in nouns(row[f"caption_{k}"], wordnet)}:
            truth.setdefault(noun, set()).add(by_file[Path(row["path"]).name])
    return truth


def _categories(data: Path, names: list[str], wordnet: WordNet) -> tuple[Truth, set[str]]:
    by_file, truth = {Path(n).name: n for n in names}, Truth()
    for row in _rows(data / "coco_mini" / "instances.csv"):
        truth.setdefault(row["category"], set()).add(by_file[Path(row["image"]).name])
    return truth, set(truth) | set(_captioned(data, "coco_mini", names, wordnet))


def _nouns(data: Path, names: list[str], wordnet: WordNet) -> tuple[Truth, set[str]]:
    every = _captioned(data, "flickr8k_small", names, wordnet)
    return {noun: photos for noun, photos in every.items() if len(photos) >= LEAST_PHOTOS}, set(every)


def _stamps(data: Path, names: list[str], wordnet: WordNet) -> tuple[Truth, set[str]]:
    by_file, named = {Path(n).name: n for n in names}, Truth()
    for row in _rows(data / "tuxpaint_stamps" / "stamps.csv"):
        if Path(row["path"]).name in by_file:
            for noun in nouns(row["caption_en"], wordnet):
                named.setdefault(noun, set()).add(by_file[Path(row["path"]).name])
    above = {noun: set(wordnet.ancestors(wordnet.senses(noun)[0].offset)) for noun in named}
    truth = {noun: set(photos) for noun, photos in named.items()}
    for noun in truth:
        broader = wordnet.senses(noun)[0].offset
        truth[noun].update(*(photos for other, photos in named.items() if broader in above[other]))
    return truth, set(named)


def _areas(data: Path, names: list[str], _: WordNet) -> tuple[Truth, set[str]]:
    by_file, truth = {Path(n).name: n for n in names}, Truth()
    for row in _rows(data / "msrc_large" / "labels.csv"):
        for name in row["classes"].split("; "):
            truth.setdefault(name, set()).add(by_file[Path(row["path"]).name])
    return truth, set(truth)


def _groceries(data: Path, names: list[str], _: WordNet) -> tuple[Truth, set[str]]:
    by_file, truth, named = {Path(n).name: n for n in names}, Truth(), set[str]()
    for row in _rows(data / "grocery_packages" / "photos.csv"):
        truth.setdefault(tidy(row["coarse_class"]).lower(), set()).add(by_file[Path(row["path"]).name])
        named.update(tidy(row["class_name"]).lower().replace("-", " ").split())
    return truth, set(truth) | named


def _synsets(data: Path, names: list[str], wordnet: WordNet) -> tuple[Truth, set[str]]:
    by_file = {Path(n).name: n for n in names}
    below: dict[int, set[str]] = {}
    named = set[str]()
    for row in _rows(data / "imagenet1k_sample" / "labels.csv"):
        sense = wordnet.wnid(row["wnid"])
        named.update(sense.lemmas)
        for offset in (sense.offset, *wordnet.ancestors(sense.offset)):
            below.setdefault(offset, set()).add(by_file[Path(row["path"]).name])
    truth: Truth = {}
    for offset, photos in below.items():
        noun = wordnet.synset(offset).name
        if len(photos) <= MOST_CLASSES and wordnet.senses(noun)[0].offset == offset:
            truth.setdefault(noun, set()).update(photos)
    return truth, named


SETS: Mapping[str, SearchSet] = {
    "caltech40": SearchSet("caltech40", "40 class names", _classes),
    "coco_mini": SearchSet("coco_mini/captions.csv", "79 categories", _categories),
    "flickr8k_small": SearchSet("flickr8k_small/captions.csv", "nouns of captions", _nouns),
    "imagenet1k_sample": SearchSet("imagenet1k_sample/images", "WordNet nouns above the classes", _synsets),
    "clothing_large": SearchSet("clothing_large", "10 class names", _classes),
    "pacs_large": SearchSet("pacs_large", "7 class names, alone and with 4 looks", _looks),
    "cifar10_small": SearchSet("cifar10_small", "10 class names", _classes),
    "ucmerced21": SearchSet("ucmerced21", "21 class names", _classes),
    "grocery_packages": SearchSet("grocery_packages/photos", "9 kinds of groceries", _groceries),
    "tuxpaint_stamps": SearchSet("tuxpaint_stamps/images", "nouns of captions, and all that is narrower", _stamps),
    "msrc_large": SearchSet("msrc_large/images", "21 classes of areas", _areas),
}
