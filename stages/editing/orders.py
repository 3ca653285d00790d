"""Edits that are ordered of an editor, some at a time, and what came of each: a file, or a fault."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from models.batches import as_rgb
from models.edit_answers import answers_of
from samples.stored_images import encoded_image

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Mapping

    from models.protocols import EditAnswer, Editor, EditRequest

SEED_BITS = 31
"""Servers take seeds that fit into a signed integer of 32 bits."""
ORDERS_AT_ONCE = 64
"""Edits whose images are in memory together; for an endpoint, the most that can be under way."""
ANSWERS = "edited images"
"""Note of the number of answers; `edited images: <fault>` is that of those with a fault."""
DURATION = "milliseconds of edit requests"
"""Note of the time that an endpoint took, all requests together. It differs from run to run, so it is no column."""


class EditFault(StrEnum):
    """Why a row was not edited."""

    MISSING_FIELD = "missing_field"  # the row lacks what the editor needs
    REFUSED = "refused"  # the server did not accept the request
    NO_IMAGE = "no_image"  # the answer is no image that can be used
    NO_CHANGE = "no_change"  # every pixel is that of the source


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Order:
    """One edit to be made. `key` is the caller's own."""

    key: Any
    request: EditRequest
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edited:
    """What came of an order: the encoded image, or a fault with its detail."""

    order: Order
    file: bytes | None
    fault: EditFault | None
    detail: str
    columns: Mapping[str, Any]
    """Tokens by the names of their columns."""


def edit_all(
    editor: Editor, orders: Iterable[Order], *, image_format: str, quality: int, notes: Counter[str]
) -> Iterator[Edited]:
    """What came of each order, in order. An order is taken from the iterable when its turn comes."""
    left = iter(orders)
    while part := list(islice(left, ORDERS_AT_ONCE)):
        answers = answers_of(editor, [one.request for one in part], seeds=[one.seed for one in part])
        for order, answer in zip(part, answers, strict=True):
            edited = _edited(order, answer, image_format, quality)
            notes[ANSWERS] += 1
            if edited.fault is not None:
                notes[f"{ANSWERS}: {edited.fault.value}"] += 1
            yield edited
        if duration := round(1000 * sum(answer.seconds for answer in answers)):
            notes[DURATION] += duration


def _edited(order: Order, answer: EditAnswer, image_format: str, quality: int) -> Edited:
    fault, file, detail = answer.fault and EditFault(answer.fault), None, answer.detail
    if answer.image is not None:
        image, source = as_rgb([answer.image, order.request.image])
        if image.size == source.size and image.tobytes() == source.tobytes():
            fault, detail = EditFault.NO_CHANGE, "the edited image is the source"
        else:
            file = encoded_image(image, image_format, quality)
    tokens = {"edit_input_tokens": answer.input_tokens, "edit_output_tokens": answer.output_tokens}
    return Edited(order=order, file=file, fault=fault, detail=detail, columns=tokens)
