"""Data sets as plain values that give NumPy arrays; nothing is downloaded.

`dataset` says what a data set is. A new one is a frozen dataclass of that form, joined
to `DataSpec` and to the conformance tests by one line each.
"""

from nas.data.array_records import ArrayRecords as ArrayRecords
from nas.data.array_records import write_image_records as write_image_records
from nas.data.augmentation import Augmentation as Augmentation
from nas.data.dataset import Dataset as Dataset
from nas.data.dataset import Examples as Examples
from nas.data.dataset import Split as Split
from nas.data.digit_pairs import DigitPairs as DigitPairs
from nas.data.digit_tasks import DigitTasks as DigitTasks
from nas.data.digits import Digits as Digits
from nas.data.image_arrays import ImageArrays as ImageArrays
from nas.data.image_folder import ImageFolder as ImageFolder
from nas.data.reading import Reading as Reading
from nas.data.registry import DataSpec as DataSpec
from nas.data.text import StdlibText as StdlibText
from nas.data.token_shards import TokenShards as TokenShards
