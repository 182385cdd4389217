"""`Derive`: values that are functions of scores, for the rules after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from poolsieve.filters.dsl.stages import Stage
from poolsieve.scoring_models.base.derived import Derived
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import check_fields, short


@dataclass(frozen=True, eq=False, init=False)
class Derive(Stage):
    """Makes values from earlier scores: `Derive(panel=Discrimination("panel", by="capability"))`.

    They stand in the ledger and are made anew by every decision. See `scoring_models.base.derived`.
    """

    values: Mapping[str, Derived]

    def __init__(self, **values: Derived) -> None:
        for name, made in values.items():
            if isinstance(made, type) or not isinstance(made, Derived):
                raise PlanError(f"Derive({name}=...) takes a derived value, not {short(made)}")
            check_fields(made, f"Derive({name}={type(made).__name__}(...))")
        if not values:
            raise PlanError("Derive() needs at least one derived value")
        object.__setattr__(self, "values", dict(values))
