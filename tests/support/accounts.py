"""Ana, who signs in, and what her wrong tries are answered."""

from collections import Counter

import pytest

from services.accounts import sign_in as identity
from services.accounts.sign_in import SignInLocked, SignInRefused

EMAIL = "ana@example.com"
PASSWORD = "uma senha bem longa"
WRONG_PASSWORD = "uma senha bem errada"


def count_refusals(count: int, email: str = EMAIL, ip: str | None = None) -> Counter[str]:
    """What `count` wrong tries in a row were answered."""
    found: Counter[str] = Counter()
    for _ in range(count):
        with pytest.raises((SignInRefused, SignInLocked)) as caught:
            identity.sign_in(email, WRONG_PASSWORD, ip)
        found[caught.type.__name__] += 1
    return found
