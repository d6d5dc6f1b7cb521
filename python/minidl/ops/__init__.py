"""One function per differentiable operation, by family; the files bear the names of the kernels' files."""

import sys

from minidl import tensor_methods
from minidl.ops.accuracy import *
from minidl.ops.activation import *
from minidl.ops.comparison import *
from minidl.ops.copies import *
from minidl.ops.creation import *
from minidl.ops.cross_entropy import *
from minidl.ops.dropout import *
from minidl.ops.elementwise import *
from minidl.ops.in_place import *
from minidl.ops.indexing import *
from minidl.ops.loss import *
from minidl.ops.matmul import *
from minidl.ops.normalization import *
from minidl.ops.random import *
from minidl.ops.reduction import *
from minidl.ops.rows import *
from minidl.ops.shape import *
from minidl.ops.softmax import *

# Tensor's methods forward to this package, which is built on Tensor.
tensor_methods.ops = sys.modules[__name__]
