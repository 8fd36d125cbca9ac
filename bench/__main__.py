"""`python -m bench`: every figure, one line each, measured on this machine."""

from bench import api, fleet, screen, sweep, tabs, webhook, wpp_calls

for measured in (webhook, api, wpp_calls, sweep, fleet, screen, tabs):
    measured.run()
