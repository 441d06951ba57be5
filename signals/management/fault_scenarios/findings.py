"""What a scenario measured against what was promised, in figures."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Collect figures; one beyond its promise makes the scenario fail, and every figure is told either way."""

    told: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.broken

    @property
    def detail(self) -> str:
        return "; ".join([*(f"FAILED {text}" for text in self.broken), *self.told])

    def at_most(self, what: str, measured: float | None, limit: float, unit: str = "s") -> None:
        """`measured` is None where it never happened."""
        if measured is None:
            self.broken.append(f"{what} never (promised within {limit:g} {unit})")
        else:
            self._tell(f"{what} {measured:.3g} {unit} (promised <= {limit:g})", measured <= limit)

    def at_least(self, what: str, measured: float, limit: float, unit: str = "") -> None:
        self._tell(f"{what} {measured:.3g}{' ' * bool(unit)}{unit} (promised >= {limit:g})", measured >= limit)

    def equal(self, what: str, measured: object, wanted: object) -> None:
        self._tell(f"{what} {measured}" + ("" if measured == wanted else f" (promised {wanted})"), measured == wanted)

    def note(self, text: str) -> None:
        self.told.append(text)

    def fail(self, text: str) -> None:
        self.broken.append(text)

    def _tell(self, text: str, is_kept: bool) -> None:
        (self.told if is_kept else self.broken).append(text)


def p95(values: list[float]) -> float | None:
    """The 95th percentile, the greatest of fewer than 20; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None
