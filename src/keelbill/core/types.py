"""Facts that every part shares: picture sizes, aspect ratios and seeds. Knows no tensors and no wire format."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import NewType

from keelbill.core.errors import InvalidInput

Seed = NewType("Seed", int)
Micro = NewType("Micro", int)
"""An amount of money in millionths of a credit; a credit is worth one US cent. Always a whole number."""

MICRO_PER_CREDIT = 1_000_000

MAX_SEED = 2**64 - 1
MAX_SIDE = 4096


def seed(value: int) -> Seed:
    """Check a seed.

    Raises:
        InvalidInput: `value` is outside 0 ... 2**64 - 1.
    """
    if not 0 <= value <= MAX_SEED:
        raise InvalidInput("seed", value, f"a whole number from 0 to {MAX_SEED}")
    return Seed(value)


def random_seed() -> Seed:
    """Return a fresh seed from 1 to 2**32 - 1, short enough to be typed."""
    return Seed(1 + secrets.randbelow(2**32 - 1))


def micro(amount: Decimal | int | str) -> Micro:
    """Turn an amount of credits such as ``"6.5"`` into micro-credits, exactly.

    Raises:
        InvalidInput: `amount` is no plain number, or has more than six decimal places.
    """
    try:
        exact = Decimal(amount) * MICRO_PER_CREDIT
    except InvalidOperation as error:
        raise InvalidInput("credits", amount, "a number such as 25 or 6.5") from error
    if not exact.is_finite() or exact != exact.to_integral_value():
        raise InvalidInput("credits", amount, "a number with at most six decimal places")
    return Micro(int(exact))


def credits_of(amount: int) -> Decimal:
    """Turn micro-credits into credits, without needless zeros: 6,500,000 is ``Decimal("6.5")``."""
    value = Decimal(amount) / MICRO_PER_CREDIT
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()


@dataclass(frozen=True)
class Size:
    """Width and height of a picture in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read ``"1024x768"``.

        Raises:
            InvalidInput: `text` is not two whole numbers with an x between them.
        """
        width, cross, height = text.lower().partition("x")
        if not (cross and width.strip().isdecimal() and height.strip().isdecimal()):
            raise InvalidInput("size", text, "WIDTHxHEIGHT in pixels, for example 1024x768")
        return cls(int(width), int(height))

    def require_multiple(self, step: int) -> None:
        """Check that both sides are multiples of `step` pixels, from `step` to 4096.

        Raises:
            InvalidInput: One of them is not; the message names the nearest sizes that are.
        """
        for field, side in (("width", self.width), ("height", self.height)):
            if not step <= side <= MAX_SIDE:
                raise InvalidInput(field, side, f"from {step} to {MAX_SIDE} pixels")
            if side % step:
                below = side // step * step
                near = f"{below + step}" if below < step else f"{below} or {below + step}"
                raise InvalidInput(field, side, f"a multiple of {step}; nearest: {near}")


class AspectRatio(StrEnum):
    """The nine published aspect ratios, width to height."""

    SQUARE = "1:1"
    WIDE_16_9 = "16:9"
    WIDE_21_9 = "21:9"
    WIDE_3_2 = "3:2"
    WIDE_5_4 = "5:4"
    TALL_9_16 = "9:16"
    TALL_9_21 = "9:21"
    TALL_2_3 = "2:3"
    TALL_4_5 = "4:5"

    @property
    def size(self) -> Size:
        """The published size of about one megapixel."""
        return PUBLISHED_SIZES[self]


PUBLISHED_SIZES: dict[AspectRatio, Size] = {
    AspectRatio.SQUARE: Size(1024, 1024),
    AspectRatio.WIDE_16_9: Size(1344, 768),
    AspectRatio.WIDE_21_9: Size(1536, 640),
    AspectRatio.WIDE_3_2: Size(1216, 832),
    AspectRatio.WIDE_5_4: Size(1088, 896),
    AspectRatio.TALL_9_16: Size(768, 1344),
    AspectRatio.TALL_9_21: Size(640, 1536),
    AspectRatio.TALL_2_3: Size(832, 1216),
    AspectRatio.TALL_4_5: Size(896, 1088),
}
