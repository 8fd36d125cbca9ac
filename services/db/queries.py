"""Named queries: SQL that is no expression stands in `<module>.sql` beside its module.

    -- name: claim_due
    -- Why it is written as it is.
    update … set … where id in ({due})

    -- name: due
    select id from …

A query may contain another one of its file by `{name}`. Parameters are SQLAlchemy's `:name`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import TextClause, text

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


def load(module: str) -> Mapping[str, TextClause]:
    """The queries of the file beside `module` (its `__file__`), by name.

    A name that a query contains and the file does not have is left as it is, because `{}` is also an empty array.
    """
    _head, *parts = _NAME.split(Path(module).with_suffix(".sql").read_text(encoding="utf-8"))
    sources = dict(zip(parts[::2], map(_without_comments, parts[1::2]), strict=True))
    return MappingProxyType({name: text(_expand(source, sources)) for name, source in sources.items()})


def _without_comments(source: str) -> str:
    return _COMMENT.sub("", source).strip()


def _expand(source: str, sources: Mapping[str, str]) -> str:
    for name, part in sources.items():
        if f"{{{name}}}" in source:
            source = source.replace(f"{{{name}}}", _expand(part, sources))
    return source
