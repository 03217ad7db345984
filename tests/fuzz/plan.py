"""An input's bytes as choices."""

from __future__ import annotations

ODD = (0, 1, 2, 4, 6, 8, 9, 144, -1, -8, 255, 2**31 - 1, 2**31, 2**62, -(2**62))


class Plan:
    """Bytes read as choices; when they are at their end every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, options):
        return options[self.byte() % len(options)]

    def number(self) -> int:
        return self.pick(ODD) if self.byte() % 2 else self.byte()

    def rest(self) -> bytes:
        found = self._data[self._at :]
        self._at = len(self._data)
        return found

    def some(self, most: int) -> bytes:
        count = min(self.byte() | self.byte() << 8, most)
        found = self._data[self._at : self._at + count]
        self._at += count
        return found
