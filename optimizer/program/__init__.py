"""Arrays only: the structured stochastic program, its bound, its repair, its certificate."""

from optimizer.program.program import Multipliers as Multipliers
from optimizer.program.program import Names as Names
from optimizer.program.program import Plan as Plan
from optimizer.program.program import Program as Program
from optimizer.program.program import ProgramError as ProgramError
from optimizer.program.program import Sparse as Sparse
