"""What an embedded model is taught: its things, places and sizes. Knows no networks and no pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from keelbill.core.errors import InvalidInput
from keelbill.engine.config import MMDiTConfig
from keelbill.train.data import SpriteInfo
from keelbill.train.landscapes import PLACES
from keelbill.train.scenes import Catalogue, Mix, Scene, sample_scene

PLAN_FILE = "plan.json"

_FIRST = """
cat, dog, fox, lion, tiger, horse, unicorn, zebra, cow, pig, sheep, giraffe, elephant, mouse, rabbit, hedgehog, bear,
panda, monkey, chicken, chick, bird, penguin, duck, owl, flamingo, frog, crocodile, turtle, snake, dinosaur, whale,
dolphin, fish, tropical fish, shark, octopus, crab, snail, butterfly, bee, ladybug, grapes, melon, watermelon, orange,
lemon, banana, pineapple, mango, apple, pear, peach, cherries, strawberry, blueberries, kiwi, coconut, avocado, tomato,
eggplant, potato, carrot, corn cob, chili pepper, bell pepper, cucumber, broccoli, onion, mushroom, bread, cheese,
hamburger, french fries, pizza, hot dog, egg, popcorn, ice cream cone, donut, cookie, birthday cake, cupcake, lollipop,
coffee cup, teapot, beer, rose, sunflower, tulip, tree, pine tree, palm tree, cactus, potted plant, mountain, volcano,
globe, crescent moon, sun, star, cloud, rainbow, snowman, fire, car, truck, tractor, bus, taxi, fire truck, police car,
steam train, motorcycle, bicycle, sailboat, ship, airplane, helicopter, rocket, ufo, house, castle, church, tent,
factory, alarm clock, hourglass, umbrella, jack-o'-lantern, christmas tree, balloon, gift box, trophy, soccer ball,
basketball, dice, teddy bear, glasses, t-shirt, socks, dress, handbag, backpack, sneaker, crown, top hat, ring, diamond,
bell, headphones, guitar, drum, phone, laptop, television, camera, candle, light bulb, book, key, hammer, chair, bucket,
robot, ghost, heart, pencil, skull
"""

THINGS: tuple[str, ...] = tuple(" ".join(name.split()) for name in _FIRST.split(","))
"""Things that most people ask for first, and few enough to be learned on a plain processor."""


def _usual_backgrounds() -> dict[str, float]:
    return {"plain": 0.5, "studio": 0.3, **dict.fromkeys(PLACES, 0.2 / len(PLACES))}


@dataclass(frozen=True)
class Plan:
    """What one model learns.

    Attributes:
        things: Names of things; those that the sprite pack lacks are left out.
        backgrounds: Kinds of background with their shares.
        recoloured: Share of things that get another colour.
        material: Share of things of a material, if the sprite pack holds any.
        made_of: Share of things built of small ones, if the sprite pack holds any.
        side: Of the training pictures in pixels, a multiple of 16.
        depth: Blocks of the transformer.
        width: Of the transformer, a multiple of 64.
        batch: Pictures of one step of the transformer's training.
        pool: Scenes that the transformer's training keeps.
        photographs: Whether the autoencoder also saw photographs.
        seed: Of everything.
    """

    things: tuple[str, ...] = THINGS
    backgrounds: dict[str, float] = field(default_factory=_usual_backgrounds)
    recoloured: float = 0.35
    material: float = 0.05
    made_of: float = 0.15
    side: int = 128
    depth: int = 6
    width: int = 192
    batch: int = 64
    pool: int = 24_576
    photographs: bool = False
    seed: int = 0

    @property
    def mix(self) -> Mix:
        """How often the grammar of scenes takes each of its choices: always one thing."""
        return Mix(
            layouts={"single": 1.0},
            backgrounds=self.backgrounds,
            recoloured=self.recoloured,
            material=self.material,
            made_of=self.made_of,
        )

    def network(self, context_dim: int, pooled_dim: int) -> MMDiTConfig:
        """Return the sizes of the transformer."""
        # The table spans eight times the training side, so that larger pictures can be asked for.
        pos_side = 4 * self.side // 8
        return MMDiTConfig(
            depth=self.depth, width=self.width, pos_side=pos_side, context_dim=context_dim, pooled_dim=pooled_dim
        )

    def choose(self, infos: Sequence[SpriteInfo]) -> list[SpriteInfo]:
        """Return the sprites of the plan's things.

        Raises:
            InvalidInput: The pack holds none of them.
        """
        wanted = set(self.things)
        chosen = [info for info in infos if info.concept in wanted and info.look == "3d"]
        if not chosen:
            raise InvalidInput("things", self.things, "at least one thing of the sprite pack")
        return chosen

    def scenes(self, catalogue: Catalogue, count: int, rng: random.Random) -> list[Scene]:
        """Draw scenes of the plan by chance."""
        return [sample_scene(rng, catalogue, self.mix) for _ in range(count)]

    def save(self, folder: Path) -> None:
        """Write ``plan.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN_FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read ``plan.json``.

        Raises:
            InvalidInput: There is none, or it has a field that is unknown.
        """
        path = folder / PLAN_FILE
        if not path.is_file():
            raise InvalidInput("folder", str(folder), f"a training folder, which holds {PLAN_FILE}")
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**fields, "things": tuple(fields["things"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidInput("plan", str(path), f"what a training run wrote ({error})") from error
