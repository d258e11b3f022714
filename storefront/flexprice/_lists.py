"""Reading a list that comes in pages, in which one odd object must not spoil the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ._failures import Answer, unreadable
from ._json import parse_json_list, printable_id
from .exceptions import UnreadableResponse

log = logging.getLogger(__name__)
T = TypeVar("T")
Read = Callable[[Mapping[str, Any]], T]

PAGE_SIZE = 100  # Flexprice allows 1 to 1000
MAX_PAGES = 100


class ObjectList(list[T]):
    """A list of objects, and how many more could not be read.

    `unreadable` counts the objects that were left out, because they could not be read or because the list was
    too long. If you conclude "there is none" from a list, treat `unreadable > 0` as "unknown".
    """

    unreadable: int = 0


def read_list(
    fetch: Callable[[Mapping[str, Any]], Answer], query: Mapping[str, Any], read: Read[T]
) -> ObjectList[T]:
    """Read all pages, each object once, and leave out objects that cannot be read.

    The offset in an answer has two meanings (docs/flexprice-contract.md#a4), so it is counted here.

    :param fetch: asks for one page; the query is given with `limit` and `offset`.
    :raises UnreadableResponse: an answer is not a page of a list, or there are objects and none can be read.
    """
    found: dict[str, T] = {}
    bad = offset = total = 0
    for _ in range(MAX_PAGES):
        answer = fetch({**query, "limit": PAGE_SIZE, "offset": offset})
        items, total = _page(answer)
        bad += _read_items(items, read, found)
        offset += len(items)
        if not items or offset >= total:
            break
    else:
        log.warning("A list of Flexprice's is cut after %d of %d objects.", offset, total)
        bad += total - offset
    if bad and not found:
        raise unreadable(answer, "no object of the list can be read")
    objects = ObjectList(found.values())
    objects.unreadable = bad
    return objects


def _page(answer: Answer) -> tuple[list[Any], int]:
    """Return the items of a page and the length of the whole list. An empty Go slice may come as null."""
    try:
        data = parse_json_list(answer.raw)
    except UnreadableResponse as error:
        raise unreadable(answer, error.message) from None
    if not isinstance(data, Mapping) or "items" not in data:
        raise unreadable(answer, "a list without items")
    items = [] if data["items"] is None else data["items"]
    paging = data.get("pagination")
    total = paging.get("total") if isinstance(paging, Mapping) else None
    if not isinstance(items, list) or isinstance(total, bool) or not isinstance(total, int):
        raise unreadable(answer, "a list without items or without its total")
    return items, total


def _read_items(items: list[Any], read: Read[T], found: dict[str, T]) -> int:
    """Read the items into `found` by id, log those that cannot be read, and return how many these are."""
    bad = 0
    for item in items:
        try:
            one = read(item)
        except UnreadableResponse as error:
            bad += 1
            name = printable_id(item.get("id")) if isinstance(item, Mapping) else ""
            log.warning("Left out an unreadable object of Flexprice's (id %s): %s.", name or "missing", error)
        else:
            found[item["id"]] = one  # every object has a readable id
    return bad
