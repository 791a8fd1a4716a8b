"""Every data set that a recipe may name."""

from nas.data.digit_pairs import DigitPairs
from nas.data.digit_tasks import DigitTasks
from nas.data.digits import Digits
from nas.data.text import StdlibText

DataSpec = StdlibText | Digits | DigitTasks | DigitPairs
