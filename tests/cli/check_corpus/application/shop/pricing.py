# ruff: noqa
import random
from datetime import datetime
from pathlib import Path


def price(item: str) -> float:
    return discount() * len(item)


def discount() -> float:
    return random.random()  # expect: random


def stamp() -> str:
    return datetime.now().isoformat()  # expect: clock


def rates() -> str:
    return Path("rates.json").read_text()  # expect: io


def in_a_step() -> str:
    return Path("rates.json").read_text()


def nobody_calls() -> float:
    return random.random()


def allowed() -> float:
    return random.random()  # polos: ignore


class Desk:
    def quote(self) -> float:
        return random.random()  # expect: random
