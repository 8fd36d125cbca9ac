"""Time zones whose clocks are changed in different ways, and local times in them."""

from datetime import datetime

from hypothesis import strategies as st

SAO_PAULO = "America/Sao_Paulo"
# Whole hours, half an hour (Lord Howe), a whole day (Apia, 2011), southern summers, and none at all.
ZONES = (
    SAO_PAULO,
    "America/New_York",
    "Europe/Lisbon",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
)
LOCAL_TIMES = st.datetimes(datetime(2005, 1, 1), datetime(2024, 12, 31))
