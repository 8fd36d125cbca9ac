"""A stand-in for wppconnect-server 2.10.4, with its contract as measured and switchable faults.

`python -m sandbox` serves it; `sandbox.server.running_sandbox(Config(secret=…))` runs it inside a test. Nothing of
it ever reaches WhatsApp. `/_sandbox` is its own page, on which one plays the phone and breaks things.
"""
