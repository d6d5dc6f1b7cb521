"""Papers whose figures can be made again: `minidl reproduce NAME`."""

from minidl.lab.reproduce.error_rates import ErrorRates, PaperRow
from minidl.lab.reproduce.ioffe2015 import Ioffe2015
from minidl.lab.reproduce.recipe import Recipe
from minidl.lab.reproduce.simard2003 import Simard2003
from minidl.lab.reproduce.srivastava2014 import Srivastava2014
from minidl.lab.reproduce.tuning import Tuning

REPRODUCTIONS = {paper.name: paper for paper in (Simard2003, Srivastava2014, Ioffe2015)}

__all__ = [
    "REPRODUCTIONS",
    "ErrorRates",
    "Ioffe2015",
    "PaperRow",
    "Recipe",
    "Simard2003",
    "Srivastava2014",
    "Tuning",
]
