"""Plays cases and mutations, asks the oracle, groups what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from oracle import inputs, mutations
from oracle.exchange import Exchange, Outcome, Player
from oracle.judgement import Finding, alike, bypasses, is_valid, lost, refused, shows
from oracle.policies import JUDGE, NO_OP, POLICIES, WEIGHTS, Policy
from oracle.readers import Readers


@dataclass
class Result:
    """What was found about one exchange under one policy."""

    exchange: Exchange
    policy: Policy
    findings: list[Finding]
    outcome: Outcome
    number: int | None = None

    @property
    def is_refused(self) -> bool:
        """Whether it was refused, needlessly or not."""
        return refused(self.outcome, self.policy) is not None


class Suite:
    """The player and the readers."""

    def __init__(self) -> None:
        self.player = Player()
        self.readers = Readers()
        self._seeds: list[Exchange] | None = None

    def try_out(self, exchange: Exchange, policy: Policy, harm: bool = True) -> Result:
        """Plays an exchange, and asks the oracle."""
        outcome = self.player.play(exchange, policy, harm)
        readings: dict[str, Any] = {}
        if policy is not NO_OP and outcome.trap is None:
            readings = self.readers.read(exchange.dialect, exchange.stream, outcome.response)
        findings = bypasses(exchange, policy, outcome, readings)
        if not findings and (needless := self._needless(exchange, policy, outcome)):
            findings = [needless]
        if not findings and policy is JUDGE and outcome.reason == "ALLOW":
            before = self.readers.read(exchange.dialect, exchange.stream, exchange.response)
            if alike(before) and (gone := lost(before, readings)):
                findings = [gone]
        return Result(exchange, policy, findings, outcome)

    def _needless(self, exchange: Exchange, policy: Policy, outcome: Outcome) -> Finding | None:
        finding = refused(outcome, policy)
        if finding is None or policy.drops_calls:
            return None
        readings = self.readers.read(exchange.dialect, exchange.stream, exchange.response)
        if not alike(readings):
            return None
        if policy.transforms and any(shows(text) for reading in readings.values() for text in reading.texts.values()):
            return None
        if finding.what == "blocked" and not is_valid(readings):
            return None
        if not any(reading.text or reading.calls or reading.texts for reading in readings.values()):
            return None
        return finding

    # ---- mutations

    def mutation(
        self, seed: int, number: int, policies: list[str], dialects: list[str]
    ) -> tuple[Exchange, Policy, Any]:
        """The mutation of that number."""
        random = Random(f"{seed}/{number}")
        self._seeds = self._seeds or inputs.seeds()
        chosen = [exchange for exchange in self._seeds if exchange.dialect in dialects]
        # Every dialect is as likely as another, but MCP, which has few readers.
        shares = {dialect: 1.0 for dialect in dialects} | ({"mcp_tool": 0.3} if "mcp_tool" in dialects else {})
        dialect = random.choices(list(shares), list(shares.values()))[0]
        start = random.choice([exchange for exchange in chosen if exchange.dialect == dialect])
        policy = POLICIES[random.choices(policies, [WEIGHTS[name] for name in policies])[0]]
        steps = mutations.plan(random)
        timing = random.getrandbits(48)
        return mutations.mutate(start, steps, Random(timing)), policy, (start, steps, timing)

    def mutate(self, seed: int, number: int, policies: list[str], dialects: list[str], minimise: bool = True) -> Result:
        """Plays the mutation of that number, and makes it smaller where something was found."""
        exchange, policy, (start, steps, timing) = self.mutation(seed, number, policies, dialects)
        harm = Random(f"harm/{seed}/{number}").random() < 0.5
        result = self.try_out(exchange, policy, harm)
        if result.findings and minimise:
            result = self._smaller(result, start, steps, timing, harm)
        result.number = number
        return result

    def _smaller(self, result: Result, start: Exchange, steps: list[int], timing: int, harm: bool) -> Result:
        plain = Exchange(
            result.exchange.name, result.exchange.dialect, result.exchange.stream, result.exchange.response
        )
        plain.how, plain.request = result.exchange.how, result.exchange.request
        again = self.try_out(plain, result.policy, harm)
        best = again if _same(again, result) else result
        for left_out in range(len(steps)):
            fewer = [step for index, step in enumerate(steps) if index != left_out]
            smaller = mutations.mutate(start, fewer, Random(timing))
            if best is again:
                smaller.splits, smaller.delay = [], 0
            tried = self.try_out(smaller, result.policy, harm)
            if _same(tried, result):
                return self._smaller(tried, start, fewer, timing, harm)
        return best

    def close(self) -> None:
        """Ends the processes."""
        self.player.close()
        self.readers.close()


def _same(one: Result, other: Result) -> bool:
    return {finding.what for finding in one.findings} >= {finding.what for finding in other.findings[:1]}


def case_plan() -> list[tuple[Exchange, Policy]]:
    """The cases of others, and this suite's own, each with its policies."""
    found = []
    for exchange, policy in inputs.cases():
        found += [(exchange, POLICIES[name]) for name in ([policy] if policy else inputs.policies_of(exchange))]
    return found + [(exchange, POLICIES[name]) for exchange, name in inputs.own_cases()]


def honest_plan() -> list[tuple[Exchange, Policy]]:
    """Fixtures, and what is made here, with each policy; recorded streams, made short, with two at once."""
    exchanges = [*inputs.made(), *inputs.fixtures()]
    plan = [(exchange, policy) for exchange in exchanges for policy in POLICIES.values()]
    return plan + [(inputs.thin(exchange), POLICIES["transform+judge"]) for exchange in inputs.corpus()]
