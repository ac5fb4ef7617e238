"""From a resolved case to the structured program, with a name for every row and column."""

from optimizer.build.build import Built as Built
from optimizer.build.build import build as build
from optimizer.build.build import program_of as program_of
from optimizer.build.parameters import BuildError as BuildError
from optimizer.build.parameters import Parameters as Parameters
from optimizer.build.structure import Structure as Structure
from optimizer.build.unit_costs import UnitCosts as UnitCosts
from optimizer.build.unit_costs import unit_costs as unit_costs
from optimizer.build.values import values as values
