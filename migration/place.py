"""Where new nodes go on the page: where they are wanted, or as near to it as there is room."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

TITLE_HEIGHT = 30
GAP = 20
COLLAPSED = (160, 0)  # width and height of a node that is folded, about


@dataclass(frozen=True)
class Box:
    """A node's outline with its title, in the page's pixels; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    def moved(self, x: float, y: float) -> "Box":
        """Return the same box elsewhere."""
        return Box(x, y, self.width, self.height)

    def meets(self, other: "Box") -> bool:
        """Whether two boxes have ground in common."""
        apart = (
            self.x >= other.x + other.width
            or other.x >= self.x + self.width
            or self.y >= other.y + other.height
            or other.y >= self.y + self.height
        )
        return not apart


def pair(value: Any) -> tuple[float, float]:
    """Return a position or a size as old and new pages save it: a list, or an object with keys "0" and "1"."""
    if isinstance(value, dict):
        return float(value.get("0", 0)), float(value.get("1", 0))
    return (float(value[0]), float(value[1])) if value else (0.0, 0.0)


def box_of(node: dict[str, Any]) -> Box:
    """Return the outline of a node as the page saves it."""
    x, y = pair(node.get("pos"))
    width, height = COLLAPSED if node.get("flags", {}).get("collapsed") else pair(node.get("size"))
    return Box(x, y - TITLE_HEIGHT, width, height + TITLE_HEIGHT)


def free_spot(wanted: Box, taken: Iterable[Box]) -> Box:
    """Return where a box has room, as near as possible to where it is wanted."""
    boxes = list(taken)
    near = sorted(boxes, key=lambda box: _distance(box, wanted))[:40]
    free = (spot for spot in _spots(wanted, near) if not any(spot.meets(box) for box in boxes))
    return min(free, key=lambda spot: _distance(spot, wanted), default=wanted)


def _spots(wanted: Box, boxes: list[Box]) -> Iterator[Box]:
    """The wanted place, and all that touch the sides of other boxes, a gap away."""
    columns = {wanted.x, *(box.x - wanted.width - GAP for box in boxes), *(box.x + box.width + GAP for box in boxes)}
    rows = {wanted.y, *(box.y - wanted.height - GAP for box in boxes), *(box.y + box.height + GAP for box in boxes)}
    return (wanted.moved(x, y) for x in sorted(columns) for y in sorted(rows))


def _distance(box: Box, other: Box) -> float:
    return abs(box.x - other.x) + abs(box.y - other.y)
