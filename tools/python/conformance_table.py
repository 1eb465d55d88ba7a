#!/usr/bin/env python3
"""Writes docs/conformance.md from reports of `carat conformance onnx --dir DIR --json`.

    python tools/python/conformance_table.py 1.17.0=report117.json 1.23.2=report123.json > docs/conformance.md

The first report gives the table by operator; standard library only.
"""

import json
import re
import sys
from collections import Counter


def main() -> None:
    reports = []
    for argument in sys.argv[1:]:
        release, path = argument.split("=", 1)
        with open(path, encoding="utf-8") as file:
            reports.append((release, json.load(file)))
    if not reports:
        sys.exit(__doc__)
    print("# Conformance: the ONNX backend node tests\n")
    print("Made by `tools/python/conformance_table.py` from `carat conformance onnx --dir DIR --json`; do not edit.\n")
    print("Rules, the same for every test and no test named in the code: refusals are decided before expected outputs are")
    print("read; an operand that an operator needs at compile time is bound to the value that the test gives; integers and")
    print("booleans must be equal; real outputs may differ by two units of the output's last place, at twelve bits or more.\n")
    print("| release | tests | pass | refused | fail | pass, of all |")
    print("|---|---:|---:|---:|---:|---:|")
    for release, r in reports:
        total = len(r["tests"])
        print(f"| {release} | {total} | {r['pass']} | {r['refused']} | {r['fail']} | {100 * r['pass'] / total:.1f}% |")
    release, report = reports[0]
    print(f"\n## {release}, by operator\n")
    print("`(several)` are models of more than one node: operators that ONNX spells out in others. The reason is the most")
    print("frequent one.\n")
    print("| operator | pass | refused | fail | why refused |")
    print("|---|---:|---:|---:|---|")
    for operator, c in sorted(report["by_operator"].items()):
        reasons = Counter()
        for reason, n in c["reasons"].items():
            reason = re.sub(r"^node `[^`]*`: operator \w+ ", "", reason)
            reasons[re.sub(r"\s+", " ", reason).replace("|", "\\|")] += n
        why = reasons.most_common(1)[0][0] if reasons else ""
        print(f"| {operator} | {c['pass']} | {c['refused']} | {c['fail']} | {why[:140]} |")


if __name__ == "__main__":
    main()
