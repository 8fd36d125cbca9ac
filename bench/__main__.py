"""`python -m bench`: every figure, one line each, measured on this machine."""

import timeit

from bench import (
    api,
    conversations,
    dispatch,
    fleet,
    identity,
    inbox,
    pairing,
    reports,
    screen,
    sweep,
    tabs,
    webhook,
    wpp_calls,
    zombie,
)
from bench.installation import figure

# What the other figures that are no ratios are to be read against: machines of one kind were seen to differ by 2.3.
figure("python_loop_ms", min(timeit.repeat("for i in range(1_000_000): i * i", number=1, repeat=5)) * 1000, "ms")
MODULES = (
    *(webhook, inbox, identity, api, dispatch, wpp_calls, sweep, zombie, fleet),
    *(reports, conversations, screen, tabs, pairing),
)
for measured in MODULES:
    measured.run()
