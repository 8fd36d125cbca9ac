"""How long the steps of a session take, and how often the worker asks about one.

Measured against wppconnect-server 2.10.4 where a comment says so.
"""

from datetime import timedelta

# Lifetimes measured against wppconnect-server 2.10.4: the first QR of a start lives about 60 s, each next about 20 s.
FIRST_QR_LIFETIME = timedelta(seconds=60)
NEXT_QR_LIFETIME = timedelta(seconds=20)
# autoClose ends an unscanned start, and its browser, after 60 s; what hangs longer is held by no browser any more.
START_LIFETIME = timedelta(seconds=61)
# A running start is taken over while its code can still be used for this long; else its end is waited for.
TAKEOVER_NEEDS = timedelta(seconds=20)
# Measured: after a logout the browser holds the profile for 0.5 to 2 s more, and says nothing when it is gone.
LOGOUT_ENDS_WITHIN = timedelta(seconds=3)
# What has shown no sign of life by then is given up.
PAIRING_TIMEOUT = timedelta(minutes=3)
# How long a scanned session may take to load its chats before the attempt counts as failed.
SYNC_TIMEOUT = timedelta(minutes=5)
# Measured: a session is announced 0.6 to 1.5 s before its server says CONNECTED. Until then it is "not yet", no loss.
SETTLE_TIMEOUT = timedelta(seconds=60)
# So long after a start what was closed before it may still be told of: the receiver knows a secret again for 5 s.
EARLIER_ENDS_WITHIN = timedelta(seconds=6)
# A server that was just asked may not say yet that the start runs.
START_VISIBLE_WITHIN = timedelta(seconds=10)
CHECK_WHILE_PAIRING = timedelta(seconds=3)
CHECK_WHILE_SETTLING = timedelta(seconds=0.4)
CHECK_WHILE_WAITING = timedelta(seconds=1)
CHECK_AFTER_ERROR = timedelta(seconds=10)
CHECK_LEASE = timedelta(seconds=60)
# A proof is written down at most this often, so that a busy session does not rewrite its row for each message.
PROOF_INTERVAL = timedelta(seconds=30)
