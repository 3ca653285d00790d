"""Runs the rounds of a partitioned stage in memory, and checks how it uses them."""

from collections import defaultdict

import numpy as np

from pipeline.rounds import RoundInput


class Streams:
    """Tables sent from step to step: (stream, receiver's number) -> tables. An unknown stream or receiver fails."""

    def __init__(self, rounds, num_parts, num_shards):
        sizes = {"parts": num_parts, "once": 1}
        self.receivers = {name: sizes[one.over] for one in rounds.rounds for name in one.receives}
        self.receivers |= dict.fromkeys(rounds.judge_receives, num_shards)
        self.open = set(self.receivers)
        self.held = defaultdict(list)

    def send(self, stream, rows, to):
        assert stream in self.open, f"stream {stream!r} is received by no later round"
        assert to.dtype == np.int64
        assert len(to) == rows.num_rows
        if not len(to):
            return
        order = np.argsort(to, kind="stable")
        receivers, starts = np.unique(to[order], return_index=True)
        assert set(receivers.tolist()) <= set(range(self.receivers[stream]))
        for receiver, own in zip(receivers.tolist(), np.split(order, starts[1:]), strict=True):
            self.held[stream, receiver].append(rows.take(own))

    def received(self, streams, number):
        def received(stream):
            assert stream in streams, f"stream {stream!r} is not among those received: {streams}"
            return iter(self.held[stream, number])

        return received


def run_rounds(stage, ctx, tables, *, num_parts=3, group_size=2, wrap=None):
    """{shard name: verdict} of a partitioned stage over {shard name: table}; counts go to `ctx.notes`.

    Rows reach a step in another order than they were sent. `wrap(name, step)` is called around each step.
    """
    rounds = stage.open(ctx)
    shards = list(enumerate(tables.items()))
    streams = Streams(rounds, num_parts, len(shards))
    wrap = wrap or (lambda _, step: step())
    for one in rounds.rounds:
        streams.open -= set(one.receives)
        groups = [shards[start : start + group_size] for start in range(0, len(shards), group_size)]
        steps = {"shards": groups, "parts": [[]] * num_parts, "once": [[]]}[one.over]
        for number, group in reversed(list(enumerate(steps))):
            given = RoundInput(
                tables=[(at, name, table) for at, (name, table) in group], notes=ctx.notes, num_parts=num_parts,
                received=streams.received(one.receives, number),
            )  # fmt: skip
            wrap(one.name, lambda one=one, given=given: one.run(given, streams.send))
    received = {at: streams.received(rounds.judge_receives, at) for at, _ in shards}
    return {
        name: wrap("judge", lambda at=at, name=name, table=table: rounds.judge(name, table, received[at]))
        for at, (name, table) in shards
    }
