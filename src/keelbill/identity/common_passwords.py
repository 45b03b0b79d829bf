"""Passwords that attackers try first. A list of our own, built from how people choose; it measures no leak.

It holds tens of thousands of entries: runs of keys, repeated characters, counting, dates, and everyday words and names
with the usual endings. Look-alike digits and capitals are undone before comparing, so ``P4ssw0rd`` is found as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

_ROWS = (
    "1234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    "abcdefghijklmnopqrstuvwxyz",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "a1b2c3d4e5f6g7h8",
    "147258369",
    "741852963",
    "789456123",
    "159357",
    "!@#$%^&*()",
)
_WORDS = """
password passwort passord wachtwoord contrasena motdepasse senha parola haslo salasana losenord passcode passphrase pass
admin administrator root user guest test tester testing demo default master login welcome willkommen bienvenue secret
changeme change letmein trustno iloveyou loveyou iloveu lovely love mylove forever princess prince queen king angel
devil
monkey dragon tiger lion panther eagle falcon wolf bear shark dolphin horse puppy kitten kitty doggy chicken butterfly
sunshine moonlight starlight rainbow flower rose orchid summer winter spring autumn sunday monday tuesday wednesday
thursday friday saturday january february march april june july august september october november december
football soccer baseball basketball hockey tennis cricket rugby golf volleyball swimming running liverpool arsenal
chelsea barcelona madrid juventus bayern yankees lakers cowboys steelers eagles packers raiders dodgers
superman batman spiderman ironman starwars pokemon pikachu naruto matrix hunter ranger killer warrior soldier ninja
pirate
samurai knight wizard merlin gandalf hobbit phoenix shadow ghost zombie vampire
michael michelle jennifer jessica ashley amanda daniel david robert thomas anthony joshua andrew matthew christopher
nicole stephanie elizabeth charlie george jordan justin brandon austin taylor hannah samantha alexander alexandra maria
martin peter stefan andreas patrick richard william joseph james john jack oliver emma sophie laura sarah julia anna
computer internet laptop desktop keyboard monitor server windows linux ubuntu debian apple google facebook twitter
instagram youtube amazon netflix samsung nokia android iphone microsoft oracle cisco system network database
money dollar bitcoin crypto million freedom peace happy smile cookie chocolate cheese coffee banana orange cherry lemon
pepper ginger vanilla sugar honey candy pizza pasta sushi whisky vodka
mercedes porsche ferrari lamborghini toyota honda nissan mustang corvette camaro harley yamaha suzuki
london paris berlin vienna madrid moscow newyork chicago boston dallas texas florida california america canada
australia germany france england ireland scotland holland poland russia china japan india brasil mexico argentina
mother father brother sister family baby daddy mommy friend friends jesus christ heaven blessed faith hope grace
purple yellow silver golden black white green orange diamond crystal emerald sapphire
whatever nothing something anything everything hello hellohello goodbye access letmeon open sesame
internetpass welcomeback keelbill stability diffusion picture pictures image images artist
"""
_ENDINGS = """
1 12 123 1234 12345 123456 1234567 12345678 0 01 007 00 000 11 111 1111 2 22 21 23 3 33 4 5 6 66 666 7 77 777 8 88 9 99
999 10 100 101 69 420 ! !! ? . @ # $ * 1! 12! 123! 1234! @1 @12 @123 @1234 #1 #123 abc qwerty
"""
_YEARS = tuple(str(year) for year in range(1950, 2036))
_UNDONE = str.maketrans("@4310$5!7", "aaelossit")


@cache
def common_passwords() -> frozenset[str]:
    """Return the list in lower case; built at first use in a few milliseconds."""
    return frozenset(entry for entry in _entries() if len(entry) >= 8)


def is_common(password: str) -> bool:
    """Whether a password is on the list, perhaps in capitals or with look-alike digits."""
    folded = password.casefold()
    known = common_passwords()
    if folded in known or _is_one_piece(folded):
        return True
    letters = folded.rstrip("0123456789!?.@#$*")
    ending = folded[len(letters) :]
    undone = letters.translate(_UNDONE)
    shorter = ending.rstrip("!?.@#$*")
    return any(text in known for text in (undone + ending, undone + shorter, folded.translate(_UNDONE)))


def _entries() -> Iterator[str]:
    for row in _ROWS:
        for text in (row, row[::-1]):
            for start in range(len(text)):
                for stop in range(start + 4, len(text) + 1):
                    yield text[start:stop]
                    yield text[start:stop] * 2
    for word in _WORDS.split():
        yield word
        yield word * 2
        yield word[::-1]
        for ending in (*_ENDINGS.split(), *_YEARS):
            yield word + ending
        for before in ("1", "123", "my", "the", "i"):
            yield before + word
    for year in _YEARS:
        for month in range(1, 13):
            for day in (1, 10, 11, 12, 15, 20, 25):
                yield f"{day:02}{month:02}{year}"
                yield f"{year}{month:02}{day:02}"


def _is_one_piece(text: str) -> bool:
    """Whether a text is one short piece again and again: ``aaaaaaaa``, ``abcabcabc``."""
    return any(
        len(text) % size == 0 and text == text[:size] * (len(text) // size) for size in range(1, min(4, len(text)))
    )
