"""How good the next size will be. `limbeck.predict.fit(runs)` takes a plain table and needs no recipe."""

from limbeck.predict.scaling import Fit, Forecast, fit
from limbeck.predict.tables import Runs, read_runs

__all__ = ["Fit", "Forecast", "Runs", "fit", "read_runs"]
