"""Data sets as plain values that give NumPy arrays; nothing is downloaded.

`dataset` says what a data set is. A new one is a frozen dataclass of that form, joined
to `DataSpec` and to the conformance tests by one line each.
"""

from nas.data.dataset import Dataset as Dataset
from nas.data.dataset import Examples as Examples
from nas.data.dataset import Split as Split
from nas.data.digit_pairs import DigitPairs as DigitPairs
from nas.data.digit_tasks import DigitTasks as DigitTasks
from nas.data.digits import Digits as Digits
from nas.data.registry import DataSpec as DataSpec
from nas.data.text import StdlibText as StdlibText
