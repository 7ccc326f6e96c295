"""The menu of a search: which options there are in each slot, and their ranges.

cores           how many processor cores there are to use
dimensions      Choice, Int, Float: the range of one setting
menu            slots, stages and the neutral option of each slot
space           SearchSpace: narrow, fix, extend, count, sample, describe, YAML
presets         quick, balanced, thorough, edge, cuda
students pruning factorization recovery quantization runtimes parallel     the menu, one file a slot
errors          SpaceError and what derives from it
"""

from search_spaces.dimensions import Choice, Dimension, Float, Int, Scalar
from search_spaces.errors import (
    DimensionError,
    PointError,
    SpaceError,
    SpaceFileError,
    UnknownNameError,
)
from search_spaces.factorization import FACTORIZATION
from search_spaces.menu import NEUTRAL, SLOTS, STAGES, Options, Point, Settings
from search_spaces.parallel import PARALLEL, cap_threads
from search_spaces.presets import PRESETS, balanced, cuda, edge, preset, quick, thorough
from search_spaces.pruning import PRUNING
from search_spaces.quantization import QUANTIZATION
from search_spaces.recovery import RECOVERY
from search_spaces.runtimes import RUNTIMES
from search_spaces.space import SearchSpace
from search_spaces.students import STUDENTS

__all__ = [
    "FACTORIZATION",
    "NEUTRAL",
    "PARALLEL",
    "PRESETS",
    "PRUNING",
    "QUANTIZATION",
    "RECOVERY",
    "RUNTIMES",
    "SLOTS",
    "STAGES",
    "STUDENTS",
    "Choice",
    "Dimension",
    "DimensionError",
    "Float",
    "Int",
    "Options",
    "Point",
    "PointError",
    "Scalar",
    "SearchSpace",
    "Settings",
    "SpaceError",
    "SpaceFileError",
    "UnknownNameError",
    "balanced",
    "cap_threads",
    "cuda",
    "edge",
    "preset",
    "quick",
    "thorough",
]
