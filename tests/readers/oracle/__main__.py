"""Readers as oracle: feeds real client libraries with what Weir lets through, and asks whether it kept its promises.

`make readers` runs this; ARGS goes here. Each exchange is played through target/weir.wasm in the emulated proxy
(`player/`), under one policy, with a judge that finds harm in `"cmd":"rm …"` alone. What comes out is read by the
libraries for Python (`python_readers.py`, `mcp_reader.py`) and JavaScript (`javascript/`), behind transports in memory,
and by a model of Go's rules (`go_model.py`). `judgement.py` is the oracle: each call that a reader ends up with was
judged with exactly those arguments and passed, or is allowed by name; no word that is to be replaced is shown; under
`content_only` there are no calls; under `no_op` not a byte differs. A refusal of what all readers read alike is
needless, and counted apart.

Played are the fixtures, the recorded streams and cases beside the project (WEIR_CORPUS and WEIR_CASES name other
folders), the cases that this suite found itself (`cases/`), and mutations of all of these (`mutations.py`), which
follow from a seed and a number: what is found is printed with the command that plays exactly it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from oracle import inputs
from oracle.exchange import DIALECTS
from oracle.judgement import UNCOUNTED
from oracle.policies import POLICIES
from oracle.work import play

EXPECTED = Path(__file__).resolve().parents[1] / "expected.json"


def main() -> int:
    """Runs what the arguments ask for. 1: something was found that is not expected."""
    arguments = _arguments()
    if arguments.only is not None:
        return _only(arguments)
    began = time.monotonic()
    rows = play(arguments)
    return _report(rows, arguments, time.monotonic() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make readers ARGS=…", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=600, help="how many mutations (600)")
    parser.add_argument("--seed", type=int, default=1, help="what they follow from (1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation (0)")
    parser.add_argument("--seconds", type=float, default=1e9, help="begins no mutation after so many seconds")
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="these policies alone")
    parser.add_argument("--dialect", action="append", choices=DIALECTS, help="these dialects alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--only", type=int, help="plays the mutation of that number alone, and shows all of it")
    parser.add_argument("--save", help="with --only: keeps it as a case of that name")
    parser.add_argument("--no-cases", action="store_true", help="mutations alone")
    parser.add_argument("--only-cases", action="store_true", help="cases alone: no fixtures, no streams, no mutations")
    parser.add_argument("--renew", action="store_true", help="writes expected.json anew")
    parser.add_argument("--strict", action="store_true", help="as in `make test`: everything found must be expected")
    return parser.parse_args()


# ---- reports


def _report(rows: list[dict[str, Any]], arguments: argparse.Namespace, seconds: float) -> int:
    cases = [row for row in rows if row["source"] == "case"]
    mutations = [row for row in rows if row["source"] == "mutation"]
    for folder, what in ((inputs.SHARED / "corpus", "recorded streams"), (inputs.CASES, "cases of others")):
        if not folder.exists():
            print(f"skipped: there are no {what} ({folder.name}/ is not there)")
    failing = sorted({_case_key(row) for row in cases if _fails(row)})
    for row in sorted(cases, key=_case_key):
        if _fails(row):
            print(f"{_case_key(row)}: {_told(row)}")
    print(f"{len(cases)} cases played, {len(failing)} with findings")
    _report_mutations(mutations, arguments, seconds)
    return _verdict(failing, mutations, arguments)


def _report_mutations(rows: list[dict[str, Any]], arguments: argparse.Namespace, seconds: float) -> None:
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["findings"]:
            kinds[_kind(row)].append(row)
    for kind, found in sorted(kinds.items(), key=lambda item: (not item[1][0]["bypass"], item[0])):
        first = found[0]
        print(f"{len(found)} × {' | '.join(kind)}\n    {_told(first)}\n    {_command(first, arguments)}")
    counts: Counter[str] = Counter(row["findings"][0][0] for row in rows if row["findings"])
    words = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing found"
    refused = sum(row["refused"] for row in rows)
    print(
        f"{len(rows)} mutations with seed {arguments.seed} from {arguments.first}: {words} ({len(kinds)} kinds); "
        f"{refused} refused or blocked, {seconds:.0f} s, {len(rows) / max(seconds, 1):.1f} a second with all cases"
    )


def _kind(row: dict[str, Any]) -> tuple[str, ...]:
    how = " + ".join(row["how"]) or f"unchanged {row['name']}"
    return (row["findings"][0][0], row["policy"], row["dialect"], row["asked"], how)


def _told(row: dict[str, Any]) -> str:
    readers = ", ".join(sorted({finding[1] for finding in row["findings"]}))
    return f"{row['findings'][0][0]}: {readers}: {row['findings'][0][2][:140]} ({row['name']}, {row['reason']})"


def _command(row: dict[str, Any], arguments: argparse.Namespace) -> str:
    chosen = [f"--policy {name}" for name in arguments.policy or []]
    chosen += [f"--dialect {name}" for name in arguments.dialect or []]
    which = f"--seed {arguments.seed} --only {row['number']}"
    return 'make readers ARGS="' + " ".join([which, *chosen]) + '"'


def _fails(row: dict[str, Any]) -> bool:
    """Whether something was found that may not be. What a reader loses of honest streams too, is only counted."""
    return any(finding[0] not in UNCOUNTED for finding in row["findings"])


def _case_key(row: dict[str, Any]) -> str:
    return " ".join(part for part in (row["name"], row["dialect"], row["asked"], row["policy"]) if part)


def _verdict(failing: list[str], mutations: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    found = sorted(f"{arguments.seed}/{row['number']}" for row in mutations if _fails(row))
    if arguments.renew:
        former = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
        renewed = {"cases": former.get("cases", []) if arguments.no_cases else failing, "mutations": found}
        EXPECTED.write_text(json.dumps(renewed, indent=1, ensure_ascii=False) + "\n")
        return 0
    if not arguments.strict:
        return int(bool(failing or found))
    expected = json.loads(EXPECTED.read_text())
    if not all(folder.exists() for folder in (inputs.SHARED / "corpus", inputs.CASES)):
        print("mutations are made of other inputs here: what they find is shown, and not compared")
        expected["mutations"] = found
        expected["cases"] = [key for key in expected["cases"] if key in failing]
    new = [key for key in failing if key not in expected["cases"]]
    new += [key for key in found if key not in expected["mutations"]]
    gone = [key for key in [*expected["cases"], *expected["mutations"]] if key not in failing and key not in found]
    for key in new:
        print(f"not expected: {key}")
    for key in gone:
        print(f"expected to fail, and does not: take it out of expected.json: {key}")
    print(f"{len(failing) + len(found)} findings, {len(expected['cases']) + len(expected['mutations'])} expected")
    print(f"{int(not (new or gone))} passed, {len(new) + len(gone)} failed")
    return int(bool(new or gone))


# ---- one mutation


def _only(arguments: argparse.Namespace) -> int:
    from oracle import run

    suite = run.Suite()
    policies, dialects = arguments.policy or list(POLICIES), arguments.dialect or list(DIALECTS)
    result = suite.mutate(arguments.seed, arguments.only, policies, dialects)
    exchange, outcome = result.exchange, result.outcome
    print(f"{exchange.name}: {' + '.join(exchange.how)}; {result.policy.name}")
    print(f"--- cut at {exchange.splits}, verdicts come {exchange.delay} chunks later")
    print(f"--- the provider's answer, {exchange.response.status} {exchange.response.headers}")
    print(exchange.response.body.decode("utf-8", "backslashreplace"))
    print(f"--- what left, {outcome.response.status} {outcome.response.headers}, {outcome.reason}")
    print(outcome.response.body.decode("utf-8", "backslashreplace"))
    for question in outcome.questions:
        print("--- the judge was asked", question)
    for title, response in (("what left", outcome.response), ("the provider's answer", exchange.response)):
        for name, reading in suite.readers.read(exchange.dialect, exchange.stream, response).items():
            print(f"--- {name}, of {title}: {reading}")
    for finding in result.findings:
        print(f"*** {finding.what}: {finding.reader}: {finding.detail}")
    if arguments.save:
        print(inputs.save(arguments.save, exchange, result.policy.name, " + ".join(exchange.how)))
    suite.close()
    return int(bool(result.findings))


if __name__ == "__main__":
    sys.exit(main())
