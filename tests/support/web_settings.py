"""Settings that tests of the companion process know."""

ORIGIN = "https://app.example.com"
# Small enough for a test to reach; each on a fixed window that no test outlives.
SHARED_LIMITS = {
    "RATE_LIMIT_API": "10/minute",
    "RATE_LIMIT_SEND": "2/minute",
    "RATE_LIMIT_REFUSED": "5/minute",
    "HTTP_READ_SECONDS": "1",
}
