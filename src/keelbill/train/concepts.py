"""The everyday things that the embedded model can draw, and the words people use for them. Knows no pictures."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

# One thing a line: code point of the symbol, the name people type, synonyms. "~" marks names without an article.
_CORE: dict[str, str] = {
    "animal": """
        1f408 cat, kitty
        1f415 dog, puppy
        1f98a fox
        1f43a wolf
        1f981 lion
        1f405 tiger
        1f406 leopard
        1f40e horse
        1f984 unicorn
        1f993 zebra
        1f98c deer
        1f404 cow
        1f416 pig
        1f411 sheep
        1f410 goat
        1f42a camel
        1f992 giraffe
        1f418 elephant
        1f98f rhinoceros, rhino
        1f99b hippopotamus, hippo
        1f401 mouse
        1f439 hamster
        1f407 rabbit, bunny
        1f43f squirrel, chipmunk
        1f994 hedgehog
        1f43b bear
        1f428 koala
        1f43c panda
        1f998 kangaroo
        1f412 monkey
        1f98d gorilla
        1f414 chicken, hen
        1f413 rooster
        1f424 chick, baby chick
        1f426 bird
        1f427 penguin
        1f985 eagle
        1f986 duck
        1f9a2 swan
        1f989 owl
        1f9a9 flamingo
        1f99a peacock
        1f99c parrot
        1f438 frog
        1f40a crocodile, alligator
        1f422 turtle, tortoise
        1f98e lizard
        1f40d snake
        1f409 dragon
        1f995 long-necked dinosaur, brontosaurus
        1f996 dinosaur, t-rex
        1f433 whale
        1f42c dolphin
        1f41f fish
        1f420 tropical fish
        1f988 shark
        1f419 octopus
        1f980 crab
        1f40c snail
        1f98b butterfly
        1f41c ant
        1f41d bee, honeybee
        1f41e ladybug, ladybird
        1f577 spider
    """,
    "fruit": """
        1f347 ~grapes
        1f348 melon
        1f349 watermelon
        1f34a orange, tangerine
        1f34b lemon
        1f34c banana
        1f34d pineapple
        1f96d mango
        1f34e apple
        1f350 pear
        1f351 peach
        1f352 ~cherries
        1f353 strawberry
        1fad0 ~blueberries
        1f95d kiwi, kiwi fruit
        1f965 coconut
        1f951 avocado
    """,
    "vegetable": """
        1f345 tomato
        1f346 eggplant, aubergine
        1f954 potato
        1f955 carrot
        1f33d corn cob, ear of corn
        1f336 chili pepper, hot pepper
        1fad1 bell pepper, pepper
        1f952 cucumber
        1f966 ~broccoli
        1f9c5 onion
        1f344 mushroom, toadstool
    """,
    "food": """
        1f35e ~bread, loaf of bread
        1f950 croissant
        1f968 pretzel
        1f95e ~pancakes
        1f9c0 ~cheese
        1f354 hamburger, burger
        1f35f ~french fries, fries
        1f355 pizza, slice of pizza
        1f32d hot dog
        1f96a sandwich
        1f32e taco
        1f95a egg
        1f373 fried egg, egg in a pan
        1f957 salad
        1f37f ~popcorn
        1f363 ~sushi
        1f366 ice cream cone, ice cream
        1f369 donut, doughnut
        1f36a cookie, biscuit
        1f382 birthday cake, cake
        1f370 slice of cake, piece of cake
        1f9c1 cupcake, muffin
        1f36b chocolate bar
        1f36c candy, sweet
        1f36d lollipop
        2615 coffee cup, cup of coffee
        1fad6 teapot
        1f95b glass of milk
        1f377 glass of wine, wine glass
        1f379 cocktail
        1f37a beer, mug of beer
        1f964 soda cup, soft drink
    """,
    "plant": """
        1f490 bouquet, bouquet of flowers
        1f338 cherry blossom
        1f339 rose
        1f33a hibiscus, hibiscus flower
        1f33b sunflower
        1f33c daisy, flower
        1f337 tulip
        1f331 seedling, sprout
        1fab4 potted plant, house plant
        1f332 pine tree, evergreen tree
        1f333 tree
        1f334 palm tree
        1f335 cactus
        1f340 four-leaf clover
        1f341 maple leaf
    """,
    "nature": """
        26f0 mountain
        1f30b volcano
        1f30d globe, earth
        1fab5 log, wood
        1faa8 rock, stone
        1f319 crescent moon, moon
        2600 sun
        1fa90 planet, ringed planet
        2b50 star
        2601 cloud
        1f308 rainbow
        2744 snowflake
        26c4 snowman
        1f525 fire, flame
        1f4a7 water drop
        1f30a wave, ocean wave
    """,
    "vehicle": """
        1f697 car, automobile
        1f695 taxi
        1f699 suv, jeep
        1f6fb pickup truck, pickup
        1f69a truck, delivery truck
        1f69c tractor
        1f3ce race car, racing car
        1f68c bus
        1f691 ambulance
        1f692 fire truck, fire engine
        1f693 police car
        1f682 steam train, locomotive
        1f3cd motorcycle, motorbike
        1f6f5 scooter
        1f6b2 bicycle, bike
        1f6f9 skateboard
        26f5 sailboat, sailing boat
        1f6f6 canoe
        1f6a2 ship
        2708 airplane, plane
        1f681 helicopter
        1f680 rocket, spaceship
        1f6f8 ufo, flying saucer
        1f6f0 satellite
    """,
    "building": """
        1f3e0 house, home
        1f3f0 castle
        1f3ed factory
        1f3e2 office building
        1f3eb school
        1f3e5 hospital
        1f3db temple, museum
        26ea church
        26fa tent
        1f6d6 hut
        26f2 fountain
        1f3a1 ferris wheel
        1f3aa circus tent
        1f5fd statue of liberty
    """,
    "thing": """
        2693 anchor
        1f9ed compass
        231b hourglass
        231a watch, wristwatch
        23f0 alarm clock, clock
        2602 umbrella
        1f383 jack-o'-lantern, pumpkin
        1f384 christmas tree
        1f388 balloon
        1f381 gift box, present
        1f3c6 trophy
        26bd soccer ball, football
        1f3c0 basketball
        26be baseball
        1f3be tennis racket
        1f94a boxing glove
        1fa81 kite
        1f3ae game controller, gamepad
        1f3b2 dice, die
        1f9e9 puzzle piece
        1f9f8 teddy bear
        1f3a8 paint palette
        1f9f6 ball of yarn
        1f453 ~glasses
        1f576 ~sunglasses
        1f454 shirt and tie, necktie, tie
        1f455 t-shirt, shirt
        1f456 ~jeans
        1f9e3 scarf
        1f9e6 ~socks
        1f457 dress
        1f45c handbag
        1f392 backpack
        1f45f sneaker, running shoe
        1f97e boot, hiking boot
        1f460 high heel, high-heeled shoe
        1f451 crown
        1f3a9 top hat
        1f9e2 cap, baseball cap
        1f48d ring, diamond ring
        1f48e diamond, gem
        1f514 bell
        1f4e3 megaphone
        1f3a4 microphone
        1f3a7 ~headphones
        1f4fb radio
        1f3b7 saxophone
        1f3ba trumpet
        1f3b8 guitar
        1f3bb violin
        1f941 drum
        1f4f1 phone, smartphone
        260e telephone
        1f4bb laptop
        1f50b battery
        1f4be floppy disk
        1f4fa television, tv
        1f4f7 camera
        1f50d magnifying glass
        1f56f candle
        1f4a1 light bulb
        1f526 flashlight, torch
        1f4d5 book
        1f4da ~books, stack of books
        1f4b0 money bag
        1fa99 coin
        2709 envelope, letter
        1f4e6 cardboard box, package
        270f pencil
        1f58c paintbrush
        1f58d crayon
        1f4bc briefcase
        1f4c5 calendar
        2702 ~scissors
        1f5d1 trash can
        1f512 padlock, lock
        1f511 key
        1f528 hammer
        1f6e1 shield
        1f527 wrench
        1fa9b screwdriver
        2699 gear, cog
        1f9f2 magnet
        1fa9c ladder
        1f52c microscope
        1f52d telescope
        1f6aa door
        1f6cf bed
        1fa91 chair
        1f6bd toilet
        1f6c1 bathtub
        1f9f9 broom
        1f9fa basket
        1faa3 bucket
        1f9fc ~soap, bar of soap
        1f6d2 shopping cart
        1f5ff moai statue
        1f916 robot
        1f47b ghost
        1f47d alien
        1f480 skull
        2764 heart, love heart
    """,
}

HELD_OUT_PER_CENT = 5

_IRREGULAR = {
    "mouse": "mice",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "tropical fish": "tropical fish",
    "loaf": "loaves",
    "leaf": "leaves",
    "wolf": "wolves",
    "knife": "knives",
    "scarf": "scarves",
    "goose": "geese",
    "ox": "oxen",
    "die": "dice",
    "dice": "dice",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "volcano": "volcanoes",
    "bison": "bison",
    "moose": "moose",
    "squid": "squid",
    "shrimp": "shrimp",
}
_AN_THOUGH_CONSONANT = ("hour", "x-ray", "suv")
_A_THOUGH_VOWEL = ("uni", "ufo", "eu", "one", "uk")


@dataclass(frozen=True)
class Concept:
    """A thing with the words for it.

    Attributes:
        code: Code point of its symbol in lower-case hexadecimal, joined by hyphens; it names the pictures of the thing.
        name: What people type, lower case.
        synonyms: Other words for it, most usual first.
        group: The kind of thing: "animal", "fruit", "vehicle" ...
        countable: False for plural and mass nouns, which stand without an article ("grapes", "popcorn").
    """

    code: str
    name: str
    synonyms: tuple[str, ...]
    group: str
    countable: bool

    @property
    def plural(self) -> str:
        """The name for several of them; mass and plural nouns stay as they are."""
        return plural(self.name) if self.countable else self.name


def plural(name: str) -> str:
    """Return the plural of an English noun phrase ("slice of cake" -> "slices of cake", "wolf" -> "wolves")."""
    for link in (" of ", " in ", " with "):
        head, found, rest = name.partition(link)
        if found:
            return f"{plural(head)}{link}{rest}"
    first, _, last = name.rpartition(" ")
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if last in _IRREGULAR:
        return f"{first} {_IRREGULAR[last]}".strip()
    if last.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by its sound: "an hourglass", "a unicorn"."""
    vowel = phrase[:1] in "aeiou" and not phrase.startswith(_A_THOUGH_VOWEL)
    return f"{'an' if vowel or phrase.startswith(_AN_THOUGH_CONSONANT) else 'a'} {phrase}"


@cache
def concepts() -> tuple[Concept, ...]:
    """Return all things in a fixed order."""
    return tuple(_parse(line, group) for group, lines in _CORE.items() for line in lines.split("\n") if line.strip())


@cache
def by_name() -> dict[str, Concept]:
    """Return the things by the name that captions and scenes use."""
    return {concept.name: concept for concept in concepts()}


def is_held_out(concept: str, attribute: str) -> bool:
    """Whether a pair of thing and attribute is kept out of training, to measure whether the model composes.

    About `HELD_OUT_PER_CENT` of all pairs are, the same ones everywhere; the flagship prompt's pairs never are.
    """
    if concept == "car" and attribute in ("red", "fruit", "red fruit"):
        return False
    return zlib.crc32(f"{concept}/{attribute}".encode()) % 100 < HELD_OUT_PER_CENT


def _parse(line: str, group: str) -> Concept:
    code, _, words = line.strip().partition(" ")
    name, *synonyms = (word.strip() for word in words.split(","))
    return Concept(code, name.removeprefix("~"), tuple(synonyms), group, not name.startswith("~"))
