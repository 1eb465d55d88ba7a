#!/usr/bin/env python3
"""The table of verdicts (conformance/verdicts.json) against the second reader of receipts, which shares no code with the first.

What a receipt is worth is not for the reader to say; whether it is in order is. For every case of the table:

- bytes that the reader refuses are invalid in the table, and bytes that the table calls unreadable are refused;
- signature, Program and opening come out the same;
- of replays, cosignatures and what a log gave, nothing that the reader finds wrong passes in the table.

    python3 tools/python/check_verdicts.py

Exit status: 0 they agree, 1 they do not.
"""

import json
import pathlib
import sys
import tomllib

from read_receipt import Reader, Refused

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAME = ("encoding", "signature", "program", "opening")
# What stops the reader, whatever it is, means that the bytes are no receipt.
STOPS = (Refused, RecursionError, TypeError, ValueError, LookupError)


def receipt(case):
    """The receipt of a case, with the damage that the case does to it."""
    data = bytearray((ROOT / case["receipt"]).read_bytes())
    for change in case.get("change", []):
        if "xor" in change:
            at, bits = change["xor"]
            data[at] ^= bits
        elif "cut" in change:
            del data[change["cut"] :]
        else:
            data += bytes.fromhex(change["append"])
    return bytes(data)


def log_key(ask):
    """The key of the one log of the case's Trust file, where it has one."""
    if "trust" not in ask:
        return None
    logs = tomllib.loads((ROOT / ask["trust"]).read_text()).get("log", [])
    return logs[0]["key"] if len(logs) == 1 else None


def disagreements(case):
    """What the reader and the table say differently, in words."""
    expect, ask = case["expect"], case["ask"]
    stands = {name: True for name in expect["passed"].split()}
    stands |= {name: None for name in expect["not_made"].split()}
    stands |= {name: False for name in expect["failed"].split()}
    opening = (ROOT / ask["opening"]).read_bytes() if "opening" in ask else None
    reader = Reader(log_key(ask))
    try:
        reader.read(receipt(case), opening)
    except STOPS as error:
        if expect["verdict"] != "invalid":
            yield f"the reader refuses it ({error}), the table says {expect['verdict']}"
        return
    if stands.get("encoding") is not True:
        yield "the reader accepts bytes that the table calls unreadable"
    for check in reader.checks:
        name, ok = check["name"], check["ok"]
        if name in SAME and name in stands and stands[name] is not ok:
            yield f"{name}: the reader says {ok} ({check['reason']}), the table {stands[name]}"
        if ok is False and stands.get(name) is True:
            yield f"{name}: the reader says no ({check['reason']}), and it passes in the table"


def main():
    table = json.loads((ROOT / "conformance" / "verdicts.json").read_text())
    cases = [case for case in table["cases"] if "error" not in case["expect"]]
    wrong = [f"{case['name']}: {why}" for case in cases for why in disagreements(case)]
    # The comparison must be able to fail: here the table calls every receipt intact that the reader can see is not.
    lies = 0
    for case in cases:
        if {"encoding", "signature", "program"} & set(case["expect"]["failed"].split()):
            lie = {**case["expect"], "verdict": "good", "passed": "encoding signature program", "failed": ""}
            lies += 1
            if not list(disagreements({**case, "expect": lie})):
                wrong.append(f"{case['name']}: called intact, and the reader does not mind")
    for line in wrong:
        print(line)
    if wrong or len(cases) < 70 or lies < 8:
        print(f"{len(wrong)} disagreements, {len(cases)} cases, {lies} of them damaged")
        return 1
    print(f"ci: {len(cases)} cases of the table agree with the second reader, and {lies} lies about them do not")
    return 0


if __name__ == "__main__":
    sys.exit(main())
