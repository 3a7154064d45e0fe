"""Structured mutations: of members, lines, events and the head of a response. All from a seeded generator."""

from __future__ import annotations

from random import Random

from oracle.changing import Mutate, Work
from oracle.exchange import BEHIND_THE_END, Exchange
from oracle.of_members import OF_MEMBERS, ghost_member, split_entry
from oracle.of_streams import (
    add_line,
    change_body,
    change_ends,
    change_head,
    change_line,
    delete_event,
    duplicate_event,
    ghost_event,
    merge_events,
    move_event,
    other_asking,
    raw_separator,
    rename_event,
    split_data,
)
from oracle.reading import Response

_ALL: list[tuple[Mutate, int]] = [
    *((mutate, 3) for mutate in OF_MEMBERS),
    (ghost_member, 4),
    (ghost_event, 14),
    (split_entry, 3),
    (duplicate_event, 2),
    (move_event, 3),
    (delete_event, 2),
    (merge_events, 2),
    (change_line, 3),
    (add_line, 3),
    (change_ends, 2),
    (split_data, 1),
    (rename_event, 2),
    (raw_separator, 2),
    (change_head, 2),
    (change_body, 1),
    (other_asking, 1),
]
_FUNCTIONS = [mutate for mutate, _ in _ALL]
_SHARES = [share for _, share in _ALL]


def plan(random: Random) -> list[int]:
    """The seeds of the steps of one mutation: one step mostly, up to three."""
    return [random.getrandbits(48) for _ in range(random.choice([1, 1, 1, 1, 2, 2, 3]))]


def mutate(seed: Exchange, steps: list[int], random: Random) -> Exchange:
    """The exchange, changed step by step; each step has its own random numbers, so that steps can be left out."""
    exchange = Exchange(seed.name, seed.dialect, seed.stream, seed.response, seed.request)
    how = []
    for step in steps:
        own = Random(step)
        for _ in range(6):
            work = Work(exchange)
            done = own.choices(_FUNCTIONS, _SHARES)[0](work, own)
            if done is not None:
                how.append(done)
                response = Response(work.status, work.head, work.body())
                exchange = Exchange(seed.name, seed.dialect, work.exchange.stream, response, seed.request)
                break
    exchange.how = how
    length = len(exchange.response.body)
    if random.random() < 0.3 and length > 1:
        exchange.splits = sorted(random.randrange(1, length) for _ in range(random.randint(1, 8)))
    elif random.random() < 0.5:
        exchange.splits = _at_events(exchange.response.body)
    exchange.delay = random.choice([0, 0, 0, 1, 2, BEHIND_THE_END])
    return exchange


def _at_events(body: bytes) -> list[int]:
    found, at = [], body.find(b"\n\n")
    while at >= 0:
        found.append(at + 2)
        at = body.find(b"\n\n", at + 2)
    return found
