"""Prices stand on the tick: a judge in Python, written from nothing but the published WIT.

The value of a proposal is a price in decimal digits; it has to be a multiple of five. A removal is always accepted.

    componentize-py -d ../../wit/arbitrator.wit -w arbitrator componentize --stub-wasi -o tick-size.wasm tick_size

Invariant: it knows its arguments alone. What a Python program could learn elsewhere (a clock, random numbers, files) ends the
decision as a fault, since the imports for it are stubs that trap.
"""

from wit_world.imports.types import Context, Manifest, Outcome, ReadSet, Verdict

MALFORMED = 1
OFF_THE_TICK = 2

TICK = 5


def refuse(code: int) -> Outcome:
    return Outcome(Verdict.REFUSE, code, b"")


class WitWorld:
    def describe(self) -> Manifest:
        return Manifest("tick-size", (1, 0, 0), ReadSet.NONE, 0, 4096, 0, 10_000_000)

    def decide(self, ctx: Context, state: bytes, proposal: bytes) -> Outcome:
        key_bytes = int.from_bytes(proposal[0:2], "little")
        is_removal = int.from_bytes(proposal[2:4], "little") == 1
        price = proposal[8 + key_bytes :]
        if is_removal:
            return Outcome(Verdict.ACCEPT, 0, b"")
        if not price.isdigit():
            return refuse(MALFORMED)
        return refuse(OFF_THE_TICK) if int(price) % TICK else Outcome(Verdict.ACCEPT, 0, b"")
